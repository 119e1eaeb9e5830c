"""Every key that a configuration file may hold: how it is read, and one line about it. Tables."""

from collections.abc import Mapping
from typing import get_args

import msgspec
from msgspec import Struct

from fairlead.outside.config import units
from fairlead.outside.config.kinds import DIALECTS, KINDS, SIGNERS
from fairlead.outside.config.problems import Mistake
from fairlead.outside.config.read import Fields, Node
from fairlead.outside.config.settings import LimitSettings
from fairlead.outside.config.shapes import (
    Key,
    Reading,
    Table,
    known_fields,
    many,
    one,
    reference,
    struct,
)
from fairlead.outside.config.values import (
    SECRET,
    address,
    capability,
    choice,
    date,
    expanded,
    listen,
    name,
    pattern,
    provider_name,
    secret,
    text,
)
from fairlead.types.catalog import Modality, Rates, Shift, Timeouts, Weights, When
from fairlead.types.decision import TaskKind


class Expect(Struct, frozen=True):
    first_token_ms: float | None = None
    tokens_per_s: float | None = None


class StatedRule(Struct, frozen=True):
    when: When = When()
    models: tuple[str, ...] = ()
    weights: Weights | None = None


def weights(node: Node, reading: Reading) -> Weights:
    """An aim that is not named does not count."""
    stated = known_fields(node, WEIGHTS, reading)
    understood = not isinstance(node, Fields) or len(stated) == len(node.fields)
    if understood and not any(stated.values()):
        raise Mistake("no aim counts for anything", "such as {quality: 2, cost: 1}")
    return msgspec.convert(dict.fromkeys(WEIGHTS, 0.0) | stated, Weights)


model_name = reference("model", pattern)
modalities = many(one(choice(get_args(Modality))))
tasks = many(one(choice(get_args(TaskKind))))
price = one(units.pico_usd)
positive = one(units.positive)
flag = one(units.boolean)

TIMEOUTS: Table = {
    "connect": Key(one(units.seconds), "duration", "5s", "To reach the server.", "connect_s"),
    "first_token": Key(
        one(units.seconds), "duration", "30s", "Until the answer begins.", "first_token_s"
    ),
    "stall": Key(
        one(units.seconds), "duration", "20s", "Between two pieces of an answer.", "stall_s"
    ),
}
EXPECT: Table = {
    "first_token": Key(
        one(units.milliseconds),
        "duration",
        "by kind",
        "Usual time until the answer begins.",
        "first_token_ms",
    ),
    "tokens_per_s": Key(positive, "number", "by kind", "Usual speed of an answer."),
}
PROVIDER: Table = {
    "kind": Key(
        one(choice(KINDS)), "kind", "the provider's name", "A provider known here, see Kinds."
    ),
    "address": Key(address, "URL", "by kind", "Where it is, with the version part of the path."),
    "api_key": Key(
        many(secret), "credentials", "by kind", "One reference to a credential, or a list of them."
    ),
    "dialect": Key(
        one(choice(DIALECTS)), "dialect", "by kind, else `openai_chat`", "How it is spoken to."
    ),
    "signer": Key(
        one(choice(SIGNERS)), "signer", "by kind and dialect", "How the credential is presented."
    ),
    "zone": Key(
        one(provider_name),
        "name",
        "`local` on this machine or a private network, else `cloud`",
        "Where its models run.",
    ),
    "timeouts": Key(struct(TIMEOUTS, Timeouts), "map", "see Timeouts", "When to give up on it."),
    "expect": Key(
        struct(EXPECT, Expect), "map", "by kind", "How fast it is, until it has been measured."
    ),
}
PRICE: Table = {
    "input": Key(price, "price", "unknown", "Input tokens."),
    "output": Key(price, "price", "unknown", "Output tokens."),
    "cached_read": Key(price, "price", "unknown", "Input tokens read from the vendor's cache."),
    "cached_write": Key(price, "price", "unknown", "Input tokens written to the vendor's cache."),
    "cached_write_1h": Key(price, "price", "unknown", "The same, kept for an hour."),
    "reasoning": Key(price, "price", "as output", "Output tokens spent on thinking."),
    "batch_input": Key(price, "price", "unknown", "Input tokens in a batch."),
    "batch_output": Key(price, "price", "unknown", "Output tokens in a batch."),
}
SHIFT: Table = {
    "canary": Key(one(units.some_fraction), "fraction", "5%", "The share that moves first."),
    "over": Key(
        one(units.seconds), "duration", "7d", "How long before the day they begin to.", "over_s"
    ),
}
MODEL: Table = {
    "at": Key(reference("provider", provider_name), "provider", "required", "Who serves it."),
    "as": Key(one(name), "name", "the model's name", "Its name there.", "upstream_model"),
    "context": Key(
        one(units.some_tokens),
        "tokens",
        "the catalogue's",
        "Input and output together.",
        "context_tokens",
    ),
    "max_output": Key(
        one(units.some_tokens),
        "tokens",
        "the catalogue's",
        "The longest answer.",
        "max_output_tokens",
    ),
    "price": Key(
        struct(PRICE, Rates),
        "map",
        "the catalogue's",
        "What tokens cost here; replaces the catalogue's price as a whole.",
        "rates",
    ),
    "strength": Key(
        one(units.fraction),
        "fraction",
        "the catalogue's",
        "How good its answers are believed to be.",
    ),
    "capabilities": Key(
        many(one(capability)),
        "list",
        "the catalogue's",
        "What it can do besides; a leading `-` takes one away.",
    ),
    "accepts": Key(
        modalities, "list", "the catalogue's, else `text`", "All kinds of input that it takes."
    ),
    "retires": Key(
        one(date), "date", "the catalogue's", "The day from which on it is not asked any more."
    ),
    "successor": Key(
        reference("model", name), "model", "none", "Answers in its place once it is gone."
    ),
    "shift": Key(
        struct(SHIFT, Shift),
        "map",
        "all at once",
        "How its requests move to the successor before that day.",
    ),
}
WEIGHTS: Table = {
    "quality": Key(one(units.number), "number", "0", "Good answers."),
    "cost": Key(one(units.number), "number", "0", "Low cost."),
    "speed": Key(one(units.number), "number", "0", "Quick answers."),
}
WHEN: Table = {
    "task": Key(tasks, "task or list", "any", "What the request is about.", "tasks"),
    "input_over": Key(
        one(units.tokens), "tokens", "any", "Its input is larger.", "input_tokens_over"
    ),
    "input_under": Key(
        one(units.tokens), "tokens", "any", "Its input is smaller.", "input_tokens_under"
    ),
    "tools": Key(flag, "true or false", "any", "It offers tools."),
    "images": Key(flag, "true or false", "any", "It holds images."),
    "json": Key(flag, "true or false", "any", "It asks for JSON."),
    "difficulty_over": Key(one(units.fraction), "fraction", "any", "It is harder."),
    "difficulty_under": Key(one(units.fraction), "fraction", "any", "It is easier."),
}
RULE: Table = {
    "when": Key(
        struct(WHEN, When), "map", "always", "All of these must hold for the rule to answer."
    ),
    "models": Key(
        many(model_name),
        "name or list",
        "all",
        "Models or endpoints, tried in this order unless there are `weights`.",
    ),
    "weights": Key(weights, "map", "all alike", "What the models are ranked by."),
}
ROUTE: Table = {
    "description": Key(one(text), "text", "", "For people."),
    **{key: RULE[key] for key in ("models", "weights")},
    "rules": Key(
        many(struct(RULE, StatedRule)),
        "list",
        "one rule",
        "Several ways to answer; the first that fits counts.",
    ),
    "zones": Key(
        many(reference("zone", provider_name)), "name or list", "any", "Where it may be answered."
    ),
    "attempts": Key(
        one(units.count), "number", "3", "How many endpoints are tried at most.", "max_attempts"
    ),
    "deadline": Key(
        one(units.seconds),
        "duration",
        "10m",
        "When the request gives up, counted from its arrival.",
        "deadline_s",
    ),
    "rescue": Key(
        flag,
        "true or false",
        "true",
        "Whether a text whose stream breaks is gone on with.",
    ),
}
LIMITS: Table = {
    "header_timeout": Key(
        one(units.seconds),
        "duration",
        "10s",
        "Until the head of a request is complete.",
        "header_timeout_s",
    ),
    "body_idle": Key(
        one(units.seconds), "duration", "15s", "Between two pieces of a body.", "body_idle_s"
    ),
    "keep_alive": Key(
        one(units.seconds),
        "duration",
        "75s",
        "Between two requests on one connection.",
        "keep_alive_s",
    ),
    "write_idle": Key(
        one(units.seconds), "duration", "30s", "For an answer that nobody reads.", "write_idle_s"
    ),
    "max_connections": Key(
        one(units.count),
        "number",
        "10000, or what the system allows",
        "Connections that are open at once.",
    ),
    "max_in_flight": Key(one(units.count), "number", "2000", "Requests that are served at once."),
    "max_answer_memory": Key(
        one(units.some_bytes),
        "size",
        "512MiB",
        "For all answers that wait for their end, or for callers who read slowly.",
        "max_answer_bytes",
    ),
    "max_body_memory": Key(
        one(units.some_bytes),
        "size",
        "512MiB, or `max_body` if that is more",
        "For the bodies of all requests that arrive or are being answered.",
        "max_bodies_bytes",
    ),
    "max_wait": Key(
        one(units.seconds),
        "duration",
        "150ms",
        "How long each step of a request may wait for its turn, before some are turned away.",
        "max_wait_s",
    ),
}
SERVER: Table = {
    "listen": Key(one(listen), "host:port", "127.0.0.1:4600", "Where callers reach Fairlead."),
    "data": Key(
        one(expanded), "path", "~/.local/share/fairlead", "Folder of the ledger and the journal."
    ),
    "keep": Key(
        one(units.some_milliseconds),
        "duration",
        "90d",
        "How long requests stay on record.",
        "keep_ms",
    ),
    "baseline": Key(
        reference("model", name),
        "model",
        "the strongest",
        "The model that savings are counted against.",
    ),
    "log": Key(
        one(expanded), "path", "stderr", "Where the log goes: `stderr`, `stdout`, `none` or a file."
    ),
    "max_body": Key(
        one(units.some_bytes), "size", "32MiB", "The largest request.", "max_body_bytes"
    ),
    "limits": Key(
        struct(LIMITS, LimitSettings), "map", "see Limits", "What is too slow, and what too much."
    ),
    "drain": Key(
        one(units.any_seconds),
        "duration",
        "2m",
        "Once told to stop: how long running answers may take to finish.",
        "drain_s",
    ),
    "drain_delay": Key(
        one(units.any_seconds),
        "duration",
        "0s",
        "Once told to stop: how long new requests are still taken while `/readyz` says no.",
        "drain_delay_s",
    ),
    "discover": Key(flag, "true or false", "true", "Use model servers found on this machine."),
}
TABLES: Mapping[str, Table] = {
    "providers": PROVIDER,
    "credentials": SECRET,
    "timeouts": TIMEOUTS,
    "expect": EXPECT,
    "models": MODEL,
    "price": PRICE,
    "shift": SHIFT,
    "routes": ROUTE,
    "rules": RULE,
    "when": WHEN,
    "weights": WEIGHTS,
    "server": SERVER,
    "limits": LIMITS,
}
"""By the heading they have in the documentation."""
