"""What must hold for the decoder of any dialect, and for the encoders behind it."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from fairlead.dialects import DIALECTS
from fairlead.dialects.dialect import Decoder, Reply
from fairlead.types.chat import (
    End,
    Event,
    Passed,
    Request,
    TextDelta,
)
from fairlead.types.errors import UpstreamError
from fuzz.inputs import pieces

REPLY = Reply("r1", 1_790_000_000, "small-model")


def check_answer(dialect: str, request: Request, data: bytes, others: Iterable[Request]) -> None:
    """``data`` as the answer to ``request``, passed on to a caller of the same dialect, and
    translated for ``others``."""
    _check(dialect, request, data, relay=True)
    for other in others:
        _check(dialect, other, data, relay=False)


def _check(dialect: str, request: Request, data: bytes, relay: bool) -> None:
    events, wrong = _decoded(DIALECTS[dialect].decoder(request, relay), [data])
    again, wrong_again = _decoded(DIALECTS[dialect].decoder(request, relay), pieces(data))
    assert (wrong is None) == (wrong_again is None), "cuts change how it ends"
    if wrong is None:
        assert _merged(events) == _merged(again), "cuts change the answer"
    else:
        # What came in one piece with an error, before anything else, is not even begun.
        shorter, longer = sorted((_said(events), _said(again)), key=len)
        assert longer.startswith(shorter), "cuts change what was said before it broke"
    ends = [event for event in events if isinstance(event, End)]
    assert len(ends) == (wrong is None), "an answer ends once, or is broken"
    assert not ends or events[-1] is ends[0], "something follows the end"
    _encode(request, events, wrong)
    if relay:
        DIALECTS[dialect].said(b"".join(_bytes(event) for event in events))


def _decoded(decoder: Decoder, parts: Iterable[bytes]) -> tuple[list[Event], UpstreamError | None]:
    events: list[Event] = []
    try:
        for part in parts:
            events += decoder.feed(part)
        events += decoder.close()
    except UpstreamError as error:
        decoder.reported()
        return events, error
    decoder.reported()
    return events, None


def _bytes(event: Event) -> bytes:
    return event.data if isinstance(event, Passed | End) else b""


def _said(events: Sequence[Event]) -> bytes:
    return b"".join(
        event.text.encode() if isinstance(event, TextDelta) else _bytes(event) for event in events
    )


def _merged(events: Sequence[Event]) -> list[Event]:
    """Pieces of the same thing joined: where they were cut is no part of the answer."""
    merged: list[Event] = []
    for event in events:
        last = merged[-1] if merged else None
        if isinstance(event, Passed):
            if isinstance(last, Passed):
                merged[-1] = Passed(last.data + event.data, last.commits or event.commits)
            elif event.data:
                merged.append(event)
        elif isinstance(event, End) and isinstance(last, Passed):
            merged[-1] = replace(event, data=last.data + event.data)
        else:
            merged.append(event)
    return merged


def _encode(request: Request, events: Sequence[Event], wrong: UpstreamError | None) -> None:
    encoder = DIALECTS[request.dialect].encoder(request, REPLY)
    try:
        for event in events:
            encoder.encode(event)
    except UpstreamError as error:
        wrong = error
    if wrong is not None:
        encoder.error(wrong)
        DIALECTS[request.dialect].render_error(wrong, REPLY.id)
