"""What a source says of one model at one host, in terms of our own. Knows no source's format."""

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from fnmatch import fnmatchcase

from msgspec import Struct

from fairlead.types.catalog import Capability, Modality, Price, Rates

PICO_PER_USD = 10**12
TOKENS_PER_MTOK = 10**6

UNUSABLE = re.compile(
    r"""^ft: | ^(ada|babbage|curie|davinci|text-davinci|claude-v1|claude-2|claude-instant)
    | (^|[-/_.])(audio|realtime|live|tts|transcribe|whisper|voice|voxtral|orpheus|lyria|speech)\b
    | (^|[-/_.])(image|images|ocr|moderation|guard|safeguard|rerank|reranker|omni|nano-banana)\b
    | content-safety | deep-research | computer-use | search-preview | search-api | -instruct-0914
    | robotics | glimpse | gpt-3\.5-turbo-instruct | decider | prompt-guard
    | (^|/)flux | -base($|-) | llamaguard | relace- | (^|/)firerouter | palm-2
    | preset/ | :(thinking|extended)$ """,
    re.VERBOSE | re.IGNORECASE,
)
"""Names of what neither chats in text nor embeds it, or is sold by more than tokens."""


class Row(Struct, frozen=True):
    """None: the source does not say."""

    kind: str
    name: str
    source: str
    """Name and version, as a price tells it."""
    embeds: bool = False
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    can: frozenset[Capability] | None = None
    accepts: frozenset[Modality] | None = None
    dearer: frozenset[Modality] = frozenset()
    """What costs more a token than text does."""
    prices: tuple[Price, ...] = ()
    says_free: bool = False
    """It charges nothing, in so many words. Whether to believe that is decided elsewhere."""
    beyond_tokens: bool = False
    """Something besides tokens is charged for each request, so that tokens alone mislead."""
    retires: str = ""
    dated: bool = False
    """Its prices carry dates, so that somebody looked after them."""


Rows = Mapping[tuple[str, str], Row]
"""By kind and name."""


class Rounding:
    """Counts what is not a whole number of pico-dollars."""

    def __init__(self) -> None:
        self.count = 0

    def pico_per_token(self, usd: Decimal, tokens: int = 1) -> int:
        """Exact, but for what is finer than a pico-dollar a token: that is rounded up, so that an
        amount never comes out too small. Raises ValueError on what cannot be a price."""
        if not usd.is_finite() or usd < 0:
            raise ValueError(f"not a price: {usd}")
        pico = usd * PICO_PER_USD / tokens
        whole = int(pico.to_integral_value(ROUND_CEILING))
        self.count += whole != pico
        return whole


def number(row: Mapping[str, object], key: str) -> Decimal | None:
    value = row.get(key)
    return value if isinstance(value, Decimal) else None


def whole(row: Mapping[str, object], key: str) -> int | None:
    value = number(row, key)
    return int(value) if value else None


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def charges(rates: Rates) -> bool:
    """Whether it says what both directions cost."""
    return rates.input is not None and rates.output is not None
