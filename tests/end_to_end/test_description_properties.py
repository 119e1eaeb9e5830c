"""Requests made from the API's own description, good and bad, to a real gateway: nothing that a
caller can send is an error of ours, and every error says what it is and whether to come again."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from end_to_end.conftest import Served
from fairlead.server.openapi import document
from fairlead.server.paths import METHODS
from fairlead.types.errors import CLIENT_VIEW

DESCRIPTION = schemathesis.openapi.from_dict(document())
OPERATIONS = {
    each.ok().path: each.ok() for each in DESCRIPTION.get_all_operations() if isinstance(each, Ok)
}
MODES = st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
MODELS = st.sampled_from(
    [None, "openai_chat-text", "anthropic_messages-text", "openai_chat-embed", "broken"]
)
EXAMPLES = settings().max_examples if settings().max_examples > 1000 else 40
"""For each address: some hundred requests in all, or 24,000."""
REACHED = {"GET": {200}, "POST": {400, 401}}
UPSTREAM = {(status, code) for status, code in CLIENT_VIEW.values() if status >= 500}
"""What goes wrong there is not ours."""


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        yield opened


@pytest.mark.parametrize("path", METHODS)
def test_what_the_description_allows_and_what_it_forbids(
    served: Served, session: requests.Session, path: str
) -> None:
    seen: set[int] = set()

    @settings(max_examples=EXAMPLES)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        case = data.draw(OPERATIONS[path].as_strategy(generation_mode=data.draw(MODES)))
        if model := data.draw(MODELS):
            case.path_parameters = dict.fromkeys(case.path_parameters, model)
            if isinstance(case.body, dict):
                case.body["model"] = model
        key = {"authorization": f"Bearer {served.key}"} if data.draw(st.integers(0, 9)) else {}
        got = case.call(base_url=served.gateway.address, session=session, headers=key, timeout=20)
        told: Any = got.json() if "application/json" in got.headers["content-type"][0] else None
        seen.add(got.status_code)
        check_answer(got.status_code, {k: v[0] for k, v in got.headers.items()}, told, path)

    check()

    assert seen >= REACHED[METHODS[path]]
    assert is_well(served)


def is_well(served: Served) -> bool:
    asked: Any = {"model": "openai_chat-text", "messages": [{"role": "user", "content": "Hi."}]}
    where = f"{served.gateway.address}/v1/chat/completions"
    key = {"authorization": f"Bearer {served.key}"}
    return requests.post(where, json=asked, headers=key, timeout=20).status_code == 200


def check_answer(status: int, headers: dict[str, str], told: Any, path: str) -> None:
    if status < 400 or (path == "/readyz" and status == 503):
        assert status == 200
        return
    described = document()["paths"][path][METHODS[path].lower()]["responses"]
    assert str(status) in described
    assert headers["x-should-retry"] in ("true", "false")
    assert headers["x-fairlead-request-id"] == told.get(
        "request_id", told["error"].get("request_id")
    )
    assert told["error"]["type"]
    assert told["error"]["message"]
    if status >= 500:
        assert (status, told["error"].get("code")) in UPSTREAM
