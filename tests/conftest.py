"""What holds for every test: properties are tried on the same examples each time, and how long an
example takes is no property, for the machine may be busy."""

from hypothesis import settings

settings.register_profile("fairlead", deadline=None, derandomize=True)
settings.load_profile("fairlead")
