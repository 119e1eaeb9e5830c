"""The demo's workflow as data: twenty steps of an incident response, and what goes wrong meanwhile.

``$name`` in a prompt is the answer of the step of that name. The company and its services are
invented, and so is all data about customers.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from fairlead.outside.simulated.faults import Fault

MARKER = "CASEREF7Q4K2XV9"
"""Stands in the sensitive step's prompt and nowhere else: who sees it has seen personal data."""
HOME_ZONE = "local"
WORKFLOW = "incident-4471"

Sdk = Literal["openai", "anthropic"]


class Twist(Struct, frozen=True):
    """Something that happens to a provider just before a step."""

    title: str
    """``$model`` stands for the model that it happens to."""
    fault: Fault | None
    """None: it is well again."""
    provider: str
    model: str = "*"
    follows: bool = False
    """It happens to the endpoint that answered the last step, if one did."""


class ToolSpec(Struct, frozen=True):
    name: str
    description: str
    schema: Mapping[str, Any]
    result: str
    """What the tool returns when it is called."""


class Step(Struct, frozen=True):
    name: str
    title: str
    sdk: Sdk
    prompt: str = ""
    model: str = "auto"
    stream: bool = False
    think: bool = False
    zone: str = ""
    """Where it must stay; empty means anywhere."""
    schema: Mapping[str, Any] | None = None
    tool: ToolSpec | None = None
    continues: str = ""
    """The step whose tool call this one goes on from, with the tool's result."""
    texts: tuple[str, ...] = ()
    """To embed, instead of a prompt."""
    before: Twist | None = None


def _object(**properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT, "minItems": 1}

ALERT = """\
INC-4471 opened 2026-11-03T14:02:11Z by synthetic check eu-2.
booking-api answers 503 to 32% of requests; p99 rose from 180 ms to 30 s.
First affected: booking-api, then label-printer. carrier-gateway looks normal.
tariff-cache 4.12.0 was released 2026-11-03T13:58:40Z. Contact: oncall@brinewood.example.com"""

TIMELINE_NOTES = """\
13:58 tariff-cache 4.12.0 released everywhere at once. 14:02 synthetic checks fail in eu-2.
14:05 booking-api threads all wait for tariff-cache. 14:09 label-printer stops, queue grows.
14:14 restart of booking-api helps for two minutes. 14:21 pool size found lowered from 64 to 6."""

METRICS = ToolSpec(
    name="query_metrics",
    description="Read one metric of one service over the last hour.",
    schema=_object(service=TEXT, metric={"enum": ["pool_in_use", "error_rate", "queue_depth"]}),
    result=(
        "tariff-cache pool_in_use 6 of 6 since 13:58; before that 22 of 64.\n"
        "booking-api waits on average 29.4 s for a connection."
    ),
)

TIMELINE_SCHEMA = _object(
    incident_id={"type": "string", "pattern": r"^INC-\d+$"},
    started_at={"type": "string", "format": "date-time"},
    services=TEXTS,
    severity={"enum": ["sev1", "sev2", "sev3", "sev4"]},
)
POSTMORTEM_SCHEMA = _object(
    incident_id={"type": "string", "pattern": r"^INC-\d+$"},
    root_cause=TEXT,
    services=TEXTS,
    duration_minutes={"type": "integer", "minimum": 1, "maximum": 180},
    customer_impact=TEXT,
    actions={"type": "array", "items": _object(owner=TEXT, what=TEXT), "minItems": 2},
)

TICKET = f"""\
Case {MARKER}, customer 4711, parcel ORD-88213, delivery address 1 Example Street, Sampletown.
Phone 555-0100, mail customer4711@example.com. Was charged EUR 48.20 twice on 2026-11-03 and
asks for the second charge back. Date of birth on file 1970-01-01."""

NORTH_DOWN = Twist("sim-north goes down", Fault("down"), "sim-north")
NORTH_BACK = Twist("sim-north is back", None, "sim-north")
RETIRED = Twist("$model is retired", Fault("retired"), "sim-south", "sim-swift", follows=True)

STEPS = (
    Step(
        "alert",
        "Read the alert",
        "openai",
        "Extract the incident id, the services, the timestamps and the contact from this alert "
        f"as JSON.\n\n{ALERT}",
    ),
    Step(
        "severity",
        "Grade it",
        "openai",
        f"Classify the severity of this incident as one of: sev1, sev2, sev3, sev4.\n\n{ALERT}",
    ),
    Step(
        "log",
        "Sum up the log",
        "anthropic",
        "Summarise this log: which errors, since when, and which came first?\n\n$server_log",
        stream=True,
    ),
    Step(
        "timeline",
        "Sort the notes",
        "openai",
        f"Extract the timeline's key fields from the notes on INC-4471.\n\n{ALERT}\n"
        f"{TIMELINE_NOTES}",
        schema=TIMELINE_SCHEMA,
    ),
    Step(
        "cause",
        "Find the cause",
        "anthropic",
        "Reason step by step: what is the root cause that explains all of these observations, and "
        f"which evidence would contradict it?\n\n{TIMELINE_NOTES}\n\n$log",
        think=True,
        stream=True,
    ),
    Step(
        "ask_metrics",
        "Ask for a metric",
        "openai",
        "Call query_metrics to check whether the pool of tariff-cache is used up.",
        tool=METRICS,
    ),
    Step(
        "metrics",
        "Read the metric",
        "openai",
        "Does this confirm it?",
        tool=METRICS,
        continues="ask_metrics",
    ),
    Step(
        "rollback",
        "Plan the rollback",
        "anthropic",
        "Plan the rollback of tariff-cache 4.12.0: ordered steps, each with an owner, a check and "
        f"a way back. Trade-offs must be stated.\n\n{TIMELINE_NOTES}\n\n$cause",
        stream=True,
    ),
    Step(
        "status_page",
        "Translate the notice",
        "openai",
        "Translate this status page notice into German.\n\nSome bookings at Brinewood Freight "
        "fail at the moment. Parcels under way are not affected. We are taking back a change.",
        stream=True,
    ),
    Step(
        "ticket",
        "Read a customer case",
        "openai",
        "Extract what is needed for the refund from this customer's case: amount, date, parcel "
        f"and contact.\n\n{TICKET}",
        zone=HOME_ZONE,
    ),
    Step(
        "safe",
        "Is it safe to go on?",
        "anthropic",
        "Reason step by step about whether the rollback can go on while orders queue up: weigh the "
        "trade-offs of delay against duplicates, and prove that no parcel can be charged twice."
        f"\n\n{TIMELINE_NOTES}\n\n$rollback",
        think=True,
        before=NORTH_DOWN,
    ),
    Step(
        "guard",
        "Write a guard",
        "openai",
        "Write a Python function `pool_exhaustion` that computes the share of requests which "
        "waited for a connection in a sliding window. It must be exact at the window's edges and "
        "run in linear time.\n\nIt guards the next release of tariff-cache.",
        stream=True,
    ),
    Step(
        "review",
        "Review the guard",
        "anthropic",
        "Review this code for bugs and edge cases before it guards a release.\n\n$guard",
    ),
    Step(
        "similar",
        "Find like incidents",
        "openai",
        texts=(
            "booking-api waits for connections of tariff-cache after a release",
            "carrier-gateway rejects certificates after they expired",
            "connections of tariff-cache run out when booking-api retries",
            "label-printer prints twice after a restart",
        ),
    ),
    Step(
        "tone",
        "Sort the tickets",
        "openai",
        "Classify this ticket as one of: refund, delay, complaint, question.\n\n"
        "My parcel shows a delay of two days since the outage. When does the delay end?",
        before=NORTH_BACK,
    ),
    Step(
        "tone_again",
        "Sort one more",
        "openai",
        "Classify this ticket as one of: refund, delay, complaint, question.\n\n"
        "The label was printed but the pickup did not come; I would like a refund.",
        before=RETIRED,
    ),
    Step(
        "credit",
        "Work out the credit",
        "openai",
        "Calculate the service credit: 1730 bookings failed, 4.20 each. What is 1730 * 4.20?",
    ),
    Step(
        "mail",
        "Write to customers",
        "anthropic",
        "Draft a friendly e-mail to the customers of Brinewood Freight about the incident.\n\n"
        "Bookings failed between 14:02 and 14:41. No booking was charged without a label. "
        "A credit is on its way without a request.",
        stream=True,
    ),
    Step(
        "postmortem",
        "Fill in the review",
        "openai",
        "Extract the fields of the post-mortem of INC-4471 from the timeline and the cause."
        f"\n\n{ALERT}\n{TIMELINE_NOTES}\n\n$cause",
        schema=POSTMORTEM_SCHEMA,
    ),
    Step(
        "lessons",
        "Plan what follows",
        "anthropic",
        "Plan the follow-up for the quarter: which three changes make this class of incident "
        "impossible, in which order, and why? Weigh the trade-offs step by step."
        "\n\n$cause\n\n$rollback",
        think=True,
    ),
)
