"""What passes that follow one another find out once: analyses that hold as long as nothing they read changes.

A pass says what still holds after it (`Pass.keeps`). `run_pipeline` keeps results from pass to pass and forgets the
others; outside of it nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from ..ir.core import Module
from ..ir.target import Target
from .base import Finding

Result = TypeVar("Result")


class Kept:
    """Results of analyses of one module on one target."""

    def __init__(self, module: Module, target: Target) -> None:
        self.module = module
        self.target = target
        self.results: dict[Finding, object] = {}

    def forget_all_but(self, findings: Collection[Finding]) -> None:
        """The module changes: only these hold."""
        self.results = {finding: result for finding, result in self.results.items() if finding in findings}


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


def shared(module: Module, target: Target, finding: Finding, analysis: Callable[[Module, Target], Result]) -> Result:
    """What `analysis` finds out, or found out before if that still holds. One analysis for each finding."""
    found = known(module, target, finding)
    if found is not None:
        return found  # type: ignore[return-value]
    result = analysis(module, target)
    kept = _kept(module, target)
    if kept is not None:
        kept.results[finding] = result
    return result


def known(module: Module, target: Target, finding: Finding) -> object | None:
    """What was found out before and still holds."""
    kept = _kept(module, target)
    return None if kept is None else kept.results.get(finding)


def _kept(module: Module, target: Target) -> Kept | None:
    kept = _KEPT.get()
    return kept if kept is not None and kept.module is module and kept.target is target else None
