"""Threats 8 and 9: what is secret stays where it is, whatever a caller or an endpoint does to get
it said."""

import json
from pathlib import Path
from typing import Any

import pytest
from prove.canaries import forms, hits, planted

from servers import canned, plain
from servers.gateway import create_key, gateway
from servers.scripted import Script, Seen, reply, scripted
from servers.setup import Setup

KEYS = ("vendor", "stranger", "prompt")
"""What we hold for a vendor, what a caller sends that is no key of ours, what a model is told."""


def echo(seen: Seen) -> Script:
    """An endpoint that says everything it was told, in an error."""
    told = {name: value for name, value in seen.headers.items() if name != "host"}
    message = f"Incorrect API key provided: {told['authorization'].removeprefix('Bearer ')}"
    error = {"message": message, "type": "invalid_request_error", "code": "invalid_api_key"}
    return reply({"error": error}, status=401)


def hostile(model: str, secret: str) -> list[tuple[str, bytes, dict[str, str]]]:
    """Requests that are to be refused, with a secret of the caller's where it does not belong."""
    good: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Hi."}]}
    chat, messages = "/v1/chat/completions", "/v1/messages"
    bearer = {"authorization": f"Bearer {secret}"}
    return [
        *((path, b"{}", bearer) for path in (chat, messages, "/v1/embeddings", "/v1/route")),
        (chat, json.dumps(good).encode(), {"x-api-key": secret, "authorization": ""}),
        (chat, json.dumps(good).encode(), {"authorization": f"Basic {secret}"}),
        (chat, json.dumps(good | {"stream": secret}).encode(), {}),
        (chat, json.dumps(good | {"max_tokens": secret}).encode(), {}),
        (chat, json.dumps(good | {"messages": secret}).encode(), {}),
        (chat, json.dumps(good | {"tool_choice": secret}).encode(), {}),
        (chat, json.dumps(good).encode() + secret.encode(), {}),
        (chat, secret.encode(), {}),
        (chat, json.dumps(good).encode(), {"x-fairlead-deadline": secret}),
        (chat, json.dumps(good).encode(), {"x-fairlead-max-cost": secret}),
        (chat, json.dumps(good).encode(), {"content-encoding": secret}),
        (chat, json.dumps(good).encode(), {"cookie": secret, "x-other": secret}),
        (messages, json.dumps(good | {"max_tokens": 9, "system": [secret]}).encode(), {}),
        (messages, json.dumps(good | {"max_tokens": 9}).encode(), {"anthropic-version": secret}),
        (chat, json.dumps(good | {"user": secret}).encode(), {}),
    ]


def test_no_refusal_keeps_or_repeats_a_secret(tmp_path: Path) -> None:
    secrets = {name: planted() for name in KEYS}
    with scripted() as up:
        setup = Setup().endpoint("leaky", up.address, "openai_chat")
        setup.endpoint("fine", up.address, "openai_chat")
        setup.secrets |= {"KEY_LEAKY": secrets["vendor"], "KEY_FINE": secrets["vendor"]}
        up.on("leaky", echo)
        up.on("fine", canned.OPENAI["text"])
        key = create_key(tmp_path / "data", "team")
        answers = b""
        with gateway(tmp_path, setup.text(), setup.secrets) as running:
            for path, body, headers in hostile("leaky", secrets["stranger"]):
                sent = {"authorization": f"Bearer {key}", **headers}
                got = plain.request("POST", running.address + path, body, sent)
                answers += str(got.headers).encode() + got.body
            ours = {"authorization": f"Bearer {key}"}
            for model in ("leaky", "fine"):
                got = plain.ask(running.address, model, secrets["prompt"], key)
                answers += str(got.headers).encode() + got.body
            metrics = plain.request("GET", f"{running.address}/metrics", headers=ours).body
            listed = running.command("logs", "--json").encode()
            shown = running.command("keys", "list", "--json").encode()
            printed = running.output.text.encode()
        places = {
            "an answer": answers,
            "metrics": metrics,
            "fairlead logs": listed,
            "fairlead keys": shown,
            "standard output": printed,
            "the log": running.log.read_bytes(),
            **{str(path.name): path.read_bytes() for path in files(running.data)},
        }

    assert len(up.asked("leaky")) >= 1
    assert hits({**secrets, "our key": key.removeprefix("fl-")}, places) == []


def files(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert found
    return found


@pytest.mark.parametrize("form", range(len(forms("x" * 30))))
def test_what_is_looked_for_would_be_found(form: int) -> None:
    secret = planted()
    written = b"before " + sorted(forms(secret))[form % len(forms(secret))] + b" after"

    assert hits({"a secret": secret}, {"a place": written}) == ["a secret in a place"]
