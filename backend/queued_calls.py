"""Calls of an engine on their way to its thread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .engine import Callbacks, FillHint, Priority, SamplingOptions


@dataclass(frozen=True)
class FillCall:
    """A queued `fill`."""

    context_id: int
    parent_id: int
    tokens: NDArray[np.int64]
    label: str
    time: float
    hint: FillHint = FillHint()


@dataclass(frozen=True)
class GenerateCall:
    """A queued `generate`."""

    context_id: int
    parent_id: int
    sampling: SamplingOptions
    callbacks: Callbacks
    priority: Priority
    label: str
    time: float


@dataclass(frozen=True)
class AbortCall:
    """A queued `abort`."""

    context_id: int


@dataclass(frozen=True)
class FreeCall:
    """A queued `free_context`."""

    context_id: int


QueuedCall = FillCall | GenerateCall | AbortCall | FreeCall
