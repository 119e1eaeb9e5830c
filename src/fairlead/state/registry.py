"""The catalogue in force. Replaced whole; knows not where it comes from."""

from fairlead.types.catalog import Catalog


class Registry:
    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def swap(self, catalog: Catalog) -> None:
        """Requests already decided keep the catalogue they were decided with."""
        self.catalog = catalog
