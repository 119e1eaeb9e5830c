"""Whether the credentials that settings refer to are there. Looks, and never keeps what it sees."""

from collections.abc import Iterator, Mapping

import msgspec

from fairlead.outside.config.problems import Mistake, Problem, quoted
from fairlead.outside.config.settings import ProviderSettings, Settings
from fairlead.outside.secret_files import flaw, read_secret
from fairlead.types.catalog import Secret


def missing(settings: Settings, env: Mapping[str, str]) -> tuple[Problem, ...]:
    """Every reference to a credential that leads nowhere."""
    return tuple(
        settings.source.problem(mistake)
        for provider in settings.providers
        for mistake in _missing_from(provider, env)
    )


def available(settings: Settings, env: Mapping[str, str]) -> Settings:
    """Settings to serve with: credentials that are not there are left out, a provider without
    any becomes ``absent``, and each is a warning."""
    kept = [_with_present(provider, env) for provider in settings.providers]
    absent = tuple(
        provider.name
        for provider, now in zip(settings.providers, kept, strict=True)
        if provider.secrets and not now.secrets
    )
    warnings = (
        *(str(problem) for problem in missing(settings, env)),
        *(f"provider {quoted(name)} is left out: it has no credential" for name in absent),
    )
    return msgspec.structs.replace(
        settings,
        providers=tuple(kept),
        absent=absent,
        warnings=(*settings.warnings, *warnings),
    )


def _with_present(provider: ProviderSettings, env: Mapping[str, str]) -> ProviderSettings:
    pairs = zip(provider.secrets, provider.secret_places, strict=True)
    present = [(secret, place) for secret, place in pairs if not _trouble(secret, env)]
    return msgspec.structs.replace(
        provider,
        secrets=tuple(secret for secret, _ in present),
        secret_places=tuple(place for _, place in present),
    )


def _missing_from(provider: ProviderSettings, env: Mapping[str, str]) -> Iterator[Mistake]:
    for secret, place in zip(provider.secrets, provider.secret_places, strict=True):
        trouble = _trouble(secret, env)
        if trouble:
            message = f"no credential for provider {quoted(provider.name)}: {trouble}"
            yield Mistake(message, place=place)


def _trouble(secret: Secret, env: Mapping[str, str]) -> str:
    """Why there is no credential to use, or nothing. As ``Signers`` will find it."""
    if secret.env:
        text, none = env.get(secret.env, "").strip(), "is not set"
    else:
        try:
            text, none = read_secret(secret.file), "is empty"
        except OSError as error:
            return f"{secret.file}: {error.strerror}"
    why = flaw(text) if text else none
    return f"{secret.env or secret.file} {why}" if why else ""
