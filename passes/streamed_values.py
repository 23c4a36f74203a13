"""Texts that are the output of one generate, word for word: what a prompt may take over while it is generated."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.core import Module, Op, Value
from ..ir.types import Ctx, Prompt, Text, Type
from .dataflow import ForwardAnalysis
from .effects import GENERATES
from .expected_lengths import DEFAULT_BUDGET


class StreamedValues(ForwardAnalysis[int]):
    """`streamed[value]`: the most tokens that the text's generate may give; 0 where the text comes from elsewhere."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        self.solve(module.ops)

    def tracks(self, type: Type) -> bool:
        """All but contexts, which hold no texts."""
        return not isinstance(type, Ctx | Prompt)

    def __getitem__(self, value: Value) -> int:
        return self.facts.get(value, 0)

    def entry(self, value: Value) -> int:
        """Parameters are there already."""
        return 0

    def join(self, first: int, second: int) -> int:
        """One of the sources may be a generate."""
        return max(first, second)

    def literal(self, literal: object) -> int:
        """Literals are there already."""
        return 0

    def transfer(self, op: Op) -> Sequence[int]:
        """A text without samples is handed out as it is decoded."""
        streams = op.name in GENERATES and isinstance(op.results[0].type, Text)
        return [longest_output(op) if streams and result is op.results[0] else 0 for result in op.results]


def longest_output(generate: Op) -> int:
    """The most tokens that a generate may give, as far as its attributes say."""
    bounds, given = generate.attributes.get("osl"), generate.attributes.get("max_tokens")
    if isinstance(bounds, tuple) and isinstance(bounds[1], int):
        return bounds[1]
    return given if isinstance(given, int) else DEFAULT_BUDGET
