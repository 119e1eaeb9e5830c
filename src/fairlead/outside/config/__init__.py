"""The configuration file: from text to settings to a catalogue, and what is wrong with it."""

from fairlead.outside.config.build import Catalogue, Found, build, unserved
from fairlead.outside.config.credentials import available, missing
from fairlead.outside.config.difference import difference
from fairlead.outside.config.parse import load, parse
from fairlead.outside.config.problems import ConfigError, Problem
from fairlead.outside.config.providers import default_settings
from fairlead.outside.config.settings import Settings

__all__ = [
    "Catalogue",
    "ConfigError",
    "Found",
    "Problem",
    "Settings",
    "available",
    "build",
    "default_settings",
    "difference",
    "load",
    "missing",
    "parse",
    "unserved",
]
