"""Fairlead: a multi-model routing gateway. One address; for each request, the model that fits."""

__version__ = "0.1.0"
