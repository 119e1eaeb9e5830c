"""Server-sent events, sans-IO: bytes in, whole frames out. Knows no dialect.

Theory of operation, for every stream decoder in this folder:

1. *Bytes, never text.* A frame ends at a blank line, and CR and LF never occur inside a UTF-8
   sequence. So a character cut in two by the network needs no care: nothing is decoded before its
   frame is whole.
2. *The same bytes give the same frames, however they were cut.* What is not yet a whole frame
   waits in one buffer. A line may end in LF, CRLF or CR (WHATWG HTML, 9.2.6); when the last byte
   is a CR that would end a frame, it waits too, because the next byte may be its LF.
3. *Every byte belongs to a frame.* ``raw`` holds a frame as it came, blank line included, so that
   a relay forwards what it did not understand: comments, unknown fields, odd spacing.
4. *A frame is dispatched whole or not at all.* What is left when the endpoint closes was cut. It
   is never dispatched; ``rest`` shows it, for the error message.
5. *Memory is bounded.* A frame that outgrows the cap breaks the stream.
6. *The end is positive.* This file does not know how an answer ends; the decoders above it do.
   Each waits for the terminal of its own dialect (a finish reason, ``message_stop``), and turns a
   close without one into STREAM_BROKEN. Nobody invents the end of an answer.
7. *Common frames are cheap.* Nearly every chunk of every vendor is some frames of one ``data:``
   line, with or without an ``event:`` line before it, parted by two LFs. One ``split`` finds them;
   the line parser sees only the rest.
"""

import re

from msgspec import Struct

from fairlead.types.errors import Failure, UpstreamError

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""The largest honest frames repeat a whole answer with its images in base64: the Responses
dialect's last event after a few generated pictures has some 8 MB. Twice that."""

BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")
"""The end of a frame. Atomic, so that the CRLF of one line is not taken for two."""

LONGEST_BLANK_LINE = 4
BOM = b"\xef\xbb\xbf"


class Frame(Struct, frozen=True, gc=False):
    """One event. Without a ``data:`` line, as in a comment, ``data`` is empty."""

    event: bytes
    data: bytes
    raw: bytes
    """The exact bytes, blank line included."""


class Frames:
    """A splitter for one stream."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that ``data`` completes. Raises UpstreamError (STREAM_BROKEN)."""
        buffer = self._buffer
        if buffer:
            searched = max(0, len(buffer) - LONGEST_BLANK_LINE)
            buffer += data
            if BLANK_LINE.search(buffer, searched) is None:
                self._check(len(buffer))
                return []
            data = bytes(buffer)
            buffer.clear()
        frames, rest = _split_any(data) if b"\r" in data else _split_lf(data)
        if len(data) > self._max_frame_bytes:
            self._check(max(len(rest), *(len(frame.raw) for frame in frames), 0))
        if rest:
            buffer += rest
        return frames

    def close(self) -> list[Frame]:
        """Return the frame that waited for a last LF, if any. An unfinished one stays unsaid."""
        data = bytes(self._buffer)
        if BLANK_LINE.search(data) is None:
            return []
        self._buffer.clear()
        return [_parse(data)]

    @property
    def pending(self) -> bool:
        """Whether an unfinished frame is left."""
        return bool(self._buffer.strip())

    @property
    def rest(self) -> bytes:
        """The unfinished frame."""
        return bytes(self._buffer)

    def _check(self, size: int) -> None:
        if size > self._max_frame_bytes:
            raise UpstreamError(
                Failure.STREAM_BROKEN,
                f"The endpoint sent a stream event larger than {self._max_frame_bytes} bytes.",
            )


def _split_lf(data: bytes) -> tuple[list[Frame], bytes]:
    """Split bytes without a CR into frames and the unfinished rest."""
    if data.endswith(b"\n\n") and data.find(b"\n\n") == len(data) - 2:
        return [_frame(data)], b""
    blocks = data.split(b"\n\n")
    rest = blocks.pop()
    return [_frame(block + b"\n\n") for block in blocks], rest


def _split_any(data: bytes) -> tuple[list[Frame], bytes]:
    frames = []
    start = 0
    for match in BLANK_LINE.finditer(data):
        end = match.end()
        if end == len(data) and data.endswith(b"\r"):
            break
        frames.append(_parse(data[start:end]))
        start = end
    return frames, data[start:]


def _frame(raw: bytes) -> Frame:
    """A frame without a CR: the two common forms by their looks."""
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2:
        return Frame(b"", raw[6:-2], raw)
    if raw.startswith(b"event: ") and raw.count(b"\n") == 3:
        name, found, data = raw.partition(b"\ndata: ")
        if found:
            return Frame(name[7:], data[:-2], raw)
    return _parse(raw)


def _parse(raw: bytes) -> Frame:
    """Any frame, line by line. Lenient in one thing: a BOM is dropped before any frame."""
    event = b""
    data = []
    for line in raw.removeprefix(BOM).splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            event = value.removeprefix(b" ")
    return Frame(event, b"\n".join(data), raw)
