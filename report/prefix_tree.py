"""The contexts of a program as a tree: which tokens follow which, and how many calls begin with them.

A node is an `engine.fill` or the output of an `engine.generate`. Where a context goes through a loop or branch, the
way of the first turn and of the first branch is followed. All work is linear in the number of operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..ir.core import Arg, Op, TokenList, Value, walk
from ..passes.effects import GENERATES
from ..passes.lengths import Lengths
from ..passes.planner import Knowledge
from ..passes.regions import Passing, body_of, first_carried, flows
from .executions import Executions


@dataclass(frozen=True)
class Size:
    """Tokens of a context, and those of them that more than one execution of calls begins with; on average."""

    tokens: float = 0.0
    shared: float = 0.0


@dataclass(eq=False)
class Node:
    """Tokens that follow those of `parent`. `tokens`: in one execution, on average; `count`: executions.

    `uses`: executions of calls whose prompts hold these tokens, for one execution of the node; `call_count`: call
    sites below; `before`: the context that it continues.
    """

    op: Op
    parent: Node | None
    tokens: float
    count: float
    uses: float = 0.0
    call_count: int = 0
    children: list[Node] = field(default_factory=list)
    before: Size = Size()

    @property
    def is_output(self) -> bool:
        """Whether the tokens are an output, which later prompts may continue."""
        return self.op.name in GENERATES

    @property
    def is_shared(self) -> bool:
        """Whether more than one execution of calls begins with these tokens (an output: whether any does)."""
        return self.uses > (0.0 if self.is_output else 1.0)


class PrefixTree:
    """The tree of `program`, which is at engine level."""

    def __init__(self, program: Op, knowledge: Knowledge, lengths: Lengths, executions: Executions) -> None:
        self._knowledge = knowledge
        self._lengths = lengths
        self._executions = executions
        self._before: dict[Value, Arg] = {}
        self._defined: dict[Value, Op] = {}
        self._nodes: dict[Op, Node] = {}
        self._resolved: dict[Value, Node | None] = {}
        self._sizes: dict[Value, Size] = {}
        self.roots: list[Node] = []
        for op in walk([program]):
            for result in op.results:
                self._defined[result] = op
            if op.regions:
                self._follow(op)
            if op.name == "engine.fill" or op.name in GENERATES:
                self._add(op)
        self._count_uses()
        for node in self._nodes.values():
            node.before = self._size(node.op.args[0])

    def prompt(self, generate: Op) -> Size:
        """The prompt of a generate."""
        return self._nodes[generate].before

    def node(self, op: Op) -> Node:
        """The node of a fill or generate."""
        return self._nodes[op]

    def nodes(self) -> Iterator[Node]:
        """Every node that is part of a prompt, parents first, children in textual order."""
        stack = [node for node in reversed(self.roots) if node.uses]
        while stack:
            node = stack.pop()
            yield node
            stack += [child for child in reversed(node.children) if child.uses]

    def name_of(self, value: Value) -> str:
        """A name for a value: its own, or that of what it was taken from (`file.path`); empty where there is none."""
        fields: list[str] = []
        while not value.name or value.name.isdigit():
            op = self._defined.get(value)
            if op is None or op.name != "flow.pure" or not op.operands:
                return ""
            if isinstance(name := op.attributes.get("name"), str):
                fields.append(name)
            value = op.operands[0]
        return ".".join([value.name, *reversed(fields)])

    # ---- the shape ----

    def _follow(self, op: Op) -> None:
        """Note where the contexts that enter and leave the regions of `op` come from."""
        carries = op.name in ("flow.fold", "flow.loop")
        if carries:
            yields = op.regions[body_of(op)].terminator.args
            self._before.update(zip(op.results, yields, strict=True))
        for flow in flows(op):
            if flow.passing is Passing.SAME:
                self._before.setdefault(flow.target, flow.source)

    def _add(self, op: Op) -> None:
        parent = self._parent(op.args[0])
        node = Node(op, parent, self._tokens(op), self._executions.expected(op))
        self._nodes[op] = node
        (parent.children if parent else self.roots).append(node)

    def _tokens(self, op: Op) -> float:
        if op.name != "engine.fill":
            return float(self._lengths.output(op).decoded.high or 0)
        return sum(self._piece(op, number) for number in range(len(op.args) - 1))

    def _piece(self, op: Op, number: int) -> float:
        piece = op.args[1 + number]
        if isinstance(piece, TokenList):
            return float(len(piece.ids))
        source = self._defined.get(piece) if isinstance(piece, Value) else None
        if source is not None and source.name in GENERATES and source in self._nodes:
            return self._nodes[source].tokens
        return self._knowledge.piece_tokens(op, number) or 0.0

    def _parent(self, value: Arg) -> Node | None:
        """The node whose tokens a context ends with; None for the empty one."""
        passed: dict[Value, None] = {}
        found: Node | None = None
        while isinstance(value, Value) and value not in passed:
            if value in self._resolved:
                found = self._resolved[value]
                break
            passed[value] = None
            op = self._defined.get(value)
            if op is not None and op in self._nodes:
                found = self._nodes[op]
                break
            value = self._next(value)
        self._resolved.update(dict.fromkeys(passed, found))
        return found

    def _next(self, value: Value) -> Arg:
        """What a value that no fill or generate makes stands for."""
        if value in self._before:
            return self._before[value]
        op = self._defined.get(value)
        return op.operands[0] if op is not None and op.operands else None  # a context out of a list or record

    def _count_uses(self) -> None:
        for node in reversed(self._nodes.values()):  # children first
            samples = node.op.attributes.get("n")
            own = node.count * (samples if isinstance(samples, int) else 1) if node.is_output else 0.0
            below = node.uses
            node.uses = below / node.count if node.count else 0.0
            if node.parent is not None:
                node.parent.uses += below + own
                node.parent.call_count += node.call_count + node.is_output

    # ---- sizes ----

    def _size(self, value: Arg) -> Size:
        """Tokens of a context; a loop has added to what it carries as often as it turns."""
        trail: list[Value] = []
        size = Size()
        while isinstance(value, Value) and value not in trail:
            known = self._sizes.get(value)
            if known is not None:
                size = known
                break
            trail.append(value)
            op = self._defined.get(value)
            if op is not None and op in self._nodes:
                size = self._after(self._nodes[op])
                break
            if op is not None and op.name in ("flow.fold", "flow.loop"):
                size = self._after_loop(op, value)
                break
            value = self._next(value)
        self._sizes.update(dict.fromkeys(trail, size))
        return size

    def _after(self, node: Node) -> Size:
        if node.is_output and "n" in node.op.attributes:
            return node.before
        shared = node.tokens if node.is_shared else 0.0
        return Size(node.before.tokens + node.tokens, node.before.shared + shared)

    def _after_loop(self, op: Op, value: Value) -> Size:
        first = self._size(op.args[first_carried(op) + op.results.index(value)])
        turn = self._size(self._before[value])
        turns = self._knowledge.trips(op) or 0.0
        return Size(first.tokens + turns * max(turn.tokens - first.tokens, 0.0),
                    first.shared + turns * max(turn.shared - first.shared, 0.0))
