"""Single values: what each may be, and that what could be a credential is not repeated."""

from collections.abc import Callable

import pytest

from fairlead.outside.config import ConfigError, parse, values
from fairlead.outside.config.problems import Mistake
from fairlead.outside.config.settings import Listen


@pytest.mark.parametrize(
    ("kind", "sound"),
    [
        (values.choice(("low", "high")), ["low", "high"]),
        (values.provider_name, ["openai", "a.b-c_9"]),
        (values.name, ["gpt-5", "meta/llama:free", "ü", "x" * 200]),
        (values.pattern, ["gpt-5", "gpt-*", "*"]),
        (values.date, ["2027-03-31", "2028-02-29"]),
    ],
)
def test_what_is_taken_as_it_is(kind: Callable[[str], str], sound: list[str]) -> None:
    assert [kind(text) for text in sound] == sound


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (values.choice(("low", "high")), "medium"),
        (values.provider_name, "a b"),
        (values.provider_name, ""),
        *((values.name, text) for text in ("", "a b", "a*", "a\x00", "a\u202eb", "x" * 201)),
        *((values.pattern, text) for text in ("a*b", "**", "")),
        *((values.date, text) for text in ("2027-02-29", "20270331", "2027-W13-3", "soon")),
        *((values.listen, text) for text in ("4600", "127.0.0.1", "127.0.0.1:65536", "a b:1")),
    ],
)
def test_what_is_refused(kind: Callable[[str], object], text: str) -> None:
    with pytest.raises(Mistake):
        kind(text)


def test_a_value_that_is_none_of_a_few_is_told_them() -> None:
    with pytest.raises(Mistake) as near:
        values.choice(("low", "high"))("hihg")
    with pytest.raises(Mistake) as far:
        values.choice(("low", "high"))("elsewhere")

    assert "high" in near.value.hint
    assert "low" in far.value.hint


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:0", "127.0.0.1", 0), ("[::1]:65535", "::1", 65_535), ("host-1:80", "host-1", 80)],
)
def test_where_to_listen(text: str, host: str, port: int) -> None:
    assert values.listen(text) == Listen(host, port)


KEY = "sk-proj-" + "hunter2" * 6
PROVIDER = "providers: {{house: {{address: '{}', dialect: openai_chat}}}}"


@pytest.mark.parametrize(
    "address",
    [
        *(
            "ftp://127.0.0.1",
            "//127.0.0.1",
            "127.0.0.1:80",
            "http://",
            "http://h:0",
            "http://h:99999",
        ),
        *("http://a b", "http://h/?a=1", "http://h/#a", "http://h/v1/messages", "http://h/\u202e"),
        *("http://hunter2@h", "http://user:hunter2@h/v1", f"{KEY}?a", f"{KEY}"),
    ],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(PROVIDER.format(address))

    assert "hunter2" not in refused.value.render()


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        (f"{{file: {KEY}}}", "not the path of a file"),
        ("{file: ''}", "not the path of a file"),
        ('{file: "a\\tb"}', "not the path of a file"),
        (f"{{env: {KEY}}}", "not the name of an environment variable"),
        ("{env: hunter2 hunter2}", "not the name of an environment variable"),
        (KEY, "a credential may not stand in this file"),
        ("{env: A, file: b}", "name one source"),
        ("{value: hunter2}", "name one source"),
    ],
)
def test_what_is_no_reference_to_a_credential(reference: str, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(f"providers: {{openai: {{api_key: {reference}}}}}")

    assert why in refused.value.render()
    assert "hunter2" not in refused.value.render()
