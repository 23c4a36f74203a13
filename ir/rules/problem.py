"""One thing that is wrong with a module."""

from __future__ import annotations

from dataclasses import dataclass

from ..core import Op


@dataclass(frozen=True)
class Problem:
    """What is wrong, and at which operation."""

    op: Op
    message: str
