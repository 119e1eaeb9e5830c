"""The list of what can be asked for, in the shape each vendor's SDK expects. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fairlead.decide.policy import serving
from fairlead.types.catalog import Catalog, Model

Listed = tuple[str, Model | None, str]
"""A name to ask for, its model (None for a route) and who owns it."""

EPOCH = "1970-01-01T00:00:00Z"


def listed(catalog: Catalog) -> list[Listed]:
    """Routes first, then models, each once."""
    rows: list[Listed] = [(name, None, "fairlead") for name in catalog.routes]
    seen = {name for name, _, _ in rows}
    for endpoint in catalog.endpoints:
        if endpoint.model.name not in seen:
            seen.add(endpoint.model.name)
            rows.append((endpoint.model.name, endpoint.model, endpoint.provider))
    return rows


def named(name: str, catalog: Catalog) -> Listed | None:
    """Whatever may be asked for by this name: also what is not on the list, such as an endpoint."""
    if name in catalog.routes:
        return name, None, "fairlead"
    endpoints = serving(name, catalog)
    return (name, endpoints[0].model, endpoints[0].provider) if endpoints else None


def openai_model(row: Listed) -> dict[str, Any]:
    name, model, owner = row
    shape: dict[str, Any] = {"id": name, "object": "model", "created": 0, "owned_by": owner}
    if model is not None and model.context_tokens is not None:
        shape["context_length"] = model.context_tokens
    return shape


def anthropic_model(row: Listed) -> dict[str, Any]:
    name, model, _ = row
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": f"{model.released}T00:00:00Z" if model and model.released else EPOCH,
        "lifecycle": "deprecated" if model and model.retires else "active",
        "max_input_tokens": model.context_tokens if model else None,
        "max_tokens": model.max_output_tokens if model else None,
        "capabilities": None,
    }


def render_list(rows: Sequence[Listed], anthropic: bool) -> bytes:
    shape: Mapping[str, Any]
    if anthropic:
        data = [anthropic_model(row) for row in rows]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
        shape = {"data": data, "has_more": False, "first_id": None, "last_id": None, **ends}
    else:
        shape = {"object": "list", "data": [openai_model(row) for row in rows]}
    return msgspec.json.encode(shape)


def render_one(row: Listed, anthropic: bool) -> bytes:
    return msgspec.json.encode(anthropic_model(row) if anthropic else openai_model(row))
