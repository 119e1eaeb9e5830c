"""Carry out a plan. Speaks the endpoints' dialects; knows no caller's and ranks nothing."""

from fairlead.dispatch.carry import Dispatch
from fairlead.dispatch.errand import Carried, Errand

__all__ = ["Carried", "Dispatch", "Errand"]
