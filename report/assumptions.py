"""Numbers for what nothing is known of before a run, so that there can be a prediction, and a list of them."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.core import Op, Value
from ..ir.target import Target
from ..ir.types import Text
from ..passes.planner import Knowledge
from ..passes.static_knowledge import StaticKnowledge

ASSUMED_TURNS = 4
"""Turns of a loop of which no number is known."""
ASSUMED_TOKENS = 32
"""Tokens of an inserted text of which no length is known."""


@dataclass(frozen=True)
class Assumption:
    """What was assumed of an operation: `turns` of a loop, or `tokens` of an inserted text."""

    op: Op
    what: str
    value: int


class Assumed(Knowledge):
    """Answers of `knowledge`, and assumptions where it has none."""

    def __init__(self, knowledge: StaticKnowledge, target: Target) -> None:
        self.knowledge = knowledge
        self._target = target
        self.assumptions: dict[tuple[Op, str], Assumption] = {}

    def trips(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return self._or_assumed(self.knowledge.trips(op), op, "turns", ASSUMED_TURNS)

    def most_trips(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return self._or_assumed(self.knowledge.most_trips(op), op, "turns", ASSUMED_TURNS)

    def share(self, op: Op, region: int) -> float | None:
        """See `Knowledge`."""
        return self.knowledge.share(op, region)

    def samples(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return self.knowledge.samples(op)

    def budget(self, op: Op) -> float | None:
        """See `Knowledge`."""
        return self.knowledge.budget(op)

    def piece_tokens(self, op: Op, piece: int) -> float | None:
        """See `Knowledge`. A text that an output gave has as many tokens as the output may have."""
        bounds = self.knowledge.lengths.piece(op, piece)
        text = op.args[1 + piece]
        if isinstance(text, Value) and isinstance(text.type, Text) and text.type.max_tokens is not None:
            return float(max(bounds.low, min(text.type.max_tokens, bounds.high or text.type.max_tokens)))
        if bounds.high is None:
            return self._or_assumed(None, op, "tokens", max(ASSUMED_TOKENS, bounds.low))
        if bounds.low == bounds.high:
            return float(bounds.high)
        # The most bytes of an output are those of its longest tokens, and the most tokens of a text are its bytes.
        alias = self.knowledge.lengths.model(op.result)
        tokenizer = self._target.model(alias or "").tokenizer
        longest = tokenizer.longest_token_bytes if tokenizer is not None else 1
        return float(max(bounds.low, -(-bounds.high // longest)))

    def longest_piece(self, op: Op, piece: int) -> float | None:
        """See `Knowledge`."""
        return self.piece_tokens(op, piece)

    def _or_assumed(self, known: float | None, op: Op, what: str, value: int) -> float:
        if known is not None:
            return known
        self.assumptions[op, what] = Assumption(op, what, value)
        return float(value)
