"""An endpoint's error: status, headers and body of any kind become one failure, with a delay that
is none or between nothing and an hour, and a message that is short and shows no key.

The first line is the headers' value, the second ``date``, the rest is the body.
"""

from fairlead.dialects import DIALECTS
from fairlead.dialects.failures import MAX_MESSAGE, MAX_RETRY_AFTER_S, presentable, retry_after_s
from fairlead.types.errors import UpstreamError
from fuzz.inputs import made

SEEDS = made("failures")
STATUSES = (100, 200, 302, 400, 401, 404, 408, 413, 429, 498, 500, 503, 529, 999)
MAX_BYTES = 1024


def check(data: bytes) -> None:
    value, _, rest = data.partition(b"\n")
    date, _, body = rest.partition(b"\n")
    said, when = value.decode("latin-1"), date.decode("latin-1")
    status = STATUSES[len(data) % len(STATUSES)]
    for name in ("retry-after", "retry-after-ms", "x-ms-retry-after-ms"):
        _delay(retry_after_s({name: said, "date": when}, body.decode(errors="replace")))
    headers = {"retry-after": said, "date": when, "x-amzn-errortype": said}
    for dialect in DIALECTS.values():
        error = dialect.parse_error(status, headers, body)
        assert isinstance(error, UpstreamError)
        assert len(error.message) <= MAX_MESSAGE + 100, "a message is short"
        _delay(error.retry_after_s)
        dialect.render_error(error, "r1")
    text = body.decode(errors="replace")
    assert presentable(presentable(text)) == presentable(text) or len(text) > MAX_MESSAGE


def _delay(delay_s: float | None) -> None:
    assert delay_s is None or 0 <= delay_s <= MAX_RETRY_AFTER_S, "a delay out of all bounds"
