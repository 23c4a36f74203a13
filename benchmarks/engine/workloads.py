"""The workloads: trees of random tokens below which requests wait, and rounds in which branches grow.

Only the standard library is used, and `random.Random` gives the same numbers in every Python, so each engine's process
makes the same prompts from a name and a seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

Tokens = list[int]

VOCABULARY = 32_000
SPECIAL_TOKENS = 3
"""The first ids, which no prompt has: unknown, begin and end."""


@dataclass(frozen=True)
class Shape:
    """`levels`: how many segments of how many tokens each, from the root to the leaves; a level's count is a multiple
    of that above it. Every leaf is a request for `outputs` tokens. In each further one of `rounds`, `turn` new tokens
    follow all that the branch held and generated before.
    """

    name: str
    title: str
    levels: tuple[tuple[int, int], ...]
    outputs: int
    rounds: int = 1
    turn: int = 0

    @property
    def requests(self) -> int:
        """In one round."""
        return self.levels[-1][0]

    @property
    def first_length(self) -> int:
        """Tokens of a prompt of the first round."""
        return sum(length for _, length in self.levels)

    @property
    def distinct_tokens(self) -> int:
        """Prompt tokens of the first round, shared ones once."""
        return sum(count * length for count, length in self.levels)

    @property
    def longest(self) -> int:
        """Tokens that a branch holds at the end."""
        return self.first_length + self.outputs + (self.rounds - 1) * (self.turn + self.outputs)

    @property
    def most_tokens(self) -> int:
        """Tokens that all branches hold at the end, shared ones once."""
        return self.distinct_tokens + self.requests * (self.longest - self.first_length)

    @property
    def shares(self) -> bool:
        """Whether requests have a beginning in common."""
        return len(self.levels) > 1

    @property
    def output_count(self) -> int:
        """Generated tokens, all rounds."""
        return self.requests * self.outputs * self.rounds

    def scaled(self, factor: float) -> Shape:
        """The same with every length multiplied, at least 1."""
        def times(length: int) -> int:
            return max(1, round(length * factor))

        return Shape(self.name, self.title, tuple((count, times(length)) for count, length in self.levels),
                     times(self.outputs), self.rounds, times(self.turn) if self.turn else 0)


SHAPES = {shape.name: shape for shape in (
    Shape("a", "32 requests, 1024 tokens shared + 32 own, 32 out", ((1, 1024), (32, 32)), 32),
    Shape("b", "16 unrelated requests of 256 tokens, 64 out", ((16, 256),), 64),
    Shape("c", "one request of 512 tokens, 64 out", ((1, 512),), 64),
    Shape("d", "64 requests below a tree: 2048 shared by all, 8 × 512 by 8 each, 128 own, 32 out",
          ((1, 2048), (8, 512), (64, 128)), 32),
    Shape("e", "16 chats, 8 rounds: 512 tokens shared, 64 new and 32 out each round", ((1, 512), (16, 64)), 32, 8, 64),
)}


def make_shapes(names: Iterable[str], scale: float = 1.0, prefix: str = "") -> list[Shape]:
    """Of the given names, with all lengths multiplied, called `prefix` + name. KeyError names what is unknown."""
    shapes = [SHAPES[name] if scale == 1 else SHAPES[name].scaled(scale) for name in names]
    return [replace(shape, name=prefix + shape.name) for shape in shapes]


@dataclass(frozen=True)
class Workload:
    """`segments[level][number]`: tokens; `turns[round][branch]`: what is new in the rounds after the first."""

    shape: Shape
    segments: list[list[Tokens]]
    turns: list[list[Tokens]]

    def path(self, level: int, number: int) -> Tokens:
        """All tokens from the root to the end of a segment."""
        count = self.shape.levels[level][0]
        found: Tokens = []
        for above in range(level + 1):
            found += self.segments[above][number * self.shape.levels[above][0] // count]
        return found

    def prompts(self) -> list[Tokens]:
        """Of the first round, leaf by leaf."""
        last = len(self.segments) - 1
        return [self.path(last, leaf) for leaf in range(self.shape.requests)]

    def shared_paths(self) -> list[list[Tokens]]:
        """What requests have in common, level by level from the root: what an engine may be primed with."""
        return [[self.path(level, number) for number in range(count)]
                for level, (count, _) in enumerate(self.shape.levels[:-1])]

    def next_prompts(self, prompts: Sequence[Tokens], outputs: Sequence[Tokens], round_number: int) -> list[Tokens]:
        """The prompts of a round (counted from 0), after what the round before gave."""
        turns = self.turns[round_number - 1]
        return [before + output + turn for before, output, turn in zip(prompts, outputs, turns, strict=True)]


def make(shape: Shape, seed: int, vocabulary: int = VOCABULARY) -> Workload:
    """Tokens that no other seed or workload has: random, so that nothing is found again by chance."""
    generator = random.Random(f"{shape.name} {seed}")

    def tokens(length: int) -> Tokens:
        return [generator.randrange(SPECIAL_TOKENS, vocabulary) for _ in range(length)]

    segments = [[tokens(length) for _ in range(count)] for count, length in shape.levels]
    return Workload(shape, segments, [[tokens(shape.turn) for _ in range(shape.requests)]
                                      for _ in range(shape.rounds - 1)])
