"""The endpoints of the simulated world, at the seam ``outside.upstream.Upstream``.

Each has moods that change with time; a mood says how likely it is that an exchange goes wrong, and
how. What an endpoint did is kept as the truth that the gateway's books are held against.
"""

import asyncio
from collections.abc import Callable, Mapping

from msgspec import Struct, field
from multidict import CIMultiDict

from fairlead.types.catalog import Endpoint, Timeouts
from fairlead.types.errors import Failure, UpstreamError
from prove.simulation import answers
from prove.simulation.answers import Said
from prove.simulation.chance import Chance
from prove.simulation.headroom import Headroom

FOREVER_S = 1e9

# Name, then status, code and headers of an answer that is none.
REFUSALS: Mapping[str, tuple[int, str, Mapping[str, str]]] = {
    "429": (429, "rate_limit_exceeded", {}),
    "429, 1 s": (429, "rate_limit_exceeded", {"retry-after": "1"}),
    "429, 20 s": (429, "rate_limit_exceeded", {"retry-after": "20"}),
    "quota": (429, "insufficient_quota", {}),
    "500": (500, "server_error", {}),
    "502": (502, "", {}),
    "503": (503, "", {"retry-after": "2"}),
    "529": (529, "overloaded_error", {}),
    "401": (401, "invalid_api_key", {}),
    "404": (404, "", {}),
    "410": (410, "model_decommissioned", {}),
    "400": (400, "invalid_request_error", {}),
    "context": (400, "context_length_exceeded", {}),
    "filter": (400, "content_filter", {}),
}
BREAKS = ("refused", "unreachable", "reset", "silent", "mute", "stall", "cut", "eof")
ODD = (
    "html",
    "empty",
    "error in 200",
    "error event",
    "no usage",
    "lie",
    "slow",
    "pings",
    "other words",
)

MOODS: Mapping[str, tuple[float, tuple[str, ...]]] = {
    "well": (0.0, ("ok",)),
    "flaky": (0.4, (*BREAKS, *ODD, "500", "503", "429", "429, 1 s")),
    "down": (1.0, ("refused", "unreachable", "reset", "503", "500")),
    "silent": (1.0, ("silent", "mute", "stall")),
    "cutting": (0.7, ("cut", "eof", "stall", "error event", "reset", "other words")),
    "full": (0.9, ("429", "429, 1 s", "429, 20 s", "529")),
    "empty": (1.0, ("quota", "401")),
    "gone": (1.0, ("404", "410")),
    "picky": (0.5, ("400", "context", "filter")),
    "odd": (0.6, ODD),
    "crowded": (0.5, ("slow", "503", "529")),
}
"""How likely something goes wrong, and what."""


class Exchange(Struct):
    """What really happened between the gateway and an endpoint."""

    request: int
    endpoint: str
    credential: str
    how: str
    began_s: float
    said: Said | None = None
    """What is charged for, once all of it was taken."""
    taken: bool = False
    """The gateway has read the answer to its end."""
    prefix: str = ""
    """The beginning that it was given to go on from."""
    told: bool = False
    """The gateway has had the head of the answer."""
    open: bool = False
    dry_s: float | None = None
    """So long, the answer's head says, a limit has nothing left."""


class Vendor(Struct):
    """One endpoint with its moods."""

    endpoint: Endpoint
    moods: list[tuple[float, str]]
    """Until when, and which; after the last it is well."""
    first_s: float
    piece_s: float
    exchanges: list[Exchange] = field(default_factory=list)

    def mood(self, now_s: float) -> str:
        return next((mood for until_s, mood in self.moods if now_s < until_s), "well")


Began = Callable[[Exchange], None]


class Vendors:
    """All endpoints, found by the start of the address."""

    headroom: Headroom | None = None
    """Where they tell how much is left of their limits."""

    def __init__(self, vendors: list[Vendor], chance: Chance, request: Callable[[], int]) -> None:
        self.by_url = {vendor.endpoint.base_url: vendor for vendor in vendors}
        self._chance = chance
        self._request = request
        self.began: Began = lambda exchange: None
        """Told of each exchange before anything of it happens."""
        self.announced: Began = lambda exchange: None
        """Told when the gateway gets to know what is left."""

    @property
    def open(self) -> list[Exchange]:
        return [one for each in self.by_url.values() for one in each.exchanges if one.open]

    def forget_connections(self) -> None:
        """The gateway died."""
        for exchange in self.open:
            exchange.open = False

    def send(
        self, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts
    ) -> "Sending":
        vendor = self.by_url["/".join(url.split("/", 4)[:4])]
        worry, ways = MOODS[vendor.mood(asyncio.get_running_loop().time())]
        how = self._chance.one_of(ways) if self._chance.happens(worry) else "ok"
        credential = headers.get("authorization", "") or headers.get("x-api-key", "")
        exchange = Exchange(
            self._request(),
            vendor.endpoint.name,
            credential.rpartition(" ")[2],
            how,
            asyncio.get_running_loop().time(),
        )
        vendor.exchanges.append(exchange)
        return Sending(vendor, exchange, body, timeouts, self._chance, self)


class Sending:
    """One exchange, as the gateway enters, reads and leaves it."""

    def __init__(
        self,
        vendor: Vendor,
        exchange: Exchange,
        body: bytes,
        timeouts: Timeouts,
        chance: Chance,
        all_: Vendors,
    ) -> None:
        self._vendor, self._exchange, self._body = vendor, exchange, body
        self._connect_s, self._chance, self._all = timeouts.connect_s, chance, all_
        self.status = 200
        self.headers: CIMultiDict[str] = CIMultiDict()
        self._parts: list[tuple[float, bytes]] = []
        """What is still to come: when, and what."""
        self._end: UpstreamError | None = None

    async def __aenter__(self) -> "Sending":
        exchange, chance = self._exchange, self._chance
        exchange.open = True
        self._all.began(exchange)
        try:
            how = exchange.how
            if how == "unreachable":
                await asyncio.sleep(self._connect_s)
                raise UpstreamError(Failure.CONNECT, "no connection in time")
            await asyncio.sleep(chance.random() * 0.05)
            if how == "refused":
                raise UpstreamError(Failure.CONNECT, "no connection could be made")
            if how == "reset":
                await asyncio.sleep(chance.random() * self._vendor.first_s)
                raise UpstreamError(Failure.TRANSIENT, "the connection broke off")
            if how == "silent":
                await asyncio.sleep(FOREVER_S)
            self._answer(asyncio.get_running_loop().time())
            if self._all.headroom is not None:
                self._all.headroom.tell(exchange, self.headers, self._vendor.endpoint.dialect)
            exchange.told = True
            if exchange.dry_s is not None:
                self._all.announced(exchange)
        except BaseException:
            exchange.open = False
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._exchange.open = False

    async def chunk(self) -> bytes | None:
        """All that has come by now, as a socket's buffer would give it."""
        loop = asyncio.get_running_loop()
        if self._parts and self._parts[0][0] > loop.time():
            await asyncio.sleep(self._parts[0][0] - loop.time())
        data = b""
        while self._parts and self._parts[0][0] <= loop.time() + 1e-6:
            data += self._parts.pop(0)[1]
        if data:
            return data
        if self._end is not None:
            raise self._end
        self._exchange.taken = True
        return None

    async def read(self, limit: int, take: object = None) -> bytes:
        body = b""
        while (data := await self.chunk()) is not None:
            body += data
        return body

    def _answer(self, now_s: float) -> None:
        """Decide all that is to come, and when."""
        exchange, vendor, chance, how = (
            self._exchange,
            self._vendor,
            self._chance,
            self._exchange.how,
        )
        dialect = vendor.endpoint.dialect
        question = answers.read(self._body)
        due_s = now_s + vendor.first_s * chance.between(0.5, 1.5)
        if how in REFUSALS:
            self.status, code, headers = REFUSALS[how]
            self.headers = CIMultiDict(headers)
            self._parts = [(now_s + chance.random() * 0.1, answers.error_body(dialect, code))]
            return
        if how in ("html", "empty", "error in 200"):
            body = {"html": b"<html>no</html>", "empty": b""}.get(how)
            body = answers.error_body(dialect, "server_error") if body is None else body
            self._parts = [(due_s, body)]
            return
        exchange.said = said = answers.say(question, 5 if how == "lie" else 1, how == "other words")
        exchange.prefix = question.prefix
        usage = how != "no usage"
        if question.stream:
            frames = answers.FRAMES[dialect](
                said, usage and (dialect == answers.ANTHROPIC or question.usage_wanted)
            )
        else:
            frames = _sliced(answers.WHOLE[dialect](said, usage), chance)
        if how == "pings" and question.stream:
            due_s = self._ping(due_s)
        self._parts = self._paced(frames, due_s)
        if how in ("mute", "stall", "cut", "eof", "error event"):
            self._break(how, dialect, chance)

    def _ping(self, due_s: float) -> float:
        """Pings are no sign of life: with more of them than it has time, it is late."""
        ping = answers.PING[self._vendor.endpoint.dialect]
        self._parts = [(due_s + number, ping) for number in range(3)]
        return due_s + 3

    def _paced(self, frames: list[bytes], due_s: float) -> list[tuple[float, bytes]]:
        piece_s = self._vendor.piece_s * (8 if self._exchange.how == "slow" else 1)
        parts = list(self._parts)
        for frame in frames:
            if len(frame) > 9 and self._chance.happens(0.1):
                cut = self._chance.whole(1, len(frame) - 1)
                parts.append((due_s, frame[:cut]))
                due_s += self._chance.random() * piece_s
                frame = frame[cut:]
            parts.append((due_s, frame))
            due_s += self._chance.random() * piece_s
        return parts

    def _break(self, how: str, dialect: str, chance: Chance) -> None:
        kept = 0 if how == "mute" else chance.whole(0, len(self._parts) - 1)
        at_s = self._parts[kept][0]
        self._parts = self._parts[:kept]
        if how in ("mute", "stall"):
            self._parts.append((FOREVER_S, b""))
        elif how == "cut":
            self._end = UpstreamError(Failure.STREAM_BROKEN, "the connection broke off")
        elif how == "error event":
            while self._parts and not self._parts[-1][1].endswith(b"\n\n"):
                self._parts.pop()
            self._parts.append((at_s, answers.error_frame(dialect, "server_error")))


def _sliced(body: bytes, chance: Chance) -> list[bytes]:
    cut = chance.whole(1, len(body) - 1)
    return [body[:cut], body[cut:]]
