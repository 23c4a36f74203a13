"""What passes that follow one another find out once: analyses that hold as long as nothing they read changes.

A pass with `annotates` writes only what no shared analysis reads, so what was found out before it holds after it.
`run_pipeline` keeps results between such passes and forgets them before any other; outside of it nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from ..ir.core import Module
from ..ir.target import Target

Result = TypeVar("Result")
Analysis = Callable[[Module, Target], Result]


class Kept:
    """Results by analysis, of one module on one target."""

    def __init__(self, module: Module, target: Target) -> None:
        self.module = module
        self.target = target
        self.results: dict[Analysis[Any], Any] = {}

    def forget(self) -> None:
        """The module changes."""
        self.results.clear()


_KEPT: ContextVar[Kept | None] = ContextVar("kept", default=None)


@contextmanager
def keeping(module: Module, target: Target) -> Iterator[Kept]:
    """Keep the results of analyses of `module` inside, until they are forgotten."""
    kept = Kept(module, target)
    token = _KEPT.set(kept)
    try:
        yield kept
    finally:
        _KEPT.reset(token)


def shared(module: Module, target: Target, analysis: Analysis[Result]) -> Result:
    """What `analysis` finds out, or found out before if nothing has changed since then."""
    found = known(module, target, analysis)
    if found is None:
        found = analysis(module, target)
        kept = _KEPT.get()
        if kept is not None and kept.module is module and kept.target is target:
            kept.results[analysis] = found
    return found


def known(module: Module, target: Target, analysis: Analysis[Result]) -> Result | None:
    """What `analysis` found out, if it is kept."""
    kept = _KEPT.get()
    if kept is None or kept.module is not module or kept.target is not target:
        return None
    found: Result | None = kept.results.get(analysis)
    return found
