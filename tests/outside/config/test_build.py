"""Settings and what exists, to a catalogue."""

from collections.abc import Mapping, Sequence

import pytest
from msgspec import Struct

from fairlead.decide.routes import default_routes
from fairlead.outside.config import ConfigError, available, build, parse, unserved
from fairlead.outside.simulated.profiles import endpoints as simulated_endpoints
from fairlead.types.catalog import Catalog, Endpoint, Model, Price, Rates, Shift, Timeouts

PAID = (Price(rates=Rates(input=250_000, output=2_000_000), source="test"),)
MINI = Model("gpt-5-mini", context_tokens=400_000, prices=PAID, strength=0.7)
OPUS = Model("claude-opus-5", context_tokens=200_000, can=frozenset({"tools", "sampling"}))
HAIKU = Model("claude-haiku", can=frozenset({"sampling", "prefill"}))
GEMMA = Model("gemma4:12b", context_tokens=8_192, open_weights=True)


class Known(Struct, frozen=True):
    """A small catalogue."""

    models: Mapping[tuple[str, str], Model]
    aliases: Mapping[str, str]

    def find(self, kind: str, model: str) -> Model | None:
        return self.models.get((kind, model))

    def recommended(self, kind: str) -> tuple[str, ...]:
        return tuple(model for of, model in self.models if of == kind)


KNOWN = Known(
    models={
        ("openai", "gpt-5-mini"): MINI,
        ("anthropic", "claude-opus-5"): OPUS,
        ("anthropic", "claude-haiku"): HAIKU,
        ("openrouter", "claude-haiku"): HAIKU,
        ("openrouter", "openai/gpt-5-mini"): Model("openai/gpt-5-mini", prices=PAID),
    },
    aliases={
        "claude-opus-5-20260901": "claude-opus-5",
        "gpt-5-mini": "gpt-5",
        "nobody-latest": "nobody",
    },
)


class Found(Struct, frozen=True):
    provider: str
    kind: str
    address: str
    models: tuple[Model, ...] = ()


OLLAMA = Found("ollama", "ollama", "http://127.0.0.1:11434/v1", (GEMMA,))


def built(text: str, found: Sequence[Found] = (), env: Mapping[str, str] | None = None) -> Catalog:
    settings = parse(text)
    settings = settings if env is None else available(settings, env)
    return build(settings, KNOWN, found, simulated_endpoints({"sim-house": "http://[::1]:1"}))


def names(catalog: Catalog) -> list[str]:
    return [endpoint.name for endpoint in catalog.endpoints]


def refused(text: str, found: Sequence[Found] = ()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        built(text, found)
    return [
        f"{each.line}:{each.column} {each.message} {each.hint}".rstrip()
        for each in caught.value.problems
    ]


def test_an_endpoint_is_a_model_at_a_provider() -> None:
    text = """
    providers: {work: {kind: anthropic, api_key: {env: A}, timeouts: {stall: 9s}}}
    models: {opus: {at: work, as: claude-opus-5}}
    """
    settings = parse(text)

    assert built(text).endpoints == (
        Endpoint(
            name="work/opus",
            provider="work",
            model=Model("opus", context_tokens=200_000, can=OPUS.can),
            upstream_model="claude-opus-5",
            dialect="anthropic_messages",
            base_url="https://api.anthropic.com/v1",
            signer="x-api-key",
            secrets=settings.providers[0].secrets,
            zone="cloud",
            timeouts=Timeouts(stall_s=9.0),
            expected_first_token_ms=1000.0,
            expected_tokens_per_s=60.0,
        ),
    )


def test_settings_count_more_than_the_catalogue() -> None:
    catalog = built("""
    providers: {openai: }
    models:
      gpt-5-mini:
        at: openai
        max_output: 32k
        price: {input: $1}
        strength: 0
        capabilities: [tools, -sampling]
        accepts: [text, image]
    """)

    assert catalog.endpoints[0].model == Model(
        "gpt-5-mini",
        context_tokens=400_000,
        max_output_tokens=32_000,
        prices=(Price(rates=Rates(input=1_000_000), source="configuration"),),
        strength=0.0,
        can=frozenset({"system", "stream", "tools"}),
        accepts=frozenset({"text", "image"}),
    )


@pytest.mark.parametrize(
    ("text", "continues"),
    [
        ("providers: {anthropic: }\nmodels: {claude-haiku: anthropic}", True),
        ("providers: {openrouter: }\nmodels: {claude-haiku: openrouter}", False),
        ("providers: {openrouter: }\n"
         "models: {claude-haiku: {at: openrouter, capabilities: [prefill]}}", True),
        ("providers: {anthropic: }\n"
         "models: {claude-haiku: {at: anthropic, capabilities: [-prefill]}}", False),
    ],
)  # fmt: skip
def test_who_continues_a_last_turn_is_known_of_one_dialect(text: str, continues: bool) -> None:
    [endpoint] = built(text).endpoints

    assert ("prefill" in endpoint.model.can) is continues


@pytest.mark.parametrize(
    ("text", "found", "expected"),
    [
        pytest.param("providers: {openai: }", [], ["openai/gpt-5-mini"], id="recommended"),
        pytest.param(
            "providers: {openai: }\nmodels: {mine: openai}", [], ["openai/mine"], id="listed"
        ),
        pytest.param("providers: {ollama: }", [OLLAMA], ["ollama/gemma4:12b"], id="found"),
        pytest.param("providers: {ollama: }", [], [], id="down"),
        pytest.param(
            "providers: {ollama: }\nmodels: {g: {at: ollama, as: 'gemma4:12b'}}",
            [OLLAMA],
            ["ollama/g"],
            id="found and listed",
        ),
        pytest.param("", [OLLAMA], ["ollama/gemma4:12b"], id="found, not declared"),
        pytest.param("server: {discover: false}", [OLLAMA], [], id="found, not wanted"),
        pytest.param(
            "providers: {house: {address: 'http://localhost:11434/v1/'}}",
            [OLLAMA],
            ["house/gemma4:12b"],
            id="found under another name",
        ),
        pytest.param(
            "providers: {ollama: {address: 'http://10.0.0.9:11434/v1'}}",
            [OLLAMA],
            [],
            id="found elsewhere than declared",
        ),
        pytest.param(
            "providers: {sim: {kind: simulated}}",
            [],
            ["sim-house/sim-local", "sim-house/sim-embed"],
            id="simulated",
        ),
    ],
)
def test_who_serves_what(text: str, found: list[Found], expected: list[str]) -> None:
    assert names(built(text, found)) == expected


def test_what_was_found_is_known_of_a_listed_model() -> None:
    catalog = built("providers: {ollama: }\nmodels: {g: {at: ollama, as: 'gemma4:12b'}}", [OLLAMA])

    assert catalog.by_name["g"][0].model.context_tokens == 8_192


@pytest.mark.parametrize(
    ("text", "price", "zone"),
    [
        pytest.param("providers: {vllm: }\nmodels: {m: vllm}", 0, "local", id="near"),
        pytest.param(
            "providers: {vllm: {address: 'https://gpu.example.com'}}\nmodels: {m: vllm}",
            None,
            "cloud",
            id="far",
        ),
        pytest.param(
            "providers: {h: {address: 'http://127.0.0.1:1'}}\nmodels: {m: h}",
            None,
            "local",
            id="near, but it may resell",
        ),
        pytest.param(
            "providers: {ollama: }\nmodels: {m: {at: ollama, as: 'gpt-oss:120b-cloud'}}",
            None,
            "cloud",
            id="behind a local server",
        ),
        pytest.param(
            "providers: {ollama: {zone: house}}\nmodels: {m: {at: ollama, as: 'x:cloud'}}",
            None,
            "cloud",
            id="behind a local server, whatever its zone",
        ),
    ],
)
def test_only_what_runs_here_is_free_and_local(text: str, price: int | None, zone: str) -> None:
    endpoint = built(text).endpoints[0]

    assert [each.rates.output for each in endpoint.model.prices] == ([] if price is None else [0])
    assert endpoint.zone == zone


def test_every_name_leads_to_its_endpoints() -> None:
    catalog = built("""
    providers: {openai: , openrouter: }
    models:
      mini: [{at: openai, as: gpt-5-mini}, {at: openrouter, as: openai/gpt-5-mini}]
      gpt-5-mini: openai
    """)

    assert {name: [each.name for each in ends] for name, ends in catalog.by_name.items()} == {
        "mini": ["openai/mini", "openrouter/mini"],
        "openai/mini": ["openai/mini"],
        "openrouter/mini": ["openrouter/mini"],
        "gpt-5-mini": ["openai/mini", "openai/gpt-5-mini"],
        "openai/gpt-5-mini": ["openai/gpt-5-mini"],
    }


def test_aliases_of_what_is_served_and_has_no_name_of_its_own() -> None:
    catalog = built("providers: {openai: , anthropic: }")

    assert catalog.aliases == {"claude-opus-5-20260901": "claude-opus-5"}


def test_rules_and_baseline_may_use_aliases() -> None:
    catalog = built("""
    providers: {anthropic: }
    routes: {r: {models: [claude-opus-5-20260901]}}
    server: {baseline: claude-opus-5-20260901}
    """)

    assert catalog.routes["r"].rules[0].models == ("claude-opus-5",)
    assert catalog.baseline == "claude-opus-5"


def test_routes_of_the_file_replace_those_that_always_are() -> None:
    catalog = built("routes: {auto: {weights: {cost: 1}}, mine: {}}")

    assert list(catalog.routes) == [*(route.name for route in default_routes()), "mine"]
    assert catalog.routes["auto"].rules[0].weights.quality == 0.0


def test_an_absent_provider_serves_nothing_and_breaks_nothing() -> None:
    text = """
    providers: {openai: , anthropic: }
    routes: {r: {models: [claude-opus-5, gpt-5-mini]}}
    server: {baseline: claude-opus-5}
    """

    catalog = built(text, env={"OPENAI_API_KEY": "x"})

    assert names(catalog) == ["openai/gpt-5-mini"]
    assert catalog.baseline == ""
    assert unserved(catalog) == ("route `r`: nothing serves `claude-opus-5` at present",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "providers: {openai: }\nmodels: {m: opnai}",
            ["2:13 there is no provider `opnai` did you mean `openai`?"],
            id="provider",
        ),
        pytest.param(
            "providers: {sim: {kind: simulated}}\nmodels: {m: sim}",
            ["2:13 `sim` is simulated: its models come with it"],
            id="simulated provider",
        ),
        pytest.param(
            "models: {m: openai}",
            ["1:13 there is no provider `openai` write `openai:` under `providers`"],
            id="a kind that is not declared",
        ),
        pytest.param(
            "models: {m: house}", ["1:13 there is no provider `house`"], id="no provider at all"
        ),
        pytest.param(
            "providers: {openai: }\nroutes: {r: {models: [gpt-5-mini, gpt-5-mni]}}",
            [
                "2:35 there is no model `gpt-5-mni` did you mean `gpt-5-mini`? Else"
                " `models` must say who serves it"
            ],
            id="model",
        ),
        pytest.param(
            "providers: {openai: }\nroutes: {r: {rules: [{models: claude-*}]}}",
            ["2:31 there is no model `claude-*`"],
            id="pattern",
        ),
        pytest.param(
            "providers: {openai: }\nserver: {baseline: gpt-5-mega}",
            [
                "2:20 there is no model `gpt-5-mega` did you mean `gpt-5-mini`? Else"
                " `models` must say who serves it"
            ],
            id="baseline",
        ),
        pytest.param(
            "providers: {openai: }\nmodels: {a: {at: openai, successor: b}, bb: openai}",
            ["2:37 there is no model `b` did you mean `bb`? Else `models` must say who serves it"],
            id="successor",
        ),
        pytest.param(
            "providers: {openai: {zone: europe}}\nroutes: {r: {zones: [local, eurpe]}}",
            ["2:29 there is no zone `eurpe` did you mean `europe`?"],
            id="zone",
        ),
        pytest.param(
            "providers: {openai: }\nmodels: {m: nobody}\nroutes: {r: {models: [none]}}",
            [
                "2:13 there is no provider `nobody` known: openai",
                "3:23 there is no model `none` `models` must say who serves it",
            ],
            id="all at once",
        ),
    ],
)
def test_a_name_that_leads_nowhere(text: str, expected: list[str]) -> None:
    assert refused(text) == expected


@pytest.mark.parametrize("pattern", ["gpt-5-mini", "openai/gpt-5-mini", "gpt-*", "openai/*", "*"])
def test_names_and_patterns_that_lead_somewhere(pattern: str) -> None:
    assert built(f'providers: {{openai: }}\nroutes: {{r: {{models: "{pattern}"}}}}').routes["r"]


def test_a_local_server_that_is_down_does_not_stop_the_gateway() -> None:
    """It alone knows its models, so a route may name what nobody has seen yet."""
    text = "providers: {ollama: , openai: }\nroutes: {r: {models: [gemma4]}}"

    assert unserved(built(text)) == ("route `r`: nothing serves `gemma4` at present",)
    assert refused(text, [OLLAMA]) == [
        "2:23 there is no model `gemma4` did you mean `gemma4:12b`? Else"
        " `models` must say who serves it"
    ]


SHIFTED = """
providers: {openai: }
models:
  new: {at: openai, as: gpt-5-mini}
  %s: {at: openai, successor: %s, shift: {}%s}
"""


def test_a_shift_by_the_file() -> None:
    told = SHIFTED % ("old", "new", ", retires: 2027-03-31")
    old = built(told).by_name["old"][0].model

    assert (old.retires, old.successor, old.shift) == ("2027-03-31", "new", Shift(0.05, 604_800.0))


def test_a_shift_needs_a_day_that_somebody_knows() -> None:
    assert refused(SHIFTED % ("old", "new", "")) == [
        "5:8 `shift` needs a day: nobody knows when `old` retires such as `retires: 2027-03-31`"
    ]


def test_the_catalogue_may_know_the_day() -> None:
    dated = Known({("openai", "gpt-old"): Model("gpt-old", retires="2027-01-01")}, {})
    text = SHIFTED % ("gpt-old", "new", "")

    assert build(parse(text), dated).by_name["gpt-old"][0].model.retires == "2027-01-01"


def test_a_successor_may_be_called_by_an_alias() -> None:
    catalog = built("""
    providers: {openai: , anthropic: {api_key: {env: A}}}
    models: {old: {at: openai, successor: claude-opus-5-20260901}}
    """)

    assert catalog.by_name["old"][0].model.successor == "claude-opus-5"
    assert catalog.by_name["openai/old"] == catalog.by_name["old"]
