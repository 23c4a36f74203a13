"""How many tokens contexts, texts and outputs are taken to have, before a run or in its middle.

Every output is taken to use its budget (`osl`, else `max_tokens`). Loops take the turns and texts have the lengths
that are known of them. One walk in textual order.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..ir.core import Op, TokenList, Value
from ..ir.types import Text, holds_context
from .effects import GENERATES
from .planner import Knowledge, Order
from .regions import body_of, flows

DEFAULT_BUDGET = 256
APPENDS = frozenset({"engine.fill", "prompt.append"})


class ExpectedLengths:
    """Filled in by `measure`. With `longest`, loops turn and texts are as long as they do at most, else on average."""

    def __init__(self, order: Order, knowledge: Knowledge, *, longest: bool = False) -> None:
        self.order = order
        self.knowledge = knowledge
        self.longest = longest
        self.unknown: set[Op] = set()
        self.length: dict[Value, float] = {}
        """Tokens of each value that holds a context."""
        self.tokens: dict[Op, float] = {}
        """Tokens that a fill or an append adds, or that a generate decodes in one sample."""
        self.output_of: dict[Value, float] = {}

    def measure(self, program: Op) -> None:
        """Find the length of every context, in textual order."""
        for op, leaving in self._visits(program):
            if leaving:
                self._leave(op)
            elif op.name in APPENDS:
                self.tokens[op] = sum(self._piece(op, piece) for piece in range(len(op.args) - 1))
                self.length[op.result] = self.parent_length(op) + self.tokens[op]
            elif op.name in GENERATES:
                self.tokens[op] = self.output_of[op.results[0]] = self._budget(op)
                parent = self.parent_length(op)
                self.length[op.results[1]] = parent if self.samples(op) != 1 else parent + self.tokens[op]
            elif op.regions:
                for flow in flows(op):
                    if isinstance(flow.source, Value) and flow.source in self.length:
                        self.length.setdefault(flow.target, self.length[flow.source])
            else:
                known = [self.length[v] for v in op.operands if v in self.length]
                for result in op.results:
                    if known and holds_context(result.type):
                        self.length[result] = max(known)

    def _visits(self, program: Op) -> Iterator[tuple[Op, bool]]:
        """Every operation of the regions that touch an engine, in textual order; those with regions again (True)
        when they are left.
        """
        touching = set(self.order.regions())
        stack = [iter(region.ops) for region in program.regions if region in touching]
        around: list[Op] = []
        while stack:
            op = next(stack[-1], None)
            if op is not None:
                yield op, False
                if op.regions:
                    around.append(op)
                    stack.append(iter([inner for r in op.regions if r in touching for inner in r.ops]))
            else:
                stack.pop()
                if around:
                    yield around.pop(), True

    def _leave(self, op: Op) -> None:
        """The results of an operation with regions; carried contexts have grown with every turn."""
        trips = self.trips(op) if op.name in ("flow.fold", "flow.loop") else 1.0
        for yielded, result in zip(op.regions[body_of(op)].terminator.args, op.results, strict=True):
            if isinstance(yielded, Value) and yielded in self.length:
                before = self.length.get(result, 0.0)
                grown = self.length[yielded] - before
                self.length[result] = before + max(grown, 0.0) * trips

    def parent_length(self, op: Op) -> float:
        """Tokens of the context that a fill or generate continues."""
        parent = op.args[0]
        return self.length.get(parent, 0.0) if isinstance(parent, Value) else 0.0

    def _piece(self, op: Op, piece: int) -> float:
        arg = op.args[1 + piece]
        if isinstance(arg, TokenList):
            return len(arg.ids)
        if isinstance(arg, Value) and arg in self.output_of:
            return self.output_of[arg]
        ask = self.knowledge.piece_tokens if not self.longest else self.knowledge.longest_piece
        known = ask(op, piece)
        if known is None:
            self.unknown.add(op)
        return known or 0.0

    def _budget(self, op: Op) -> float:
        bounds = op.attributes.get("osl")
        if isinstance(bounds, tuple) and isinstance(bounds[1], int):
            return bounds[1]
        given = op.attributes.get("max_tokens") or self.knowledge.budget(op)
        type = op.results[0].type
        bound = type.max_tokens if isinstance(type, Text) else None
        budget = given if isinstance(given, int | float) else DEFAULT_BUDGET if bound is None else bound
        return min(budget, bound) if bound is not None else budget

    def samples(self, op: Op) -> float:
        """Samples of a generate."""
        given = op.attributes.get("n")
        return given if isinstance(given, int) else self.knowledge.samples(op) or 1.0

    def trips(self, op: Op) -> float:
        """Turns of a loop; 0 where they are not known."""
        trips = (self.knowledge.trips if not self.longest else self.knowledge.most_trips)(op)
        if trips is None:
            self.unknown.add(op)
        return trips or 0.0
