"""Intervals of natural numbers: at least `low`, at most `high` (None: no bound is known)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Interval(NamedTuple):
    """`low..high`, both ends included; `high` None is unbounded."""

    low: int = 0
    high: int | None = None

    @staticmethod
    def exactly(number: int) -> Interval:
        """One number."""
        return Interval(number, number)

    def __add__(self, other: Interval) -> Interval:  # type: ignore[override]
        high = None if self.high is None or other.high is None else self.high + other.high
        return Interval(self.low + other.low, high)

    def __mul__(self, other: Interval) -> Interval:  # type: ignore[override]
        """The product; 0 times an unbounded number is 0."""
        return Interval(self.low * other.low, product(self.high, other.high))

    def join(self, other: Interval) -> Interval:
        """The smallest interval that holds both."""
        high = None if self.high is None or other.high is None else max(self.high, other.high)
        return Interval(min(self.low, other.low), high)

    def contains(self, other: Interval) -> bool:
        """Whether every number of `other` is in this one."""
        fits = self.high is None or (other.high is not None and other.high <= self.high)
        return self.low <= other.low and fits

    def at_most(self, high: int | None) -> Interval:
        """This interval cut off above `high`."""
        if high is None:
            return self
        high = high if self.high is None else min(high, self.high)
        return Interval(min(self.low, high), high)

    def __str__(self) -> str:
        return f"[{self.low}, {'∞' if self.high is None else self.high}]"


ANY = Interval()
ZERO = Interval(0, 0)


def product(first: int | None, second: int | None) -> int | None:
    """The product of two upper bounds."""
    if first == 0 or second == 0:
        return 0
    return None if first is None or second is None else first * second


def span(intervals: Iterable[Interval]) -> Interval | None:
    """The smallest interval that holds all of them; None for none."""
    found: Interval | None = None
    for interval in intervals:
        found = interval if found is None else found.join(interval)
    return found
