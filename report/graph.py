"""The data flow of a program as a graph: calls, hosts, shared beginnings of prompts; loops and branches as boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..ir.core import Arg, Op, Region, Value, Word
from ..ir.printer import print_literal
from ..ir.types import EFFECT, holds_context
from ..passes.effects import GENERATES
from .executions import LOOPS, Executions
from .names import CallName
from .prefix_tree import PrefixTree

MOST_NODES = 240
"""Nodes of one graph; what comes later in the text is left out and counted."""
SHORTEST_PREFIX = 4
"""Tokens of the shortest shared beginning that is worth a node."""


@dataclass(eq=False)
class GraphNode:
    """A node: `kind` is call, host, prefix, input, output or box; a box holds a graph for each of its regions.

    `calls`: identifiers of the call sites that it stands for or serves.
    """

    identifier: str
    kind: str
    title: str
    detail: str = ""
    calls: tuple[str, ...] = ()
    inner: list[Graph] = field(default_factory=list)
    op: Op | None = None


@dataclass(eq=False)
class Edge:
    """What flows: `data`, a value, or `tokens`, a context that the target continues."""

    source: GraphNode
    target: GraphNode
    kind: str


@dataclass(eq=False)
class Graph:
    """Nodes in textual order and edges between them; `label` of a region (`then`, `else`)."""

    nodes: list[GraphNode] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    label: str = ""


Sources = dict[GraphNode, str]
"""Nodes that a value comes from, each with the kind of the edge."""


class GraphBuilder:
    """Builds the graph of one program. `tree`: of a lowered program, whose shared prefixes become nodes.

    `names`: of its generates; `served`: identifiers of the calls that begin with the tokens of a fill.
    """

    def __init__(self, program: Op, names: Mapping[Op, CallName], executions: Executions,
                 tree: PrefixTree | None = None, served: Mapping[Op, tuple[str, ...]] | None = None) -> None:
        self._names = names
        self._served = served or {}
        self._executions = executions
        self._tree = tree
        self._sources: dict[Value, Sources] = {}
        self._count = 0
        self.left_out = 0
        self._holds: dict[Op, bool] = {}
        self.graph = self._program(program)

    def _program(self, program: Op) -> Graph:
        graph = Graph()
        region = program.regions[0]
        for parameter in region.parameters:
            if parameter.type != EFFECT:
                node = self._node("input", parameter.name or "input", str(parameter.type))
                graph.nodes.append(node)
                self._sources[parameter] = {node: "data"}
        self._region(region, graph)
        self._outputs(region.terminator, graph)
        used = {edge.source for edge in graph.edges}
        graph.nodes = [node for node in graph.nodes if node.kind != "input" or node in used]
        return graph

    def _outputs(self, terminator: Op, graph: Graph) -> None:
        names = terminator.attributes.get("names") or ()
        objectives = terminator.attributes.get("objective") or ()
        assert isinstance(names, tuple) and isinstance(objectives, tuple)
        for number, (name, operand) in enumerate(zip(names, terminator.operands, strict=False)):
            objective = objectives[number] if number < len(objectives) else None
            node = self._node("output", str(name), print_literal(objective) if isinstance(objective, Word) else "")
            graph.nodes.append(node)
            self._connect(graph, self._sources.get(operand, {}), node)

    def _node(self, kind: str, title: str, detail: str = "", calls: tuple[str, ...] = (),
              op: Op | None = None) -> GraphNode:
        self._count += 1
        return GraphNode(f"n{self._count}", kind, title, detail, calls, op=op)

    # ---- regions ----

    def _region(self, region: Region, graph: Graph) -> None:
        """Add what `region` holds to `graph`."""
        for op in region.ops[:-1]:
            sources = self._inputs(op)
            node = self._node_of(op)
            if node is None:
                for result in op.results:
                    self._sources[result] = sources
                continue
            graph.nodes.append(node)
            if node.kind == "box":
                sources = self._enter(op, node, sources)
            self._connect(graph, sources, node)
            for result in op.results:
                self._sources[result] = {node: "tokens" if holds_context(result.type) else "data"}

    def _enter(self, op: Op, node: GraphNode, sources: Sources) -> Sources:
        """Fill a box; what its inside uses from around it flows into it. Inside, parameters come from nowhere."""
        inside: list[GraphNode] = []
        captured: Sources = dict(sources)
        before = dict(self._sources)
        for number, region in enumerate(op.regions):
            for parameter in region.parameters:
                self._sources[parameter] = {}
            graph = Graph(label=_region_label(op, number))
            self._region(region, graph)
            graph_nodes = set(graph.nodes)
            kept = []
            for edge in graph.edges:
                if edge.source in graph_nodes:
                    kept.append(edge)
                else:
                    captured.setdefault(edge.source, edge.kind)
            graph.edges = kept
            inside += graph.nodes
            if graph.nodes:
                node.inner.append(graph)
        node.calls = tuple(dict.fromkeys(call for inner in inside for call in inner.calls if inner.kind != "prefix"))
        for value in [value for value in self._sources if value not in before]:
            del self._sources[value]
        return captured

    def _node_of(self, op: Op) -> GraphNode | None:
        """The node of an operation; None for one that only hands values on."""
        if not self._is_shown(op):
            return None
        if self._count >= MOST_NODES:
            self.left_out += op.name in GENERATES
            return None
        if op.name in GENERATES:
            name = self._names[op]
            return self._node("call", name.function or name.output, name.output, name.identifiers, op)
        if op.name == "flow.host":
            return self._node("host", op.symbol, "Python", op=op)
        if op.name == "engine.fill":
            assert self._tree is not None
            return self._node("prefix", f"{self._tree.node(op).tokens:.0f} tokens", "", self._served.get(op, ()), op)
        return self._node("box", self._title(op), op=op)

    def _is_shown(self, op: Op) -> bool:
        if op.name in GENERATES or op.name == "flow.host":
            return True
        if op.name == "engine.fill" and self._tree is not None:
            node = self._tree.node(op)
            return node.is_shared and node.tokens >= SHORTEST_PREFIX
        return bool(op.regions) and self._holds_calls(op)

    def _holds_calls(self, op: Op) -> bool:
        if op not in self._holds:
            self._holds[op] = any(
                inner.name in GENERATES or inner.name == "flow.host" or (inner.regions and self._holds_calls(inner))
                for region in op.regions for inner in region.ops)
        return self._holds[op]

    def _title(self, op: Op) -> str:
        if op.name not in LOOPS:
            return {"flow.if": "if", "flow.try": "if it fails"}.get(op.name, op.name)
        words = self._executions.around(op.regions[-1].ops[0])[-1].words
        if op.name == "flow.for":
            return f"side by side × {words}" if words else "side by side"
        return f"one after another × {words}" if words else "one after another"

    # ---- edges ----

    def _inputs(self, op: Op) -> Sources:
        found: Sources = {}
        for arg in op.args:
            self._add(found, arg, op)
        return found

    def _add(self, found: Sources, arg: Arg, op: Op) -> None:
        if isinstance(arg, Value):
            for node, kind in self._sources.get(arg, {}).items():
                # Once its text is put into a prompt, what was a context before is a value like any other.
                found[node] = kind if found.get(node) != "tokens" else "tokens"

    def _connect(self, graph: Graph, sources: Iterable[GraphNode] | Sources, target: GraphNode) -> None:
        kinds = sources if isinstance(sources, dict) else dict.fromkeys(sources, "data")
        graph.edges += [Edge(source, target, kind) for source, kind in kinds.items() if source is not target]


def _region_label(op: Op, number: int) -> str:
    if op.name == "flow.if":
        return ("then", "else")[number]
    if op.name == "flow.loop":
        return ("while", "")[number]
    return ""


def all_nodes(graph: Graph) -> Iterable[GraphNode]:
    """Every node of a graph and of the boxes in it."""
    for node in graph.nodes:
        yield node
        for inner in node.inner:
            yield from all_nodes(inner)
