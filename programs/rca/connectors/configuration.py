"""Which connector serves which source: a directory of recordings for all, or JSON that names one for each."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from .elasticsearch import Elasticsearch
from .interface import Connector
from .kubectl import Kubectl
from .loki import Loki
from .prometheus import Prometheus
from .recorded_tools import RecordedTools, holds_recorded_tools
from .replay import Replay

EMBEDDED = Path(__file__).parents[1] / "samples" / "telemetry"
"""The recording that is used when nothing else is asked for."""

CONNECTORS: dict[str, Callable[..., Connector]] = {
    "replay": Replay, "recorded_tools": RecordedTools, "prometheus": Prometheus, "loki": Loki,
    "elasticsearch": Elasticsearch, "kubectl": Kubectl,
}


class ConfigurationError(ValueError):
    """The sources are not configured right; the message is one line with what is wrong."""


@lru_cache(maxsize=16)
def connectors(sources: str) -> Mapping[str, Connector]:
    """The connector of each source, `*` for all that have none of their own. Raises ConfigurationError.

    `sources` is "" for the embedded samples, a directory of recordings, or JSON such as
    `{"metrics": {"connector": "prometheus", "url": "http://prometheus:9090"}, "kubernetes": {"connector": "kubectl"}}`.
    `${NAME}` in a text of it is the environment variable of that name, so that no secret stands in a file.
    """
    if not sources.strip().startswith("{"):
        directory = sources.strip() or str(EMBEDDED)
        if not Path(directory).is_dir():
            raise ConfigurationError(f"{directory} is no directory of recordings")
        return {"*": RecordedTools(directory) if holds_recorded_tools(directory) else Replay(directory)}
    try:
        data = json.loads(sources)
    except ValueError as error:
        raise ConfigurationError(f"the sources are not valid JSON: {error}") from None
    return {name: _connector(name, options) for name, options in data.items()}


def connector_of(sources: str, source: str) -> Connector:
    """The connector that serves `source`. Raises ConfigurationError."""
    known = connectors(sources)
    found = known.get(source) or known.get("*")
    if found is None:
        raise ConfigurationError(f"no connector is configured for {source!r}, only for {', '.join(sorted(known))}")
    return found


def _connector(name: str, options: Any) -> Connector:
    kind = options.get("connector") if isinstance(options, dict) else None
    if not isinstance(kind, str) or kind not in CONNECTORS:
        raise ConfigurationError(f"the source {name!r} needs `connector`, one of {', '.join(sorted(CONNECTORS))}")
    rest = {key: _with_environment(value) for key, value in options.items() if key != "connector"}
    try:
        return CONNECTORS[kind](**rest)
    except TypeError as error:
        raise ConfigurationError(f"the options of {name!r} do not fit {kind}: {error}") from None


def _with_environment(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_environment(inner) for key, inner in value.items()}
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise ConfigurationError(f"the environment variable {match[1]} is not set")
        return os.environ[match[1]]
    return re.sub(r"\$\{(\w+)\}", variable, value)
