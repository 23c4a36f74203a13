"""How long a prompt may be, what the fewest tokens are made of, and how much it grows in a loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .intervals import ANY, Interval, product


class ContextBounds(NamedTuple):
    """Tokens of a prompt, BOS included, and what the lower bound is made of."""

    tokens: Interval = ANY
    constants: int = 0
    """Tokens of constant pieces, scaffolds and BOS."""
    values: int = 0
    """The fewest tokens of inserted values."""
    outputs: int = 0
    """The fewest tokens of earlier outputs."""

    def join(self, other: ContextBounds) -> ContextBounds:
        """What holds of a prompt that is one of two."""
        shorter = min(self, other, key=lambda c: c.tokens.low)
        return ContextBounds(self.tokens.join(other.tokens), shorter.constants, shorter.values, shorter.outputs)

    def plus(self, tokens: Interval, kind: str) -> ContextBounds:
        """The prompt after a piece of one of the three kinds."""
        low = tokens.low
        return ContextBounds(self.tokens + tokens, self.constants + (low if kind == "constants" else 0),
                             self.values + (low if kind == "values" else 0),
                             self.outputs + (low if kind == "outputs" else 0))


def grown(before: Sequence[ContextBounds], after: Sequence[ContextBounds], turns: int | None) -> list[ContextBounds]:
    """Bounds, in any turn, of prompts that a loop carries: `before` the first turn and `after` it.

    A turn gives a carried prompt some pieces more, or replaces it by another one; what it adds does not depend on the
    prompt's length. So the longest prompt grows by at most the same number of tokens every turn, and none becomes
    shorter than the shortest was before or after the first turn. `turns`: the most turns; None where not known.
    """
    longest, ends = _highest(before), _highest(after)
    most = None if turns is None else max(0, turns - 1)
    high: int | None = None
    if longest is not None and most == 0:
        high = longest
    elif longest is not None and ends is not None:
        # With several prompts, one may have been made of the shortest of them.
        base = min(c.tokens.high for c in before if c.tokens.high is not None)
        added = product(max(0, ends - base), most)
        high = None if added is None else longest + added
    shortest = min([*before, *after], key=lambda c: c.tokens.low)
    return [ContextBounds(Interval(shortest.tokens.low, high), shortest.constants, shortest.values, shortest.outputs)
            for _ in before]


def _highest(contexts: Sequence[ContextBounds]) -> int | None:
    highs = [c.tokens.high for c in contexts]
    return None if any(h is None for h in highs) else max(h for h in highs if h is not None)
