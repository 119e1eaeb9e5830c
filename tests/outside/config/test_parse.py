"""From text to settings, and every mistake with its place."""

from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fairlead.outside.config import ConfigError, load, parse
from fairlead.outside.config.settings import LimitSettings, Listen, ModelSettings, ServerSettings
from fairlead.types.catalog import Rates, Route, Rule, Weights, When

SECRET = "hunter2"
"""Looks like nothing in particular, as some credentials do."""

WHOLE = """\
providers:
  openai: {api_key: {env: OPENAI_API_KEY}}
  work:   {kind: anthropic, api_key: [{env: KEY_A}, {file: /run/secrets/key-b}]}
  house:  {address: "http://127.0.0.1:8080/v1", dialect: openai_chat, zone: local}
  sim:    {kind: simulated}
models:
  gpt-5-mini: openai
  claude-opus-5: [openai, {at: work, as: claude-opus-5-0}]
  gemma-4-12b:
    at: house
    context: 128k
    price: {input: $0, output: $0.10}
    strength: 45%
    capabilities: [tools, -sampling]
    accepts: [text, image]
routes:
  auto: {weights: {quality: 5, cost: 3, speed: 2}}
  summaries: {models: [gemma-4-12b, gpt-5-mini], deadline: 60s, attempts: 2, zones: local}
  mixed:
    rules:
      - {when: {task: [code, mathematics], input_over: 20k}, models: claude-opus-5}
      - {models: ["gpt-*"], weights: {quality: 1, cost: 3}}
server:
  {listen: "[::1]:4601", data: /var/lib/fairlead, max_body: 1MiB, keep: 30d, drain: 30s,
   limits: {keep_alive: 10m, max_in_flight: 500, max_answer_memory: 1MiB,
            max_body_memory: 2MiB, max_wait: 50ms}, drain_delay: 0s, discover: false}
"""


def rendered(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value.render()


def test_models() -> None:
    assert parse(WHOLE).models == (
        ModelSettings("gpt-5-mini", at="openai"),
        ModelSettings("claude-opus-5", at="openai"),
        ModelSettings("claude-opus-5", at="work", upstream_model="claude-opus-5-0"),
        ModelSettings(
            "gemma-4-12b",
            at="house",
            context_tokens=128_000,
            rates=Rates(input=0, output=100_000),
            strength=0.45,
            gains=frozenset({"tools"}),
            loses=frozenset({"sampling"}),
            accepts=frozenset({"text", "image"}),
        ),
    )


def test_routes() -> None:
    heavy = When(tasks=("code", "mathematics"), input_tokens_over=20_000)

    assert parse(WHOLE).routes == (
        Route("auto", rules=(Rule(weights=Weights(5, 3, 2)),)),
        Route(
            "summaries",
            rules=(Rule(ordered=True, models=("gemma-4-12b", "gpt-5-mini")),),
            zones=("local",),
            max_attempts=2,
            deadline_s=60.0,
        ),
        Route(
            "mixed",
            rules=(
                Rule(when=heavy, ordered=True, models=("claude-opus-5",)),
                Rule(models=("gpt-*",), weights=Weights(quality=1, cost=3, speed=0)),
            ),
        ),
    )


def test_server() -> None:
    assert parse(WHOLE).server == ServerSettings(
        listen=Listen("::1", 4601),
        data="/var/lib/fairlead",
        keep_ms=30 * 86_400_000,
        max_body_bytes=1 << 20,
        drain_s=30.0,
        limits=LimitSettings(
            keep_alive_s=600.0,
            max_in_flight=500,
            max_answer_bytes=1 << 20,
            max_bodies_bytes=2 << 20,
            max_wait_s=0.05,
        ),
        discover=False,
    )


def test_nothing_written_is_all_defaults() -> None:
    settings = parse("")

    assert (settings.providers, settings.models, settings.routes) == ((), (), ())
    assert settings.server.listen == Listen("127.0.0.1", 4600)
    assert settings.server.keep_ms == 90 * 86_400_000
    assert (settings.server.drain_s, settings.server.drain_delay_s) == (120.0, 0.0)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("gateway.example.com", False),
    ],
)
def test_listening_on_loopback(host: str, expected: bool) -> None:
    assert Listen(host).is_loopback == expected


MISTAKES = {
    "unknown key, near one": (
        """\
        providers:
          house:
            adress: http://127.0.0.1:8080
        """,
        """\
        fairlead.yaml:2:3: provider `house` needs an `address` or a `kind`
          2 |   house:
            |   ^^^^^

        fairlead.yaml:3:5: unknown key `adress`
          3 |     adress: http://127.0.0.1:8080
            |     ^^^^^^ did you mean `address`?""",
    ),
    "unknown key, near none": (
        "foo: 1",
        """\
        fairlead.yaml:1:1: unknown key `foo`
          1 | foo: 1
            | ^^^ known here: providers, models, routes, server""",
    ),
    "not a map": (
        "providers: [openai]",
        """\
        fairlead.yaml:1:12: expected a map of names, found a list
          1 | providers: [openai]
            |            ^^^^^^^^ write `name:` instead of `- name`""",
    ),
    "the word of another program": (
        'providers: {work: {base_url: "http://127.0.0.1:9000/v1", kind: vllm}}',
        """\
        fairlead.yaml:1:20: unknown key `base_url`
          1 | providers: {work: {base_url: "http://127.0.0.1:9000/v1", kind: vllm}}
            |                    ^^^^^^^^ it is called `address` here""",
    ),
    "the word that means one thing here and another there": (
        "server: {port: 4600}",
        """\
        fairlead.yaml:1:10: unknown key `port`
          1 | server: {port: 4600}
            |          ^^^^ it is called `listen` here""",
    ),
    "provider misspelt": (
        "providers: {opnai: }",
        """\
        fairlead.yaml:1:13: provider `opnai` needs an `address` or a `kind`
          1 | providers: {opnai: }
            |             ^^^^^ did you mean `openai`?""",
    ),
    "kind misspelt": (
        "providers: {work: {kind: antropic}}",
        """\
        fairlead.yaml:1:26: unknown value `antropic`
          1 | providers: {work: {kind: antropic}}
            |                          ^^^^^^^^ did you mean `anthropic`?""",
    ),
    "provider with a slash": (
        "providers: {a/b: {kind: ollama}}",
        """\
        fairlead.yaml:1:13: `a/b` is not a name for a provider
          1 | providers: {a/b: {kind: ollama}}
            |             ^^^ letters, digits, `.`, `-` and `_`""",
    ),
    "a kind's key at another address": (
        'providers: {openai: {address: "https://proxy.example.com/v1"}}',
        """\
        fairlead.yaml:1:13: provider `openai` needs an `api_key`
          1 | providers: {openai: {address: "https://proxy.example.com/v1"}}
            |             ^^^^^^ use `signer: none` if it asks for none""",
    ),
    "a credential never used": (
        "providers: {openai: {signer: none}}",
        """\
        fairlead.yaml:1:13: provider `openai` has an `api_key` that `signer: none` never uses
          1 | providers: {openai: {signer: none}}
            |             ^^^^^^""",
    ),
    "simulated, with an address": (
        "providers: {sim: {kind: simulated, zone: local}}",
        """\
        fairlead.yaml:1:13: `sim` is simulated and takes no `zone`
          1 | providers: {sim: {kind: simulated, zone: local}}
            |             ^^^""",
    ),
    "no scheme": (
        'providers: {house: {address: "127.0.0.1:8080"}}',
        """\
        fairlead.yaml:1:30: not an address
          1 | providers: {house: {address: "127.0.0.1:8080"}}
            |                              ^^^^^^^^^^^^^^^^ such as https://api.example.com/v1""",
    ),
    "the dialect's own path": (
        'providers: {house: {address: "http://[::1]/v1/responses/"}}',
        """\
        fairlead.yaml:1:30: the dialect appends /responses itself
          1 | providers: {house: {address: "http://[::1]/v1/responses/"}}
            |                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ leave out `/responses`""",
    ),
    "two sources of a credential": (
        "providers: {openai: {api_key: {env: A, file: b}}}",
        """\
        fairlead.yaml:1:31: name one source of the credential
          1 | providers: {openai: {api_key: {env: A, file: b}}}
            |                               ^^^^^^^^^^^^^^^^^ {env: NAME} or {file: /path}""",
    ),
    "a variable, shell style": (
        "providers: {openai: {api_key: $OPENAI_API_KEY}}",
        """\
        fairlead.yaml:1:31: a credential may not stand in this file
          1 | providers: {openai: {api_key: ***************}}
            |                               ^^^^^^^^^^^^^^^ write {env: OPENAI_API_KEY}""",
    ),
    "model without a provider": (
        "models: {a: , b: {as: c}}",
        """\
        fairlead.yaml:1:12: say which provider serves it
          1 | models: {a: , b: {as: c}}
            |            ^ such as `my-model: openai`

        fairlead.yaml:1:18: `at` is missing: which provider serves it
          1 | models: {a: , b: {as: c}}
            |                  ^^^^^^^""",
    ),
    "model twice at a provider": (
        "models: {a: [openai, openai]}",
        """\
        fairlead.yaml:1:10: `a` is at `openai` more than once
          1 | models: {a: [openai, openai]}
            |          ^""",
    ),
    "price without a sign": (
        "models: {a: {at: openai, price: {input: 0.5}}}",
        """\
        fairlead.yaml:1:41: `0.5` is not a price per million tokens, such as $0.60
          1 | models: {a: {at: openai, price: {input: 0.5}}}
            |                                         ^^^ write $0.5""",
    ),
    "capability misspelt": (
        "models: {a: {at: openai, capabilities: [-tool]}}",
        """\
        fairlead.yaml:1:41: unknown value `tool`
          1 | models: {a: {at: openai, capabilities: [-tool]}}
            |                                         ^^^^^ did you mean `tools`?""",
    ),
    "no date": (
        "models: {a: {at: openai, retires: 31.3.2027, successor: b}}",
        """\
        fairlead.yaml:1:35: `31.3.2027` is not a date
          1 | models: {a: {at: openai, retires: 31.3.2027, successor: b}}
            |                                   ^^^^^^^^^ such as 2027-03-31""",
    ),
    "no such day": (
        "models: {a: {at: openai, retires: 2027-02-30}}",
        """\
        fairlead.yaml:1:35: `2027-02-30` is not a date
          1 | models: {a: {at: openai, retires: 2027-02-30}}
            |                                   ^^^^^^^^^^ such as 2027-03-31""",
    ),
    "a date in another spelling": (
        "models: {a: {at: openai, retires: 20270330}}",
        """\
        fairlead.yaml:1:35: `20270330` is not a date
          1 | models: {a: {at: openai, retires: 20270330}}
            |                                   ^^^^^^^^ such as 2027-03-31""",
    ),
    "a shift to nobody": (
        "models: {a: {at: openai, shift: {canary: 5%}}}",
        """\
        fairlead.yaml:1:13: `shift` needs a `successor` to move to
          1 | models: {a: {at: openai, shift: {canary: 5%}}}
            |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^""",
    ),
    "a shift without its units": (
        "models: {a: {at: openai, successor: b, shift: {canary: 5, over: 7}}}",
        """\
        fairlead.yaml:1:56: `5` is more than 1 (100%)
          1 | models: {a: {at: openai, successor: b, shift: {canary: 5, over: 7}}}
            |                                                        ^

        fairlead.yaml:1:65: `7` is not a duration, such as 250ms, 40s or 2m
          1 | models: {a: {at: openai, successor: b, shift: {canary: 5, over: 7}}}
            |                                                                 ^""",
    ),
    "its own successor": (
        "models: {a: {at: openai, successor: a}}",
        """\
        fairlead.yaml:1:13: `a` cannot succeed itself
          1 | models: {a: {at: openai, successor: a}}
            |             ^^^^^^^^^^^^^^^^^^^^^^^^^^""",
    ),
    "task misspelt": (
        "routes: {r: {rules: [{when: {task: maths}}]}}",
        """\
        fairlead.yaml:1:36: unknown value `maths`
          1 | routes: {r: {rules: [{when: {task: maths}}]}}
            |                                    ^^^^^ did you mean `mathematics`?""",
    ),
    "rules and models": (
        "routes: {r: {rules: [{}], models: [a]}}",
        """\
        fairlead.yaml:1:10: route `r` has `rules`, and `models` or `weights` beside them
          1 | routes: {r: {rules: [{}], models: [a]}}
            |          ^ put them into a rule""",
    ),
    "weights of nothing": (
        "routes: {r: {weights: {cost: 0}}}",
        """\
        fairlead.yaml:1:23: no aim counts for anything
          1 | routes: {r: {weights: {cost: 0}}}
            |                       ^^^^^^^^^ such as {quality: 2, cost: 1}""",
    ),
    "wrong weight": (
        "routes: {r: {weights: {cost: much}}}",
        """\
        fairlead.yaml:1:30: `much` is not a number, such as 3 or 0.5
          1 | routes: {r: {weights: {cost: much}}}
            |                              ^^^^""",
    ),
    "empty list": (
        "routes: {r: {models: []}}",
        """\
        fairlead.yaml:1:22: the list is empty
          1 | routes: {r: {models: []}}
            |                      ^^ leave the key out instead""",
    ),
    "star in the middle": (
        'routes: {r: {models: ["g*t"]}}',
        """\
        fairlead.yaml:1:23: `g*t` is not a name
          1 | routes: {r: {models: ["g*t"]}}
            |                       ^^^^^ no spaces and no `*`""",
    ),
    "a port only": (
        "server: {listen: 4600}",
        """\
        fairlead.yaml:1:18: `4600` is not a host and port
          1 | server: {listen: 4600}
            |                  ^^^^ write 127.0.0.1:4600""",
    ),
    "a list for one value": (
        "server: {log: [a]}",
        """\
        fairlead.yaml:1:15: expected one value, found a list
          1 | server: {log: [a]}
            |               ^^^""",
    ),
    "yes for true": (
        "server: {discover: yes}",
        """\
        fairlead.yaml:1:20: `yes` is neither true nor false
          1 | server: {discover: yes}
            |                    ^^^""",
    ),
    "not YAML": (
        "server: {log: a",
        """\
        fairlead.yaml:1:16: not valid YAML: while parsing a flow mapping expected ',' or '}', \
but got '<stream end>'
          1 | server: {log: a
            |                ^ is a bracket left open?""",
    ),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_shown_where_it_is(text: str, expected: str) -> None:
    assert rendered(dedent(text)) == dedent(expected)


def test_all_mistakes_are_told_at_once_in_their_order() -> None:
    text = "server: {log: }\nmodels: {a: }\nproviders: {b: {zome: x}}\nroutes: {c: 1}\n"

    with pytest.raises(ConfigError) as caught:
        parse(text)

    assert [(each.line, each.column) for each in caught.value.problems] == [
        (1, 14),
        (2, 12),
        (3, 13),
        (3, 17),
        (4, 13),
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"providers: {{openai: {{api_key: {SECRET}}}}}",
        f"providers:\n  openai:\n    api_key:\n      {SECRET}",
        f"providers:\n  openai:\n    api_key: |\n      {SECRET}\n      {SECRET}",
        f"providers: {{openai: {{api_key: [{{env: A}}, {SECRET}]}}}}",
        f"providers: {{openai: {{api_key: {{env: {SECRET}-1}}}}}}",
        f"providers: {{openai: {{api_key: {{value: {SECRET}}}}}}}",
        f"providers: {{openai: {{api_key: {{{{env: {SECRET}}}: x}}}}}}",
        f"providers: {{openai: {{api_key: {{{SECRET}}}}}}}",
        f"providers: {{openai: {{api_key: {{{{{SECRET}}}}}}}}}",
        f"providers: {{openai: {SECRET}}}",
        f"providers: {{openai: {{apikey: {SECRET}, adress: x}}}}",
        f"providers:\n  openai:\n    token:\n      {SECRET}",
        f"providers:\n  openai:\n    api_key: {{env: A}}\n    api_key:\n      {SECRET}",
        f"providers:\n  a/b:\n    api_key:\n      {SECRET}",
        f"providers: {{h: {{address: 'https://me:{SECRET}@example.com'}}}}",
        f"x: &k {SECRET}\nproviders: {{openai: {{api_key: *k}}}}",
        f"providers: {{openai: {{api_key: {SECRET}",
        f"models: {{a: 'https://me:{SECRET}@example.com'}}",
        "providers: {openai: {api_key: {env: gsk_hunter2hunter2}}}",
        "models: {sk-hunter2hunter2: }",
        "sk-proj-hunter2hunter2 [",
        "providers: {sim: {kind: simulated, sk-hunter2hunter2: x}}",
        f"providers: {{sim: {{kind: simulated, 'https://me:{SECRET}@example.com': x}}}}",
        "providers: {openai: {api_key: *sk-hunter2hunter2}}",
    ],
    ids=[
        *("literal", "on its own line", "block", "in a list", "as a variable", "as a value"),
        *(
            "as a key",
            "in braces",
            "in two braces",
            "as a provider",
            "key misspelt",
            "other key",
            "given twice",
            "wrong name",
        ),
        *("in an address", "behind an anchor", "broken YAML"),
        *("in an address as provider", "vendor's key as variable"),
        *("vendor's key as model", "vendor's key in broken YAML"),
        *("simulated", "in an address, simulated", "as an alias"),
    ],
)
def test_no_credential_is_ever_shown(text: str) -> None:
    assert "hunter2" not in rendered(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "routes: {r: {rules: [{models: [a]}, {models: [b]}]}}",
            "fairlead.yaml:1:10: route `r`: nothing gets past rule 1",
            id="a rule never reached",
        ),
        pytest.param(
            "routes: {r: {rules: [{when: {tools: true}, models: [a]}]}}",
            "fairlead.yaml:1:10: route `r`: a request that no rule fits is refused",
            id="no rule for the rest",
        ),
        pytest.param(
            'providers: {h: {address: "http://example.com/v1", api_key: {env: A}}}',
            "fairlead.yaml:1:13: the credential of `h` crosses the network in the clear",
            id="in the clear",
        ),
        pytest.param(
            'providers: {h: {address: "http://127.0.0.1:8080/", signer: none}}',
            "fairlead.yaml:1:13: the address of `h` has no path: most servers want /v1",
            id="without a version",
        ),
    ],
)
def test_warnings_stop_nothing(text: str, expected: str) -> None:
    assert parse(text).warnings == (expected,)


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1)], ids=oct
)
def test_a_credential_file_that_others_can_read(tmp_path: Path, mode: int, expected: int) -> None:
    file = tmp_path / "key"
    file.touch(mode)
    file.chmod(mode)
    settings = parse(f"providers: {{openai: {{api_key: {{file: {file}}}}}}}")

    assert len(settings.warnings) == expected
    assert all(f"{file} can be read by others: chmod 600" in each for each in settings.warnings)


def test_relative_files_start_at_the_configurations_folder(tmp_path: Path) -> None:
    path = tmp_path / "fairlead.yaml"
    path.write_text("providers: {openai: {api_key: {file: secrets/openai}}}")

    assert load(path).providers[0].secrets[0].file == str(tmp_path / "secrets/openai")


@pytest.mark.parametrize(
    ("data", "expected"),
    [(None, "cannot be read: No such file or directory"), (b"\xff\xfe", "is not UTF-8")],
    ids=["missing", "not text"],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, data: bytes | None, expected: str) -> None:
    path = tmp_path / "fairlead.yaml"
    if data is not None:
        path.write_bytes(data)

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert caught.value.render() == f"{path}: {expected}"


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "fairlead.yaml"
    path.write_bytes(b"\xef\xbb\xbfserver: {log: none}")

    assert load(path).server.log == "none"


FRAGMENTS = st.sampled_from(
    [
        *(
            "providers:",
            "models:",
            "routes:",
            "server:",
            "openai",
            "api_key",
            "env",
            "at",
            "{",
            "}",
        ),
        *("[", "]", ": ", ", ", "- ", "? ", "| ", "&a ", "*a", "<<: ", "!x ", "!!map ", "%YAML 1."),
        *("\n", "\n  ", " ", "\t", "\x85", "\u2028", "\x00", "\x1b[31m", "\ud800", "\ufeff", "---"),
        *('"', "'", "\\U", "ffffffff", "~x/", "http://[", "http://a:99999", "$1", "5s", "#", "..."),
    ]
)


def shown_for(text: str) -> str:
    try:
        parse(text)
    except ConfigError as error:
        return error.render()
    return ""


@given(st.text() | st.lists(FRAGMENTS, max_size=30).map("".join))
@example('"\\Uffffffff"')
@example("%YAML 1.99999999999999999999\n---\n")
@example('"\\ud800": 1')
@example('"\\e[31m": 1')
def test_no_text_does_worse_than_a_config_error(text: str) -> None:
    shown = shown_for(text)

    assert shown.encode().decode() == shown
    assert "\x1b" not in shown


@given(st.integers(0, len(WHOLE)), st.integers(0, 20), st.lists(FRAGMENTS, max_size=3))
def test_no_damage_does_worse_than_a_config_error(at: int, cut: int, put: list[str]) -> None:
    shown = shown_for(WHOLE[:at] + "".join(put) + WHOLE[at + cut :])

    assert shown.encode().decode() == shown
