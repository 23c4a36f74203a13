"""Deterministic automata over bytes: the subset construction, and what decoding must know of each state."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..engine import EngineError
from .byte_nfa import ByteNFA
from .pattern import Pattern

DEAD = -1
UNREACHABLE = int(np.iinfo(np.int64).max)
MOST_STATES = 50_000


class ByteAutomaton:
    """States are 0..n-1; from each of them an accepting state can be reached.

    `next`: int32 [states, 256], DEAD where a byte is not allowed; `accepting`: bool [states];
    `distance`: int64 [states], fewest bytes to an accepting state;
    `bound`: int64 [states], `max_tokens` of the text inside JSON that a state lies in, UNREACHABLE where there is none;
    `can_exit`: bool [states], whether that text may be closed by a quote at once.
    """

    def __init__(
        self,
        next: NDArray[np.int32],
        accepting: NDArray[np.bool_],
        bound: NDArray[np.int64],
        can_exit: NDArray[np.bool_],
        start: int,
    ) -> None:
        self.next = next
        self.accepting = accepting
        self.bound = bound
        self.can_exit = can_exit
        self.start = start
        self.distance = _byte_distances(next, accepting)
        self.has_bounds = bool((bound != UNREACHABLE).any())

    def with_optional_space(self) -> ByteAutomaton:
        """The automaton of a space and a text of this one, or of a text of this one that begins with no space."""
        first = self.next[self.start].copy()
        first[ord(" ")] = self.start
        return ByteAutomaton(
            np.vstack([self.next, first[None]]),
            np.append(self.accepting, self.accepting[self.start]),
            np.append(self.bound, UNREACHABLE),
            np.append(self.can_exit, False),
            len(self.next),
        )


@lru_cache(256)
def compile_pattern(pattern: Pattern) -> ByteAutomaton:
    """The automaton of the texts of `pattern`. Raises EngineError where there are none, or where it grows too large."""
    nfa = ByteNFA(pattern)
    numbers: dict[tuple[int, ...], int] = {}
    subsets: list[tuple[int, ...]] = []
    rows: list[NDArray[np.int32]] = []

    def number(states: set[int]) -> int:
        key = tuple(sorted(_closure(nfa, states)))
        if key not in numbers:
            if len(subsets) == MOST_STATES:
                raise EngineError("the grammar is too large; use smaller bounds, or a simpler pattern")
            numbers[key] = len(subsets)
            subsets.append(key)
        return numbers[key]

    number({nfa.start})
    while len(rows) < len(subsets):
        row = np.full(256, DEAD, dtype=np.int32)
        for low, high, targets in _byte_ranges(nfa, subsets[len(rows)]):
            row[low : high + 1] = number(targets)
        rows.append(row)
    next_state = np.stack(rows)
    accepting = np.array([nfa.end in subset for subset in subsets])
    useful = _byte_distances(next_state, accepting) != UNREACHABLE
    if not useful[0]:
        raise EngineError("no text matches the pattern")
    keep = np.flatnonzero(useful)
    renumbered = np.full(len(subsets) + 1, DEAD, dtype=np.int32)  # the last entry stands for DEAD
    renumbered[keep] = np.arange(len(keep))
    bounds = [max((b for s in subsets[i] if (b := nfa.bound[s]) is not None), default=UNREACHABLE) for i in keep]
    exits = [any(s in nfa.exits for s in subsets[i]) for i in keep]
    return ByteAutomaton(
        renumbered[next_state[keep]], accepting[keep], np.array(bounds, dtype=np.int64), np.array(exits, dtype=bool), 0
    )


def _closure(nfa: ByteNFA, states: set[int]) -> set[int]:
    """`states` and all that are reached from them without a byte, without those that only pass on."""
    stack, seen = list(states), set(states)
    while stack:
        for target in nfa.silent[stack.pop()]:
            if target not in seen:
                seen.add(target)
                stack.append(target)
    return {s for s in seen if nfa.edges[s] or s == nfa.end or s in nfa.exits}


def _byte_ranges(nfa: ByteNFA, subset: tuple[int, ...]) -> list[tuple[int, int, set[int]]]:
    """(first byte, last byte, target states) of a set of states; the ranges do not overlap."""
    edges = [edge for state in subset for edge in nfa.edges[state]]
    borders = sorted({low for low, _, _ in edges} | {high + 1 for _, high, _ in edges})
    by_border: dict[int, set[int]] = {border: set() for border in borders}
    position = {border: i for i, border in enumerate(borders)}
    for low, high, target in edges:
        for border in borders[position[low] : position[high + 1]]:
            by_border[border].add(target)
    return [(low, high - 1, by_border[low]) for low, high in pairwise(borders) if by_border[low]]


def _byte_distances(next: NDArray[np.int32], accepting: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Fewest bytes from each state to an accepting one; UNREACHABLE where there is no way. Breadth first, backwards."""
    sources, byte = np.nonzero(next != DEAD)
    edges = np.unique(np.stack([next[sources, byte].astype(np.int64), sources]), axis=1)
    begins = np.searchsorted(edges[0], np.arange(len(next) + 1))
    distance = np.full(len(next), UNREACHABLE, dtype=np.int64)
    distance[accepting] = 0
    frontier = np.flatnonzero(accepting)
    steps = 0
    while len(frontier):
        steps += 1
        before = np.unique(np.concatenate([edges[1, begins[s] : begins[s + 1]] for s in frontier]))
        frontier = before[distance[before] == UNREACHABLE]
        distance[frontier] = steps
    return distance
