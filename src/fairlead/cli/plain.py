"""Commands whose help and complaints are for those who use them, not for typer's makers."""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

OF_PYDANTIC = "Value error, "


class PlainCommand(TyperCommand):
    # typer's own types for these are in a private module.
    def get_params(self, ctx: Any) -> Any:
        return _without_types(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix(OF_PYDANTIC)
            raise


class PlainGroup(TyperGroup):
    def get_params(self, ctx: Any) -> Any:
        return _without_types(super().get_params(ctx))


def _without_types(params: list[Any]) -> list[Any]:
    """A flag that is shown as ``--json <bool>`` would be given a value."""
    for param in params:
        if isinstance(param, TyperOption) and param.is_flag and param.metavar is None:
            param.metavar = ""
    return params
