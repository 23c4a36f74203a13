"""A layered layout for graphs with boxes: sources above targets, few crossings, each box laid out by itself first.

The method is that of Sugiyama, Tagawa and Toda (1981): layers by longest paths, dummies on long edges, barycentre
sweeps for the order in a layer, and positions that pull neighbours together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from .graph import Edge, Graph, GraphNode

CHARACTER = 8.4
"""Width of a character of a title in a wide font, in pixels."""
NODE_HEIGHT = {"call": 46.0, "host": 38.0, "prefix": 24.0, "input": 30.0, "output": 38.0}
LAYER_GAP = 34.0
NODE_GAP = 18.0
PADDING = 14.0
TITLE_HEIGHT = 24.0
WIDEST_LAYER = 7
SWEEPS = 4


@dataclass(eq=False)
class Placed:
    """A node and its rectangle, in pixels; what a box holds is placed relative to the whole drawing."""

    node: GraphNode
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0


@dataclass
class Path:
    """An edge as points from the bottom of its source to the top of its target."""

    edge: Edge
    points: list[tuple[float, float]]


@dataclass
class Label:
    """A word at a place: which branch a part of a box is."""

    text: str
    x: float
    y: float


@dataclass
class Drawing:
    """A graph with places for everything; outer boxes before what they hold."""

    width: float = 0.0
    height: float = 0.0
    placed: list[Placed] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    def shift(self, dx: float, dy: float) -> None:
        """Move everything."""
        for item in self.placed:
            item.x += dx
            item.y += dy
        for path in self.paths:
            path.points = [(x + dx, y + dy) for x, y in path.points]
        for label in self.labels:
            label.x += dx
            label.y += dy


@dataclass(eq=False)
class _Slot:
    """A place in a layer: a node, or a dummy that an edge passes through."""

    placed: Placed | None
    width: float
    height: float
    x: float = 0.0
    above: list[_Slot] = field(default_factory=list)
    below: list[_Slot] = field(default_factory=list)

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def draw(graph: Graph) -> Drawing:
    """The layout of a graph and of everything inside it."""
    inner = {node: _draw_box(node) for node in graph.nodes if node.kind == "box"}
    slots = {node: _slot(node, inner.get(node)) for node in graph.nodes}
    layers, chains = _layers(graph, slots)
    _order(layers)
    _place(layers)
    drawing = Drawing()
    y = 0.0
    tops: dict[_Slot, tuple[float, float]] = {}
    for layer in layers:
        height = max(slot.height for slot in layer)
        for slot in layer:
            top = y + (height - slot.height) / 2 if slot.placed is None or slot.placed.node.kind != "box" else y
            tops[slot] = (top, top + slot.height) if slot.placed else (y, y + height)
            if slot.placed is not None:
                slot.placed.x, slot.placed.y = slot.x, top
                slot.placed.width, slot.placed.height = slot.width, slot.height
                drawing.placed.append(slot.placed)
                box = inner.get(slot.placed.node)
                if box is not None:
                    box.shift(slot.x, top)
                    drawing.placed += box.placed
                    drawing.paths += box.paths
                    drawing.labels += box.labels
        y += height + LAYER_GAP
    drawing.height = max(0.0, y - LAYER_GAP)
    drawing.width = max((slot.x + slot.width for layer in layers for slot in layer), default=0.0)
    for edge, chain in chains:
        points = [(chain[0].middle, tops[chain[0]][1])]
        for slot in chain[1:-1]:
            points += [(slot.middle, tops[slot][0]), (slot.middle, tops[slot][1])]
        points.append((chain[-1].middle, tops[chain[-1]][0]))
        drawing.paths.append(Path(edge, points))
    return drawing


def _draw_box(node: GraphNode) -> Drawing:
    """The inside of a box, with its title above and its regions side by side."""
    whole = Drawing(width=len(node.title) * CHARACTER + 2 * PADDING, height=TITLE_HEIGHT + PADDING)
    parts = [(graph, draw(graph)) for graph in node.inner]
    inside = sum(part.width for _, part in parts) + NODE_GAP * (len(parts) - 1)
    whole.width = max(whole.width, inside + 2 * PADDING)
    x = (whole.width - inside) / 2
    for graph, part in parts:
        label = TITLE_HEIGHT - 6 if graph.label and len(node.inner) > 1 else 0.0
        part.shift(x, TITLE_HEIGHT + PADDING / 2 + label)
        if label:
            whole.labels.append(Label(graph.label, x, TITLE_HEIGHT + PADDING / 2 + 8))
        whole.placed += part.placed
        whole.paths += part.paths
        whole.labels += part.labels
        x += part.width + NODE_GAP
        whole.height = max(whole.height, TITLE_HEIGHT + PADDING * 1.5 + label + part.height)
    return whole


def _slot(node: GraphNode, inner: Drawing | None) -> _Slot:
    if inner is not None:
        return _Slot(Placed(node), inner.width, inner.height)
    longest = max(len(node.title), (len(node.detail) + 2) * 0.85)
    return _Slot(Placed(node), max(64.0, longest * CHARACTER + 26), NODE_HEIGHT[node.kind])


def _layers(graph: Graph, slots: dict[GraphNode, _Slot]) -> tuple[list[list[_Slot]], list[tuple[Edge, list[_Slot]]]]:
    """Layers of slots with dummies, and the slots that each edge passes."""
    incoming: dict[GraphNode, list[GraphNode]] = {}
    for edge in graph.edges:
        incoming.setdefault(edge.target, []).append(edge.source)
    rank: dict[GraphNode, int] = {}
    for node in graph.nodes:  # in textual order, so sources come first
        rank[node] = max((rank[source] + 1 for source in incoming.get(node, ()) if source in rank), default=0)
    rows = _wrapped(graph.nodes, rank)
    layers: list[list[_Slot]] = [[] for _ in range(max(rows.values(), default=-1) + 1)]
    for node in graph.nodes:
        layers[rows[node]].append(slots[node])
    chains = []
    for edge in graph.edges:
        chain = [slots[edge.source]]
        for row in range(rows[edge.source] + 1, rows[edge.target]):
            dummy = _Slot(None, 4.0, 0.0)
            layers[row].append(dummy)
            chain.append(dummy)
        chain.append(slots[edge.target])
        for above, below in pairwise(chain):
            above.below.append(below)
            below.above.append(above)
        chains.append((edge, chain))
    return [layer for layer in layers if layer], chains


def _wrapped(nodes: list[GraphNode], rank: dict[GraphNode, int]) -> dict[GraphNode, int]:
    """The row of each node: a rank with many nodes takes several rows."""
    by_rank: dict[int, list[GraphNode]] = {}
    for node in nodes:
        by_rank.setdefault(rank[node], []).append(node)
    rows: dict[GraphNode, int] = {}
    row = 0
    for _, members in sorted(by_rank.items()):
        for number, node in enumerate(members):
            rows[node] = row + number // WIDEST_LAYER
        row += (len(members) - 1) // WIDEST_LAYER + 1
    return rows


def _order(layers: list[list[_Slot]]) -> None:
    """Sort each layer by the mean place of its neighbours, down and up a few times."""
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            place = {slot: float(number) for other in layers for number, slot in enumerate(other)}
            keys = {}
            for slot in layer:
                near = slot.above if down else slot.below
                keys[slot] = sum(place[n] for n in near) / len(near) if near else place[slot]
            layer.sort(key=lambda slot: keys[slot])


def _place(layers: list[list[_Slot]]) -> None:
    """Give x to every slot: near the middle of its neighbours, without overlaps."""
    for layer in layers:
        x = 0.0
        for slot in layer:
            slot.x = x
            x += slot.width + NODE_GAP
    widest = max((layer[-1].x + layer[-1].width for layer in layers), default=0.0)
    for layer in layers:
        offset = (widest - layer[-1].x - layer[-1].width) / 2
        for slot in layer:
            slot.x += offset
    for sweep in range(2 * SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            for slot in layer:
                near = slot.above + slot.below if sweep > 1 else slot.above if sweep == 0 else slot.below
                if near:
                    slot.x = sum(n.middle for n in near) / len(near) - slot.width / 2
            _separate(layer)
    left = min((slot.x for layer in layers for slot in layer), default=0.0)
    for layer in layers:
        for slot in layer:
            slot.x -= left


def _separate(layer: list[_Slot]) -> None:
    """Push overlapping slots apart, half to the left and half to the right."""
    wanted = sum(slot.middle for slot in layer) / len(layer)
    for left, right in pairwise(layer):
        right.x = max(right.x, left.x + left.width + NODE_GAP)
    shift = wanted - sum(slot.middle for slot in layer) / len(layer)
    for slot in layer:
        slot.x += shift
