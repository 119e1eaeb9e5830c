"""The data folder: which file in it is which. Opens nothing."""

from pathlib import Path

from msgspec import Struct


class Folder(Struct, frozen=True):
    """Where one gateway keeps what must outlive it. One running gateway owns one folder; one that
    has handed it over to the next may still finish what it had."""

    path: Path

    @property
    def database(self) -> Path:
        """Ledger, journal and keys."""
        return self.path / "fairlead.db"

    @property
    def pepper(self) -> Path:
        """What key digests are made with; apart from the database, so that a copy of that alone
        does not let anybody test guesses."""
        return self.path / "pepper"

    @property
    def claims(self) -> Path:
        """What processes answer at the moment that nobody else may; empty."""
        return self.path / "claims.lock"

    @property
    def door(self) -> Path:
        """The socket at which the next process asks to take over."""
        return self.path / "handover.sock"
