"""`hoist-prefixes`: what prompts begin with in common is made once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from ..ir.core import Module, Op, TokenList, Value
from ..ir.definition import Level
from ..ir.source import Location
from ..ir.target import Target, Tokenizer
from ..ir.types import PROMPT
from .base import Pass, Report
from .cost_model import CostModel, cost_model_of
from .prefix_placement import Group, Placement
from .prefix_tree import PrefixForest, PrefixNode
from .rewriting import Replacements
from .scopes import Scope, Scopes
from .shared_tokens import shared_tokens
from .token_text import TokenTexts

FILL_SECONDS = 9e-5
"""What one more context costs the executor and the engine beside its tokens: CPU time, measured on one core."""


@dataclass(frozen=True)
class HoistPrefixes(Pass):
    """Prompts that begin alike become one prompt up to where they part.

    All prompts of a program form prefix trees: one for the empty prompt of each model, and one for each other prompt
    that no append makes (an output's, a parameter's, a branch's). Runs of constant tokens are cut at the first token
    in which two prompts differ, whatever pieces the tokens were written in; a value, a role or a text that the run
    tokenizes is one step, equal only to itself. Each prefix is then made once, as far out as everything that it holds
    is defined: so what is invariant in a map leaves it, two loops share their head with each other and with the code
    around them, and calls of different functions share what these have in common. Out of the branches of a
    `flow.if` comes what both begin with, and what code outside of them uses anyway; the rest stays where it may not
    run (`speculate` lets it leave where several branches have it, or a loop around one). A prompt that goes on from an
    earlier one of a loop or a chat has it as its root, so nothing of it is made twice.

    A cut costs the run one more context. Where that is dearer than the tokens that the cut saves, by the cost model
    of the engine and a guess of eight turns for loops whose turns are not known, the run stays whole; two prompts of
    which one is the beginning of the other are always joined.

    No token changes: a run that is cut is appended in two parts, and what is merged has equal tokens, values and
    roles. An engine's prefix cache finds what only the run can know: equal values, and outputs whose tokens are those
    of a text that is inserted. The report names for each output the constant tokens that one execution of its call
    saves, those that are filled once for all branches and turns included.

    ```before
    sem.program(@Main) |%a: text, %xs: list<text>| {
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, tokens<9 : "Be brief." : [66, 101, 32, 98, 114, 105, 101, 102, 46]>) : prompt
      %2 = prompt.append(%1, %a) : prompt
      %x, %3 = prompt.generate(%2) {output = "x"} : text, prompt
      %ys = flow.for(%xs) |%i: int, %e: text| {
        %4 = prompt.start() : prompt
        %5 = prompt.append(%4, tokens<8 : "Be kind." : [66, 101, 32, 107, 105, 110, 100, 46]>) : prompt
        %6 = prompt.append(%5, %e) : prompt
        %y, %7 = prompt.generate(%6) {output = "y"} : text, prompt
        flow.yield(%y)
      } : list<text>
      sem.return(%x, %ys) {names = ["x", "ys"]}
    }
    ```

    ```after
    sem.program(@Main) |%a: text, %xs: list<text>| {
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, tokens<3 : "Be " : [66, 101, 32]>) : prompt
      %2 = prompt.append(%1, tokens<6 : "brief." : [98, 114, 105, 101, 102, 46]>) : prompt
      %3 = prompt.append(%2, %a) : prompt
      %x, %4 = prompt.generate(%3) {output = "x"} : text, prompt
      %5 = prompt.append(%1, tokens<5 : "kind." : [107, 105, 110, 100, 46]>) : prompt
      %ys = flow.for(%xs) |%i: int, %e: text| {
        %6 = prompt.append(%5, %e) : prompt
        %y, %7 = prompt.generate(%6) {output = "y"} : text, prompt
        flow.yield(%y)
      } : list<text>
      sem.return(%x, %ys) {names = ["x", "ys"]}
    }
    ```

    Both branches begin alike:

    ```before
    sem.program(@Main) |%a: text, %c: bool| {
      %y = flow.if(%c) {
        %0 = prompt.start() : prompt
        %1 = prompt.append(%0, tokens<4 : "Same" : [83, 97, 109, 101]>) : prompt
        %2 = prompt.append(%1, %a) : prompt
        %x, %3 = prompt.generate(%2) {output = "x"} : text, prompt
        flow.yield(%x)
      } else {
        %4 = prompt.start() : prompt
        %5 = prompt.append(%4, tokens<6 : "Same 2" : [83, 97, 109, 101, 32, 50]>) : prompt
        %z, %6 = prompt.generate(%5) {output = "z"} : text, prompt
        flow.yield(%z)
      } : text
      sem.return(%y) {names = ["y"]}
    }
    ```

    ```after
    sem.program(@Main) |%a: text, %c: bool| {
      %0 = prompt.start() : prompt
      %1 = prompt.append(%0, tokens<4 : "Same" : [83, 97, 109, 101]>) : prompt
      %y = flow.if(%c) {
        %2 = prompt.append(%1, %a) : prompt
        %x, %3 = prompt.generate(%2) {output = "x"} : text, prompt
        flow.yield(%x)
      } else {
        %4 = prompt.append(%1, tokens<2 : " 2" : [32, 50]>) : prompt
        %z, %5 = prompt.generate(%4) {output = "z"} : text, prompt
        flow.yield(%z)
      } : text
      sem.return(%y) {names = ["y"]}
    }
    ```
    """

    name: ClassVar[str] = "hoist-prefixes"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.PROMPT})

    min_tokens: int | None = None
    """The fewest tokens that cutting a run of tokens has to save; none for what one more context costs."""
    speculate: bool = False
    """Whether prefixes leave branches that may not run."""

    def run(self, module: Module, target: Target) -> Report:
        """Share every prefix of every program of the module."""
        shared = moved = once = later = 0
        sites: dict[str, int] = {}
        for op in module.ops:
            if op.name != "sem.program":
                continue
            scopes = Scopes(op)
            before = shared_tokens(op, scopes)
            hoisting = _Hoisting(scopes, target, self)
            hoisting.run()
            if not hoisting.shared and not hoisting.moved:
                continue
            shared, moved = shared + hoisting.shared, moved + hoisting.moved
            for call, now in shared_tokens(op).items():
                first, again = now.first - before[call].first, now.later - before[call].later
                once, later = once + first, later + again
                if max(first, again) > 0:
                    site = str(call.location)
                    sites[site] = sites.get(site, 0) + max(first, again)
        return Report(
            f"{shared} prefixes shared and {moved} moved out of loops: {once} tokens saved, and {later} "
            "each further time that the calls run",
            {"shared": shared, "moved": moved, "tokens": once, "later_tokens": later}, sites)


@dataclass(eq=False, slots=True)
class _Instance:
    """A prefix that is made in one place, for everything that continues or uses it there."""

    node: PrefixNode
    group: Group[Op | _Instance]
    first: Op
    """The first operation, in textual order, that the prefix is a part of."""
    reach: int
    """The lowest level that an operation begins at which the prefix is a part of."""
    uses: float
    """How often something continues or uses it, where inner prefixes that do not pay are not made."""
    ends: list[Op] = field(default_factory=list)
    inner: list[_Instance] = field(default_factory=list)

    @property
    def is_cut(self) -> bool:
        """Whether an operation that goes on gives up its beginning."""
        return any(i.reach < self.node.level for i in self.inner)


class _Hoisting:
    """One program on its way: a forest of its prompts, the places of all prefixes, then the operations anew."""

    def __init__(self, scopes: Scopes, target: Target, options: HoistPrefixes) -> None:
        self.shared = 0
        self.moved = 0
        self._target = target
        self._options = options
        # The reference engine stands in for a model, whose costs count and not its own.
        self._costs = CostModel() if target.engine == "reference" else cost_model_of(target)
        self._scopes = scopes
        self._scope_of: dict[Op, Scope] = {}
        self._position: dict[Op, int] = {}
        self._order: dict[Op, int] = {}
        self._begin: dict[Op, PrefixNode] = {}
        self._forest = PrefixForest()
        self._texts = TokenTexts()
        self._replaced = Replacements()
        self._removed: set[Op] = set()
        self._inserted: dict[Scope, dict[int, list[Op]]] = {}

    def run(self) -> None:
        """Share everything."""
        self._collect()
        instances = self._place()
        for key, root in self._forest.roots.items():
            self._emit(key, root, instances)
        self._rebuild()

    def _collect(self) -> None:
        """Put every prompt into the forest."""
        nodes: dict[Value, PrefixNode] = {}
        outermost = self._scopes.all[0]
        scope_of = self._scopes.of_value
        for op, scope, position in self._scopes.places:
            if op.name == "prompt.start":
                before = node = self._forest.root(str(op.attributes.get("model", "")), outermost)
            elif op.name in ("prompt.append", "prompt.role"):
                parent = op.operands[0]
                before = nodes.get(parent) or self._forest.root(parent, scope_of[parent])
                node = self._forest.insert(before, op, scope_of)
            else:
                continue
            nodes[op.result] = node
            node.ends.append(op)
            self._begin[op] = before
            self._order[op] = len(self._order)
            self._scope_of[op], self._position[op] = scope, position

    def _place(self) -> dict[PrefixNode, list[_Instance]]:
        """Where each prefix is made; what continues a prefix before the prefix itself."""
        instances: dict[PrefixNode, list[_Instance]] = {}
        for node in reversed(list(self._forest.nodes())):
            if node.parent is None and not node.ends:
                continue
            uses: list[tuple[Scope, int, Op | _Instance]] = [
                (self._scope_of[op], self._position[op], op) for op in node.ends]
            for child in node.children.values():
                uses += [(i.group.scope, i.group.position, i) for i in instances[child]]
            instances[node] = [self._instance(node, group) for group in self._groups(node, uses)]
        return instances

    def _groups(self, node: PrefixNode, uses: list[tuple[Scope, int, Op | _Instance]]) -> list[Group[Op | _Instance]]:
        home = node.scope
        if len(uses) == 1 and uses[0][0] is home:
            return [Group(home, uses[0][1], [uses[0][2]])]
        if all([scope is home for scope, _, _ in uses]):
            return [Group(home, min([position for _, position, _ in uses]), [user for _, _, user in uses])]
        # The empty prompt costs nothing, so it may stand anywhere.
        speculate = self._options.speculate or node.parent is None
        return Placement[Op | _Instance](node.scope, speculate=speculate).place(uses)

    def _instance(self, node: PrefixNode, group: Group[Op | _Instance]) -> _Instance:
        order = self._order
        if len(group.members) == 1 and isinstance(end := group.members[0], Op):  # nearly all of them
            return _Instance(node, group, end, self._begin[end].level, self._scope_of[end].turns, [end], [])
        ends = sorted((m for m in group.members if isinstance(m, Op)), key=order.__getitem__)
        inner = sorted((m for m in group.members if isinstance(m, _Instance)), key=lambda i: order[i.first])
        first = min([*ends[:1], *(i.first for i in inner[:1])], key=order.__getitem__)
        reach = min([*(self._begin[op].level for op in ends), *(i.reach for i in inner)])
        uses = sum(self._scope_of[op].turns for op in ends) + sum(
            i.group.scope.turns if self._pays(i, i.node.length) else i.uses for i in inner)
        return _Instance(node, group, first, reach, uses, ends, inner)

    def _pays(self, instance: _Instance, length: int) -> bool:
        """Whether a run of `length` tokens is made for several prompts: it is where a prompt ends with it."""
        saved = length * (instance.uses / instance.group.scope.turns - 1.0)
        if instance.ends or self._options.min_tokens is not None:
            return bool(instance.ends) or saved >= max(1, self._options.min_tokens or 0)
        return saved * self._costs.prefill_token >= FILL_SECONDS

    # ---- writing the operations

    def _emit(self, key: Value | str, root: PrefixNode, instances: dict[PrefixNode, list[_Instance]]) -> None:
        """Write the tree of one root, prefixes before what continues them."""
        tokenizer = self._target.model(key if isinstance(key, str) else "").tokenizer
        stack: list[tuple[_Instance, Value | None, TokenList | None]] = []
        if isinstance(key, str):
            stack += [(instance, None, None) for instance in reversed(instances[root])]
        else:
            children = [instance for child in root.children.values() for instance in instances[child]]
            stack += [(instance, key, None) for instance in reversed(children)]
        while stack:
            instance, parent, waiting = stack.pop()
            run = self._run(instance.node, waiting, tokenizer)
            if run is not None and not self._pays(instance, len(run.ids)):
                stack += [(inner, parent, run) for inner in reversed(instance.inner)]
            else:
                made = self._make(instance, parent, run)
                stack += [(inner, made, None) for inner in reversed(instance.inner)]

    def _run(self, node: PrefixNode, waiting: TokenList | None, tokenizer: Tokenizer | None) -> TokenList | None:
        """The tokens of the edge of `node`, after those that no prefix was made of; None for another piece."""
        if node.source is None:
            assert waiting is None, "only runs of tokens are cut"
            return None
        own = self._texts.cut(node.source, node.start, node.stop, tokenizer)
        return own if waiting is None else TokenList(waiting.ids + own.ids, waiting.text + own.text, own.scaffold)

    def _make(self, instance: _Instance, parent: Value | None, run: TokenList | None) -> Value:
        """Write the operation of a prefix; its result stands for all prompts that end there."""
        place = instance.group
        if instance.ends:
            op, *others = instance.ends
            for other in others:
                self._replaced.add(other.result, op.result)
            self._removed.update(others)
            if others:
                op.location = _merged(instance.ends)
            if (self._scope_of[op], self._position[op]) != (place.scope, place.position):
                self._removed.add(op)
                self._insert(place, op)
            is_shared = bool(others) or instance.is_cut
            self.moved += not is_shared and place.scope.loops < self._scope_of[op].loops
        else:
            assert run is not None
            op = Op("prompt.append", [], [Value(PROMPT)], location=_merged(i.first for i in instance.inner))
            self._insert(place, op)
            is_shared = True
        if parent is not None:  # else it is an empty prompt
            self.shared += is_shared
            op.args = [parent, *op.args[1:]]
        if run is not None and not _same_tokens(op, run):
            op.args = [op.args[0], run]
        return op.result

    def _insert(self, place: Group[Op | _Instance], op: Op) -> None:
        self._inserted.setdefault(place.scope, {}).setdefault(place.position, []).append(op)

    def _rebuild(self) -> None:
        """Put every operation in its place and let what was merged stand for the rest."""
        for scope in self._scopes.all:
            inserted = self._inserted.get(scope, {})
            ops: list[Op] = []
            for position, op in enumerate(scope.region.ops):
                ops += inserted.get(position, ())
                if op not in self._removed:
                    ops.append(op)
            scope.region.ops = ops
            for op in ops:
                self._replaced.rewrite(op)


def _same_tokens(op: Op, run: TokenList) -> bool:
    """Whether `op` appends `run`, whatever text is said to stand for it."""
    piece = op.args[1] if len(op.args) > 1 else None
    return isinstance(piece, TokenList) and piece.ids == run.ids and piece.scaffold == run.scaffold


def _merged(ops: Iterable[Op]) -> Location:
    """Every place that operations were written at."""
    return Location(tuple(dict.fromkeys(chain for op in ops for chain in op.location.chains)))
