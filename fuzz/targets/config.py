"""A configuration file: settings, or every mistake with its place; never anything else."""

from fairlead.outside.config import ConfigError, Settings, parse
from fuzz.inputs import made

SEEDS = made("config")
MAX_BYTES = 240
SECRETS = {b"{api_key: hunter2,": "hunter2", b"://user:hunter3@": "hunter3"}
"""What tells a secret, as it stands in a seed, and the secret."""


def check(data: bytes) -> None:
    try:
        settings = parse(data.decode(errors="replace"))
    except ConfigError as error:
        shown = error.render()
        assert shown.encode().decode() == shown
        assert "\x1b" not in shown, "a terminal would obey"
        for written, secret in SECRETS.items():
            once = written in data and data.count(secret.encode()) == 1
            assert not once or secret not in shown, "a secret is shown"
    else:
        assert isinstance(settings, Settings)
