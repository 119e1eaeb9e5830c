"""Run as ``python -m fairlead`` or ``fairlead``."""
