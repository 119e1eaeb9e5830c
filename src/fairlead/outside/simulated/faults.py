"""What a simulated provider can be told to do wrong, and what its error looks like on the wire."""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

FaultKind = Literal[
    "down",
    "slow",
    "rate_limited",
    "cut",
    "retired",
    "overloaded",
    "malformed",
    "silent",
]


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """``down``: the connection is reset before any answer. ``slow``: every delay times ``factor``.
    ``cut``: the connection breaks in the middle of the answer. ``malformed``: status 200 and
    something that is no answer. ``silent``: accepts and never answers."""

    kind: FaultKind
    times: int | None = None
    """How many requests it strikes; None is all, until cleared."""
    factor: float = 10.0
    retry_after_s: int = 2


class WireError(Struct, frozen=True):
    """How vendors tell this failure."""

    status: int
    openai_type: str
    openai_code: str | None
    anthropic_type: str
    message: str
    anthropic_status: int | None = None
    """Where it differs."""

    def status_for(self, anthropic: bool) -> int:
        return self.anthropic_status or self.status if anthropic else self.status


# Types and codes as the vendors publish them: platform.openai.com/docs/guides/error-codes and
# docs.anthropic.com/en/api/errors (529 is Anthropic's own status for an overload).
WIRE_ERRORS: dict[str, WireError] = {
    "rate_limited": WireError(
        429, "requests", "rate_limit_exceeded", "rate_limit_error", "Rate limit reached for {model}"
    ),
    "overloaded": WireError(
        503, "server_error", "overloaded", "overloaded_error", "{model} is overloaded", 529
    ),
    "retired": WireError(
        404,
        "invalid_request_error",
        "model_not_found",
        "not_found_error",
        "The model {model} is no longer available",
    ),
    "unknown_model": WireError(
        404,
        "invalid_request_error",
        "model_not_found",
        "not_found_error",
        "The model {model} does not exist",
    ),
    "context": WireError(
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "invalid_request_error",
        "prompt is too long: {tokens} tokens > {limit} maximum",
    ),
    "bad_request": WireError(
        400, "invalid_request_error", None, "invalid_request_error", "{detail}"
    ),
    "no_such_path": WireError(
        404, "invalid_request_error", None, "not_found_error", "Nothing is served at {path}"
    ),
    "too_large": WireError(
        413, "invalid_request_error", None, "request_too_large", "Request body is too large"
    ),
}


class Faults:
    """The faults in force at one provider, by model; ``*`` strikes every model."""

    def __init__(self) -> None:
        self._by_model: dict[str, Fault] = {}

    def set(self, model: str, fault: Fault) -> None:
        self._by_model[model] = fault

    def clear(self, model: str = "*") -> None:
        """``*`` clears all of them."""
        if model == "*":
            self._by_model.clear()
        else:
            self._by_model.pop(model, None)

    def retired(self, model: str) -> bool:
        fault = self._by_model.get(model)
        return fault is not None and fault.kind == "retired"

    def strike(self, model: str) -> Fault | None:
        """The fault that befalls this request, counted down."""
        name = model if model in self._by_model else "*"
        fault = self._by_model.get(name)
        if fault is None or fault.times is None:
            return fault
        if fault.times > 1:
            self._by_model[name] = replace(fault, times=fault.times - 1)
        else:
            del self._by_model[name]
        return fault if fault.times > 0 else None
