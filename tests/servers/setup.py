"""Writes a configuration for tests: one provider for each model, so that no test's breaker or
benched credential is another's."""

import json
from typing import Any

CAPABILITIES = ["tools", "parallel_tools", "forced_tools", "json_object", "json_schema"]
CAPABILITIES += ["reasoning", "sampling", "system", "stream"]


class Setup:
    """Every endpoint gets a provider of its own, ``at-NAME``, and a credential ``KEY_NAME``."""

    def __init__(self) -> None:
        self._providers: dict[str, Any] = {}
        self._models: dict[str, Any] = {}
        self._routes: dict[str, Any] = {}
        self.secrets: dict[str, str] = {}

    def endpoint(
        self,
        name: str,
        address: str,
        dialect: str,
        provider: dict[str, Any] | None = None,
        **facts: Any,
    ) -> "Setup":
        """``address`` is the server's; every dialect is served below its ``/v1``."""
        variable = f"KEY_{name.upper().replace('-', '_')}"
        self.secrets[variable] = f"sk-canary-{name}"
        self._providers[f"at-{name}"] = {
            "address": f"{address}/v1",
            "dialect": dialect,
            "zone": "cloud",
            "api_key": {"env": variable},
            **(provider or {}),
        }
        self._models[name] = {
            "at": f"at-{name}",
            "as": name,
            "context": "128k",
            "max_output": "16k",
            "price": {"input": "$0.25", "cached_read": "$0.025", "output": "$2"},
            "strength": 0.6,
            "capabilities": CAPABILITIES,
            "accepts": ["text", "image"],
            **facts,
        }
        return self

    def route(self, name: str, *models: str, **facts: Any) -> "Setup":
        self._routes[name] = {"models": list(models), **facts}
        return self

    def text(self, **server: Any) -> str:
        """JSON, which is YAML."""
        parts = {"providers": self._providers, "models": self._models, "routes": self._routes}
        return json.dumps({**parts, "server": {"discover": False, **server}}, indent=1)
