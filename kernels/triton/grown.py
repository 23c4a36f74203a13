"""The regions of steps that follow one another: every row adds one key to the end of its own region."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..planned_step import PlannedStep
from ..work_items import Indices
from .regions import Regions
from .structure import Structure, ragged_range


class GrownRegions:
    """Structure and regions of the latest chain, from one of its steps after the first, and what has come since."""

    def __init__(self) -> None:
        self._step: PlannedStep | None = None
        self._found: tuple[Structure, Regions] | None = None
        self._base: tuple[PlannedStep, Indices, Structure, Regions] | None = None
        """The step that the others grow from, and the slots of its chain up to it."""

    def of(self, step: PlannedStep, make: Callable[[PlannedStep], tuple[Structure, Regions]]) -> (
            tuple[Structure, Regions]):
        """Those of `step`, whose age is not 0; `make` makes them from its runs and segments."""
        if step is self._step and self._found is not None:
            return self._found
        base = self._base
        # A step may have been replaced by another of the same age.
        if (base is None or base[0].chain is not step.chain or base[0].age >= step.age
                or not np.array_equal(base[1], step.chain.slots_between(0, base[0].age + 1))):
            base = self._base = step, step.chain.slots_between(0, step.age + 1).copy(), *make(step)
        first, _, structure, regions = base
        self._step, self._found = step, (structure, _grown(structure, regions, step, first.age))
        return self._found


def _grown(structure: Structure, base: Regions, step: PlannedStep, age: int) -> Regions:
    """`base` after the steps from `age` to that of `step`: so many keys more at the end of each own region."""
    more = step.age - age
    if not more:
        return base
    lengths = base.end - base.begin
    own = np.arange(len(lengths) - len(structure.own), len(lengths))
    end = base.end.copy()
    end[own] += more
    added = np.zeros_like(lengths)
    added[own] = more
    starts = base.key_start + np.cumsum(added) - added
    slots = np.empty(len(base.slots) + more * len(own), np.int32)
    slots[np.arange(len(base.slots)) + np.repeat(starts - base.key_start, lengths)] = base.slots
    new = step.chain.slots_between(age + 1, step.age + 1)[:, structure.own].T
    slots[ragged_range(starts[own] + lengths[own], added[own])] = new.reshape(-1)
    return Regions(base.begin, end, starts, slots)
