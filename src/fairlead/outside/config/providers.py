"""A provider's entry, with all that goes without saying filled in from its kind."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from fairlead.outside.config.kinds import KINDS, SIGNER_OF, Kind, is_private, runs, zone_of
from fairlead.outside.config.problems import NOWHERE, Mistake, Place, Source, did_you_mean, quoted
from fairlead.outside.config.read import Fields, Leaf, Node
from fairlead.outside.config.schema import PROVIDER, Expect
from fairlead.outside.config.settings import ProviderSettings, Settings
from fairlead.outside.config.shapes import Reading, known_fields
from fairlead.outside.config.values import Secrets
from fairlead.types.catalog import Secret, Timeouts

UNKNOWN_KIND = Kind(signer="none")


class StatedProvider(Struct, frozen=True):
    """What stands in the file. Empty is not stated."""

    kind: str = ""
    address: str = ""
    api_key: Secrets = ()
    dialect: str = ""
    signer: str = ""
    zone: str = ""
    timeouts: Timeouts = Timeouts()
    expect: Expect = Expect()


def default_settings(env: Mapping[str, str]) -> Settings:
    """Without a file: every hosted provider whose usual variable is set."""
    return Settings(
        providers=tuple(
            filled(name, StatedProvider())
            for name, kind in KINDS.items()
            if kind.env and env.get(kind.env, "").strip()
        ),
        source=Source("the environment"),
    )


def provider(named: Leaf, node: Node, reading: Reading) -> ProviderSettings:
    if isinstance(node, Leaf) and not node.null:
        reading.hide(node)
        raise Mistake("expected a map", "such as {api_key: {env: NAME}}", node.place)
    stated = msgspec.convert(known_fields(node, PROVIDER, reading), StatedProvider)
    settings = filled(named.text, stated, named.place)
    written = {key.text for key, _ in node.fields} if isinstance(node, Fields) else set()
    for mistake in mistakes(settings, written):
        mistake.place = named.place
        reading.mistakes.append(mistake)
    if goes_in_the_clear(settings):
        warning = f"the credential of {quoted(settings.name)} crosses the network in the clear"
        reading.warnings.append(Mistake(warning, place=named.place))
    if stated.address and not stated.kind and not urlsplit(settings.address).path.strip("/"):
        warning = f"the address of {quoted(settings.name)} has no path: most servers want /v1"
        reading.warnings.append(Mistake(warning, place=named.place))
    return settings


def filled(name: str, stated: StatedProvider, place: Place = NOWHERE) -> ProviderSettings:
    """``stated`` over what its kind brings. The usual variable's credential goes to the usual
    address only: another one may not be the vendor's."""
    kind_name = stated.kind or (name if name in KINDS else "")
    kind = KINDS.get(kind_name, UNKNOWN_KIND)
    secrets = stated.api_key
    if kind.env and not stated.api_key and not stated.address:
        secrets = ((Secret(id=f"env:{kind.env}", env=kind.env), place),)
    address = stated.address or kind.address
    dialect = stated.dialect or kind.dialect
    signer = kind.signer if kind.signer != "none" or not secrets else SIGNER_OF[dialect]
    return ProviderSettings(
        name=name,
        kind=kind_name,
        address=address,
        dialect=dialect,
        signer=stated.signer or signer,
        secrets=tuple(secret for secret, _ in secrets),
        zone=stated.zone or zone_of(address, kind),
        timeouts=stated.timeouts,
        first_token_ms=stated.expect.first_token_ms or kind.first_token_ms,
        tokens_per_s=stated.expect.tokens_per_s or kind.tokens_per_s,
        place=place,
        secret_places=tuple(place for _, place in secrets),
    )


def mistakes(settings: ProviderSettings, written: set[str]) -> list[Mistake]:
    """What is wrong with a provider as a whole. A key in ``written`` is not missing: it was
    given, and if it was wrong that has been told."""
    name = quoted(settings.name)
    if runs(settings.kind) == "simulated":
        more = ", ".join(map(quoted, sorted(written - {"kind"})))
        return [Mistake(f"{name} is simulated and takes no {more}")] if more else []
    found = []
    if not settings.address and not written & {"address", "kind"}:
        hint = did_you_mean(settings.name, KINDS)
        found.append(Mistake(f"provider {name} needs an `address` or a `kind`", hint))
    if settings.signer != "none" and not settings.secrets and "api_key" not in written:
        hint = "use `signer: none` if it asks for none"
        found.append(Mistake(f"provider {name} needs an `api_key`", hint))
    if settings.signer == "none" and settings.secrets:
        found.append(Mistake(f"provider {name} has an `api_key` that `signer: none` never uses"))
    return found


def goes_in_the_clear(settings: ProviderSettings) -> bool:
    parts = urlsplit(settings.address)
    return bool(
        settings.secrets and parts.scheme == "http" and not is_private(parts.hostname or "")
    )
