"""Fills that may be computed before a call needs them, in the order in which they will be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .context_tree import Mark
from .engine import FillHint

REORDER_STEPS = 8
"""The order is worked out again after so many steps, as runs go on, or when a fill was added."""
RETRY_STEPS = 8
"""Steps to wait after no room was found."""


@dataclass(frozen=True)
class EarlyTokens:
    """How many tokens of early fills one step may compute.

    A step that computes no more than `free` tokens costs hardly more than one for a single row, as it is bound by
    reading the weights: so many tokens are filled up to. Where the engine would be idle a step computes up to `alone`
    of them, few enough not to hold up a call that arrives meanwhile.
    """

    free: int = 16
    alone: int = 128

    def beside(self, tokens: int) -> int:
        """The most for a step that computes `tokens` for calls."""
        return max(0, self.free - tokens) if tokens else self.alone


class EarlyFills:
    """Ends of the fills by context. The soonest used comes first; of those without a plan, the newest."""

    def __init__(self) -> None:
        self._fills: dict[int, tuple[int, Mark, FillHint]] = {}
        self._count = 0
        self._order: list[int] = []
        self._order_step = -REORDER_STEPS
        self._is_stale = False
        self._retry_step = 0

    def add(self, context: int, mark: Mark, hint: FillHint) -> None:
        """Take `context`, which ends at `mark`, unless its plan says that it is filled only when needed."""
        if hint.early != 0:
            self._count += 1
            self._fills[context] = self._count, mark, hint
            self._is_stale = True

    def discard(self, context: int) -> None:
        """Forget `context`, if it is here."""
        self._fills.pop(context, None)

    def clear(self) -> None:
        """Forget all."""
        self._fills.clear()

    def __len__(self) -> int:
        return len(self._fills)

    def no_room(self, step: int) -> None:
        """There was no memory in `step`: give it a rest."""
        self._retry_step = step + RETRY_STEPS

    def candidates(self, step: int) -> Iterator[tuple[int, Mark]]:
        """The contexts that may be computed in `step`, most wanted first; they may be discarded meanwhile."""
        if step < self._retry_step:
            return
        if self._is_stale or step >= self._order_step + REORDER_STEPS:
            keys = {context: key for context in self._fills if (key := self._key(context)) is not None}
            self._order = sorted(keys, key=keys.__getitem__)
            self._order_step, self._is_stale = step, False
        for context in self._order:
            found = self._fills.get(context)
            if found is not None:
                yield context, found[1]

    def _key(self, context: int) -> tuple[int, int, int] | None:
        """What to sort by; None while it is too early."""
        number, _, hint = self._fills[context]
        if hint.next_use is None:
            return 1, 0, -number
        distance = hint.next_use()
        return None if hint.early is not None and distance > hint.early else (0, distance, number)
