"""What a workload is: applications that arrive at their times, each a program and what a client would do instead."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from ...ir.values import RuntimeValue


@dataclass(frozen=True)
class Request:
    """One completion that a client asks for. `pieces` are tokenized one by one, as the program's prompt is."""

    pieces: tuple[str, ...]
    max_tokens: int


Client = Generator[list[Request], list[str], dict[str, RuntimeValue]]
"""Client code without knowledge of the program: yields requests that it sends together, gets all of their texts,
and returns what the program's outputs would be."""


@dataclass(frozen=True)
class Application:
    """One use of a program. `arrival`: seconds after the start; `client` does the same work request by request.

    `kind`: what its times are counted as, where a workload has several kinds.
    """

    program: str
    arguments: dict[str, RuntimeValue]
    client: Callable[[], Client]
    arrival: float = 0.0
    kind: str = ""


@dataclass(frozen=True)
class Workload:
    """Applications of the programs in one source file. `note`: in which sizes it was made, and whose they are."""

    name: str
    source: str
    applications: tuple[Application, ...]
    note: str = ""
    engines: int = 1
    metric: str = "makespan"
    """`makespan`, `jct` (mean time from arrival to result) or `normalized` (that per generated token)."""
    kinds: dict[str, str] = field(default_factory=dict)
    """The metric of each kind of application, where it is not `metric`."""

    @property
    def path(self) -> Path:
        """The source file."""
        return source_path(self.source)


def source_path(name: str) -> Path:
    """A source file of this package."""
    return Path(str(resources.files(__package__).joinpath(name)))
