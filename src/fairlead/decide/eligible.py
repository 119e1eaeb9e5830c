"""Who can answer, and for everyone else the first thing that stands in the way.

Hard constraints only, each a small function in a table; what passes is ranked elsewhere. What only
time can heal (breakers, rate gates) is asked last, so that whoever fails there could have answered.
"""

from collections.abc import Callable, Iterable
from functools import cache

from msgspec import Struct

from fairlead.decide.classify import CHARS_PER_TOKEN
from fairlead.decide.cost import (
    affordable_output,
    expected_nano_usd,
    rates_on,
    usd,
    worst_nano_usd,
)
from fairlead.types.catalog import Endpoint, Model, Secret
from fairlead.types.chat import Foreign, Request
from fairlead.types.decision import Grant, Rejected, Task, View, Vitals

MARGIN_PERCENT = 5
"""Estimates of tokens are this much too low at worst, we assume."""
LEAST_ANSWER_TOKENS = 256
"""A budget that affords a shorter answer affords none."""
UNSTATED_MAX_OUTPUT = 32_768
"""Bound on an answer when neither the caller nor the catalogue states one."""

MOST_TOLD = 200
"""Characters of what cannot cross: a caller may make up the words, and every endpoint that is left
out repeats them."""
SLOWEST_TOKENS_PER_S = 0.1

MODALITIES = frozenset({"image", "audio", "video", "pdf"})
EMBEDDING_DIALECTS = frozenset({"openai_chat", "openai_embeddings"})
COUNTING_DIALECTS = frozenset({"anthropic_messages"})

HEALTHY = Vitals()


Checks = tuple[tuple[str, Callable[[Endpoint, "Question"], str | None]], ...]
Terms = tuple[tuple[str, Callable[["Offer", "Question"], str | None]], ...]


class Question(Struct, frozen=True):
    """What is asked of every endpoint, worked out once."""

    request: Request
    task: Task
    view: View
    capabilities: frozenset[str]
    modalities: frozenset[str]
    longest_tokens: int
    """What has to fit at once."""
    answer_tokens: int
    """Room the answer needs: what was asked for, else what is expected."""
    uncrossable: str
    """What of the request only its own dialect can carry; empty when all can cross."""
    fitness: Checks
    """Rules of FITNESS that this request can fail at: most requests ask for nothing special."""
    limits: Terms
    """Rules of LIMITS that a budget or the request sets."""


class Offer(Struct, frozen=True):
    """What one endpoint with one credential would take for it."""

    endpoint: Endpoint
    secret: Secret | None
    vitals: Vitals
    expected_nano_usd: int | None
    worst_nano_usd: int | None
    max_output_tokens: int | None
    """A cap to impose, because the budget affords no more."""
    expected_ms: float


class KeptBack(Struct, frozen=True):
    """An offer that nothing but our own caution stands in the way of."""

    offer: Offer
    why: Rejected


def eligible(
    request: Request, task: Task, endpoints: Iterable[Endpoint], grant: Grant, view: View
) -> tuple[list[Offer], list[Rejected], list[KeptBack]]:
    """Offers of the granted endpoints in catalogue order, one for each credential that works; who
    is left out; and those of these, again, that we keep back of our own accord."""
    question = _question(request, task, view)
    offers: list[Offer] = []
    rejected: list[Rejected] = []
    kept_back: list[KeptBack] = []
    for endpoint in endpoints:
        if endpoint.name not in grant.endpoints:
            continue
        refusal = _unfit(endpoint, question)
        if refusal is not None:
            rejected.append(refusal)
            continue
        for offer in _offers(endpoint, question):
            refusal = _unwilling(offer, question)
            if refusal is None:
                offers.append(offer)
                continue
            if refusal not in rejected:
                rejected.append(refusal)
            if _is_ours(refusal, offer, view):
                kept_back.append(KeptBack(offer, refusal))
    return offers, rejected, kept_back


def room_needed(request: Request, task: Task) -> int:
    """Tokens of context to ask of a model: what has to fit with its margin, and the answer."""
    asked = request.max_output_tokens
    answer = task.output_tokens if asked is None else asked
    return padded(_longest_tokens(request, task)) + answer


def padded(tokens: int) -> int:
    return tokens + tokens * MARGIN_PERCENT // 100


def _question(request: Request, task: Task, view: View) -> Question:
    asked, wishes = request.max_output_tokens, request.narrowing
    capabilities, modalities = task.needs - MODALITIES, task.needs & MODALITIES
    uncrossable = _uncrossable(request)
    return Question(
        request=request,
        task=task,
        view=view,
        capabilities=capabilities,
        modalities=modalities,
        longest_tokens=_longest_tokens(request, task),
        answer_tokens=task.output_tokens if asked is None else asked,
        uncrossable=uncrossable,
        fitness=_fitness(
            bool(uncrossable), bool(modalities), bool(capabilities), asked is not None
        ),
        limits=_limits(
            wishes.max_cost_nano_usd is not None,
            view.affordable_nano_usd is not None,
            wishes.max_latency_ms is not None,
        ),
    )


def _uncrossable(request: Request) -> str:
    foreign = {
        part.kind for message in request.messages for part in message.parts if type(part) is Foreign
    }
    kinds = ", ".join((*request.bound, *sorted(foreign)))
    return kinds if len(kinds) <= MOST_TOLD else f"{kinds[:MOST_TOLD]}..."


def _longest_tokens(request: Request, task: Task) -> int:
    """Texts to embed are read one at a time: only the longest has to fit."""
    if request.operation != "embed" or len(request.inputs) < 2:
        return task.input_tokens
    lengths = [len(text) for text in request.inputs]
    return task.input_tokens * max(lengths) // max(sum(lengths), 1) + 1


def _tokens_at(model: Model, tokens: int, view: View) -> int:
    """An estimate, corrected by what was learned of the model's own tokens."""
    learned = view.chars_per_token.get(model.name)
    return tokens if learned is None else int(tokens * CHARS_PER_TOKEN / learned) + 1


# What an endpoint is: these answers do not change while the catalogue stands.


def _operation(endpoint: Endpoint, question: Question) -> str | None:
    request, dialect = question.request, endpoint.dialect
    embeds = "embed" in endpoint.model.can
    if request.operation == "embed":
        return None if embeds and dialect in EMBEDDING_DIALECTS else "does not embed"
    if embeds or dialect == "openai_embeddings":
        return "only embeds"
    if request.operation == "count" and not (
        dialect == request.dialect and dialect in COUNTING_DIALECTS
    ):
        return "does not count tokens"
    return None


def _crossing(endpoint: Endpoint, question: Question) -> str | None:
    dialect, asked = endpoint.dialect, question.request.dialect
    if not question.uncrossable or dialect == asked:
        return None
    if question.request.operation == "embed" and asked in EMBEDDING_DIALECTS:
        return None
    return f"{question.uncrossable} cannot cross from {asked} to {dialect}"


def _modality(endpoint: Endpoint, question: Question) -> str | None:
    if question.modalities <= endpoint.model.accepts:
        return None
    return f"takes no {', '.join(sorted(question.modalities - endpoint.model.accepts))}"


def _capability(endpoint: Endpoint, question: Question) -> str | None:
    if question.capabilities <= endpoint.model.can:
        return None
    return f"has no {', '.join(sorted(question.capabilities - endpoint.model.can))}"


def _lifecycle(endpoint: Endpoint, question: Question) -> str | None:
    retires = endpoint.model.retires
    if not retires or question.view.today < retires:
        return None
    return f"{endpoint.model.name} was retired on {retires}"


def _context(endpoint: Endpoint, question: Question) -> str | None:
    context = endpoint.model.context_tokens
    if context is None or question.request.operation == "count":
        return None
    room = padded(_tokens_at(endpoint.model, question.longest_tokens, question.view))
    room += question.answer_tokens
    if room <= context:
        return None
    return f"holds {context:,} tokens, about {room:,} are needed"


def _output(endpoint: Endpoint, question: Question) -> str | None:
    most, asked = endpoint.model.max_output_tokens, question.request.max_output_tokens
    if most is None or asked is None or asked <= most:
        return None
    return f"answers at most {most:,} tokens, {asked:,} were asked for"


# What it would take now, with one of its credentials.


def _price(offer: Offer, question: Question) -> str | None:
    most = question.request.narrowing.max_cost_nano_usd
    if most is None or offer.expected_nano_usd is None or offer.expected_nano_usd <= most:
        return None
    return f"would cost {usd(offer.expected_nano_usd)} USD, at most {usd(most)} is wished"


def _price_unknown(offer: Offer, question: Question) -> str | None:
    if question.request.narrowing.max_cost_nano_usd is None:
        if question.view.affordable_nano_usd is None:
            return None
        return (
            "has no known price, and a budget needs one" if offer.worst_nano_usd is None else None
        )
    return "has no known price, and a limit needs one" if offer.expected_nano_usd is None else None


def _budget(offer: Offer, question: Question) -> str | None:
    left, worst = question.view.affordable_nano_usd, offer.worst_nano_usd
    if left is None or worst is None or worst <= left or worst == 0:
        return None
    return f"may cost {usd(worst)} USD, the budget has {usd(max(left, 0))} left"


def _latency(offer: Offer, question: Question) -> str | None:
    most = question.request.narrowing.max_latency_ms
    if most is None or offer.expected_ms <= most:
        return None
    return f"would take {offer.expected_ms:,.0f} ms, at most {most:,} are wished"


def _retired(offer: Offer, question: Question) -> str | None:
    return "its provider says that it is gone" if offer.vitals.retired else None


def _wait(offer: Offer, question: Question) -> str | None:
    wait_s = offer.vitals.asked_until_s - question.view.now_s
    return f"{_whose(offer)}asks to wait {wait_s:.1f} s" if wait_s > 0 else None


def _rate_limit(offer: Offer, question: Question) -> str | None:
    wait_s = offer.vitals.gate_until_s - question.view.now_s
    return f"{_whose(offer)}rate limit used up for {wait_s:.1f} s" if wait_s > 0 else None


def _health(offer: Offer, question: Question) -> str | None:
    return f"{_whose(offer)}breaker is open" if offer.vitals.state == "open" else None


def _whose(offer: Offer) -> str:
    return f"{offer.secret.id}: " if offer.secret else ""


FITNESS: Checks = (
    ("dialect", _operation),
    ("dialect", _crossing),
    ("modality", _modality),
    ("capability", _capability),
    ("lifecycle", _lifecycle),
    ("context", _context),
    ("output", _output),
)
LIMITS: Terms = (
    ("price", _price),
    ("price_unknown", _price_unknown),
    ("budget", _budget),
    ("latency", _latency),
)
HEALTH: Terms = (
    ("retired", _retired),
    ("rate_limit", _wait),
    ("rate_limit", _rate_limit),
    ("health", _health),
)
"""Rules in the order in which they are asked, by the word in ``Rejected.rule``."""
OURS = frozenset({"rate_limit", "health"})
"""Those by which we may keep back an offer whose provider has not said no."""


@cache
def _fitness(crossing: bool, modality: bool, capability: bool, output: bool) -> Checks:
    at_stake: dict[object, bool] = {
        _crossing: crossing,
        _modality: modality,
        _capability: capability,
        _output: output,
    }
    return tuple([row for row in FITNESS if at_stake.get(row[1], True)])


@cache
def _limits(cost: bool, budget: bool, latency: bool) -> Terms:
    at_stake: dict[object, bool] = {
        _price: cost,
        _price_unknown: cost or budget,
        _budget: budget,
        _latency: latency,
    }
    return tuple([row for row in LIMITS if at_stake[row[1]]])


def _unfit(endpoint: Endpoint, question: Question) -> Rejected | None:
    for rule, check in question.fitness:
        reason = check(endpoint, question)
        if reason is not None:
            return Rejected(endpoint.name, rule, reason)
    return None


def _unwilling(offer: Offer, question: Question) -> Rejected | None:
    # All that HEALTH asks, in one look: nearly every endpoint is well.
    vitals = offer.vitals
    well = vitals.state == "closed" and not vitals.retired
    well = well and vitals.gate_until_s <= question.view.now_s
    for rule, check in question.limits if well else question.limits + HEALTH:
        reason = check(offer, question)
        if reason is not None:
            return Rejected(offer.endpoint.name, rule, reason)
    return None


def _is_ours(refusal: Rejected, offer: Offer, view: View) -> bool:
    """Whether we only expect that it would fail: what asks it to wait is asked before."""
    return refusal.rule in OURS and offer.vitals.asked_until_s <= view.now_s


def _offers(endpoint: Endpoint, question: Question) -> list[Offer]:
    expected, worst, cap = _charges(endpoint.model, question)
    vitals_of = question.view.vitals
    offers = []
    for secret in endpoint.secrets or (None,):
        vitals = vitals_of.get((endpoint.name, secret.id if secret else ""), HEALTHY)
        first_ms, tokens_per_s = vitals.first_token_ms, vitals.tokens_per_s
        if first_ms is None:
            first_ms = endpoint.expected_first_token_ms
        if tokens_per_s is None:
            tokens_per_s = endpoint.expected_tokens_per_s
        answer_ms = 1_000 * question.task.output_tokens / max(tokens_per_s, SLOWEST_TOKENS_PER_S)
        offers.append(Offer(endpoint, secret, vitals, expected, worst, cap, first_ms + answer_ms))
    return offers


def _charges(model: Model, question: Question) -> tuple[int | None, int | None, int | None]:
    """Expected cost, worst cost, and the cap that the budget forces on the answer."""
    request, task, view = question.request, question.task, question.view
    if request.operation == "count":
        # Counting is free: https://docs.anthropic.com/en/docs/build-with-claude/token-counting
        return 0, 0, None
    tokens = task.input_tokens
    if view.chars_per_token:
        tokens = _tokens_at(model, tokens, view)
    most_input = padded(tokens)
    # Near the threshold of a tier the dearer one is assumed.
    rates = rates_on(model, view.today, most_input)
    answers = request.answers
    expected = expected_nano_usd(rates, tokens, task.output_tokens * answers)
    most_output = _most_output(model, question, most_input) * answers
    worst = worst_nano_usd(rates, most_input, most_output)
    left = view.affordable_nano_usd
    if rates is None or left is None or worst is None or worst <= left or worst == 0:
        return expected, worst, None
    if request.max_output_tokens is None and request.operation == "chat":
        cap = affordable_output(rates, most_input, left) // answers
        if cap >= LEAST_ANSWER_TOKENS:
            return expected, worst_nano_usd(rates, most_input, cap * answers), cap
        worst = worst_nano_usd(rates, most_input, LEAST_ANSWER_TOKENS * answers)
    return expected, worst, None


def _most_output(model: Model, question: Question, most_input: int) -> int:
    """The longest that one answer can be."""
    request = question.request
    if request.operation == "embed":
        return 0
    if request.max_output_tokens is not None:
        return request.max_output_tokens
    if model.max_output_tokens is not None:
        return model.max_output_tokens
    if model.context_tokens is not None:
        return max(model.context_tokens - most_input, 0)
    return UNSTATED_MAX_OUTPUT
