"""The demo's story is sound, its arithmetic right, and its picture fetches nothing."""

import re
from string import Template

import pytest

from fairlead.cli.demo.noise import server_log
from fairlead.cli.demo.result import Done, as_json, totals
from fairlead.cli.demo.screen import Screen, export_svg, recorder
from fairlead.cli.demo.story import HOME_ZONE, MARKER, STEPS

STEP_1 = Done(
    1,
    "Read the alert",
    task="extract",
    model="sim-swift",
    endpoint="sim-south/sim-swift",
    zone="cloud",
    attempts=1,
    cost_nano_usd=1_500,
    flagship_nano_usd=90_000,
    latency_ms=12.34,
    why="good enough",
)
STEP_2 = Done(
    2,
    "Read a customer case",
    task="extract",
    model="sim-local",
    endpoint="sim-house/sim-local",
    zone="local",
    attempts=2,
    cost_nano_usd=0,
    flagship_nano_usd=60_000,
    latency_ms=1500.0,
    why="the only candidate left",
    failed=(("sim-house/sim-other", "transient"),),
    home="local",
)
FAILED = Done(3, "Write to customers", latency_ms=3.0, error="no endpoint")


def test_the_story_has_twenty_steps_with_names_of_their_own() -> None:
    assert len(STEPS) == len({step.name for step in STEPS}) == 20


def test_steps_build_only_on_earlier_ones() -> None:
    known = {"server_log"}
    for step in STEPS:
        assert set(Template(step.prompt).get_identifiers()) <= known, step.name
        assert not step.continues or step.continues in known
        known.add(step.name)


def test_the_marker_stands_in_the_step_that_stays_at_home_and_is_passed_on_to_none() -> None:
    marked = [step for step in STEPS if MARKER in step.prompt]

    assert [step.zone for step in marked] == [HOME_ZONE]
    assert not any(f"${marked[0].name}" in step.prompt for step in STEPS)
    assert [step for step in STEPS if step.zone] == marked


def test_both_sdks_are_used_streaming_and_not() -> None:
    kinds = {(step.sdk, step.stream) for step in STEPS}

    assert kinds == {(sdk, way) for sdk in ("openai", "anthropic") for way in (True, False)}


@pytest.mark.parametrize("characters", [1, 1_000, 200_000])
def test_the_log_is_as_long_as_asked_and_always_the_same(characters: int) -> None:
    log = server_log(characters)

    assert characters <= len(log) + 1 <= characters + 300
    assert log == server_log(characters)


def test_trouble_in_the_log_begins_with_the_release() -> None:
    before, release, after = server_log(200_000).partition("version 4.12.0 started")

    assert release
    assert "ERROR" not in before
    first = re.findall(r"ERROR (\S+)", after)
    assert first[0] == "tariff-cache"
    assert set(first) == {"tariff-cache", "booking-api", "label-printer"}


def test_totals_add_up() -> None:
    total = totals([STEP_1, STEP_2], left_zone=0)

    assert (total.steps, total.models_used, total.failovers, total.failed) == (2, 2, 1, 0)
    assert (total.cost_nano_usd, total.flagship_nano_usd) == (1_500, 150_000)


def test_what_is_unknown_makes_the_sum_unknown() -> None:
    total = totals([STEP_1, FAILED], left_zone=0)

    assert (total.failed, total.cost_nano_usd) == (1, None)


def test_json_has_what_machines_read() -> None:
    done = [STEP_1, STEP_2]

    told = as_json(done, totals(done, left_zone=0))

    assert told["steps"][0] == {
        "step": 1,
        "task": "extract",
        "model": "sim-swift",
        "endpoint": "sim-south/sim-swift",
        "zone": "cloud",
        "attempts": 1,
        "cost_usd": 0.0000015,
        "latency_ms": 12.3,
        "why": "good enough",
    }
    assert told["steps"][1]["why"].startswith("sim-house/sim-other failed (transient); ")
    assert told["totals"] == {
        "steps": 2,
        "models_used": 2,
        "failovers": 1,
        "cost_usd": 0.0000015,
        "flagship_only_cost_usd": 0.00015,
        "left_zone": 0,
    }


def picture_of(*done: Done, left_zone: int = 0) -> tuple[str, str]:
    """The picture, and the text in it."""
    picture, screen = recorder(), recorder()
    with Screen(screen, picture) as shown:
        for each in done:
            shown.began(each.step, STEPS[each.step - 1])
            shown.done(each)
        shown.closing(totals(done, left_zone), elapsed_s=1.0, speed=5.0)
    text = picture.export_text(clear=False)
    return export_svg(picture), text


def test_the_screen_shows_who_answered_and_why() -> None:
    _, text = picture_of(STEP_1, STEP_2)

    assert re.search(r"1 Read the alert +extract +sim-swift +sim-south +1 +\$0.000002 +12 ms", text)
    assert re.search(r"2 Read a customer case +extract +sim-local .* 2 +free +1.5 s", text)
    assert "must stay in zone local; sim-house/sim-other failed (transient)" in text
    assert "99% saved" in text
    assert "left its zone 0 times" in text


def test_the_screen_hides_no_failure() -> None:
    _, text = picture_of(STEP_1, FAILED, left_zone=2)

    assert "no endpoint" in text
    assert "1 step failed." in text
    assert "2 sensitive requests left their zone" in text


def test_the_picture_fetches_nothing() -> None:
    picture, _ = picture_of(STEP_1)

    assert not re.search(r"@import|@font-face|href|src=", picture)
    assert all(each.startswith("#") for each in re.findall(r"url\(([^)]*)\)", picture))
    assert re.findall(r"https?://[^\s\"]+", picture) == ["http://www.w3.org/2000/svg"]
