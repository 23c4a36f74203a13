"""What a run tells while it goes on, to whoever shows progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..ir.values import RuntimeValue
from .results import RunError


@dataclass(frozen=True)
class TextReleased:
    """A piece of an output's text that will not change; told from an engine's thread. `site`: where it is written."""

    site: str
    output: str
    indices: tuple[int, ...]
    sample: int
    text: str


@dataclass(frozen=True)
class CallStarted:
    """A generate was sent to its engine."""

    site: str
    output: str


@dataclass(frozen=True)
class CallEnded:
    """A generate has ended; `generated_tokens` is None where it failed."""

    site: str
    output: str
    generated_tokens: int | None


@dataclass(frozen=True)
class OutputReady:
    """An output of the program is there, or has failed."""

    name: str
    value: RuntimeValue
    error: RunError | None


RunEvent: TypeAlias = TextReleased | CallStarted | CallEnded | OutputReady
