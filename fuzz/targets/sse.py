"""The splitter of server-sent events: any bytes, cut anywhere, give the same frames."""

from fairlead.dialects.sse import Frame, Frames
from fuzz.inputs import golden, made, pieces

SEEDS = [
    *golden("openai_chat", "stream_*/wire.sse"),
    *golden("anthropic_messages", "stream_*/wire.sse"),
    *made("sse"),
]

MAX_BYTES = 255
"""Every rule of the format fits, and the less there is, the more is tried."""


def check(data: bytes) -> None:
    whole, rest = _split([data])
    bytewise = [data[at : at + 1] for at in range(len(data))] if len(data) % 16 == 0 else []
    for cut in (pieces(data), bytewise):
        assert not cut or _split(cut) == (whole, rest), "cuts change frames"
    raws = b"".join(frame.raw for frame in whole)
    assert raws + rest == data, "a byte is lost, or one too many"
    for frame in whole:
        assert all(part in frame.raw for part in frame.data.split(b"\n")), "data from nowhere"


def _split(parts: list[bytes]) -> tuple[list[Frame], bytes]:
    frames = Frames()
    found = [frame for part in parts for frame in frames.feed(part)]
    return found + frames.close(), frames.rest
