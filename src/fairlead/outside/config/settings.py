"""What a configuration file says, as frozen values: sound in itself, not yet held against what
exists. Holds credentials by reference only."""

import ipaddress
import os.path

from msgspec import Struct, field

from fairlead.outside.config.problems import NOWHERE, Place, Source
from fairlead.types.catalog import Capability, Modality, Rates, Route, Secret, Shift, Timeouts


def default_data() -> str:
    return os.path.expanduser("~/.local/share/fairlead")


class ProviderSettings(Struct, frozen=True):
    """All defaults filled in."""

    name: str
    kind: str = ""
    """A name in KINDS, or empty for a provider that none of them describes."""
    address: str = ""
    dialect: str = "openai_chat"
    signer: str = "none"
    secrets: tuple[Secret, ...] = ()
    zone: str = "cloud"
    timeouts: Timeouts = Timeouts()
    first_token_ms: float = 800.0
    tokens_per_s: float = 60.0
    place: Place = NOWHERE
    secret_places: tuple[Place, ...] = ()
    """One for each of ``secrets``; the provider's own for a credential that goes without saying."""


class ModelSettings(Struct, frozen=True):
    """One model at one provider. None: as the catalogue has it."""

    name: str
    at: str
    upstream_model: str = ""
    """Empty: the same as ``name``."""
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    rates: Rates | None = None
    strength: float | None = None
    accepts: frozenset[Modality] | None = None
    gains: frozenset[Capability] = frozenset()
    loses: frozenset[Capability] = frozenset()
    retires: str | None = None
    successor: str | None = None
    shift: Shift | None = None
    place: Place = NOWHERE


class Listen(Struct, frozen=True):
    host: str = "127.0.0.1"
    port: int = 4600

    @property
    def written(self) -> str:
        """As it stands in a URL (RFC 3986 section 3.2.2)."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class LimitSettings(Struct, frozen=True):
    """None: as the listener has it."""

    header_timeout_s: float | None = None
    body_idle_s: float | None = None
    keep_alive_s: float | None = None
    write_idle_s: float | None = None
    max_connections: int | None = None
    max_in_flight: int | None = None
    max_answer_bytes: int | None = None
    max_bodies_bytes: int | None = None
    max_wait_s: float | None = None


class ServerSettings(Struct, frozen=True):
    listen: Listen = Listen()
    data: str = field(default_factory=default_data)
    """Folder of the ledger and the journal, ``~`` expanded."""
    keep_ms: int = 90 * 86_400_000
    """How long a request stays on record."""
    baseline: str = ""
    log: str = "stderr"
    """``stderr``, ``stdout``, ``none``, or a file."""
    max_body_bytes: int = 32 << 20
    limits: LimitSettings = LimitSettings()
    drain_s: float = 120.0
    """What runs may take so long to finish once we are told to stop: answers last minutes."""
    drain_delay_s: float = 0.0
    """So long we go on listening then, for a load balancer to notice."""
    discover: bool = True


class Use(Struct, frozen=True):
    """A name that must exist elsewhere, and where it was written."""

    of: str
    """``provider``, ``model`` or ``zone``."""
    name: str
    place: Place


class Settings(Struct, frozen=True):
    providers: tuple[ProviderSettings, ...] = ()
    models: tuple[ModelSettings, ...] = ()
    routes: tuple[Route, ...] = ()
    server: ServerSettings = ServerSettings()
    absent: tuple[str, ...] = ()
    """Providers kept out because none of their credentials is there."""
    warnings: tuple[str, ...] = ()
    """What deserves attention and stops nothing; one line each."""
    uses: tuple[Use, ...] = ()
    source: Source = Source("fairlead.yaml")
