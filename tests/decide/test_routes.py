"""What the routes of the house choose on a realistic market: flagship, mid, wide, small, local."""

import pytest

from decide.pool import ANYONE, ask, view
from fairlead.decide import decide
from fairlead.decide.routes import default_routes

SENTENCE = "The council met on Monday to speak of roads, of parks and of other things. "
TEXTS = {
    "short-chat": "hi, how are you?",
    "extract": "Extract the invoice number and the total: ACME, no. 4711, EUR 99.50",
    "classify": "Classify the sentiment of this review: I loved it!",
    "summary": f"Summarise in three bullets: {SENTENCE * 30}",
    "book": f"Summarise this book: {SENTENCE * 8_000}",
    "email": "Write a polite email to my landlord about the broken heating.",
    "code": "Write a Python function that merges two sorted lists.",
    "proof": "Prove that there are infinitely many primes congruent to 3 modulo 4.",
    "trade-offs": "Analyse the trade-offs of event sourcing for a distributed ledger.",
    "plan": "Plan the migration of our monolith to services: architecture, milestones, risks.",
}


def chosen(route: str, text: str) -> str:
    plan = decide(ask(TEXTS[text], model=route), ANYONE, view())
    return plan.attempts[0].endpoint.model.name


@pytest.mark.parametrize(
    ("route", "text", "expected"),
    [
        ("auto", "short-chat", "small"),
        ("auto", "extract", "small"),
        ("auto", "classify", "small"),
        ("auto", "summary", "small"),
        ("auto", "email", "small"),
        ("auto", "book", "wide"),
        ("auto", "code", "mid"),
        ("auto", "proof", "flagship"),
        ("auto", "trade-offs", "flagship"),
        ("auto", "plan", "flagship"),
        ("best", "short-chat", "flagship"),
        ("best", "proof", "flagship"),
        ("best", "book", "flagship"),
        ("cheap", "short-chat", "tiny"),
        ("cheap", "extract", "tiny"),
        ("cheap", "code", "small"),
        ("cheap", "trade-offs", "flagship"),
        ("fast", "short-chat", "small"),
        ("fast", "code", "small"),
        ("fast", "trade-offs", "flagship"),
        ("local", "short-chat", "tiny"),
        ("local", "proof", "tiny"),
    ],
    ids=lambda value: value,
)
def test_who_is_chosen(route: str, text: str, expected: str) -> None:
    assert chosen(route, text) == expected


def test_local_never_leaves_its_zone() -> None:
    plan = decide(ask(model="local"), ANYONE, view())

    assert {one.endpoint.zone for one in plan.attempts} == {"local"}


def test_every_route_says_what_it_is_for() -> None:
    routes = default_routes()

    assert [route.name for route in routes] == ["auto", "best", "cheap", "fast", "local"]
    assert all(route.description for route in routes)
