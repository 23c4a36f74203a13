"""The LALR driver: tokens of one declaration or tag to its tree, with recovery from syntax errors."""

from __future__ import annotations

from typing import Any

from ..ir.diagnostics import Diagnostics
from ..ir.source import SourceFile, Span
from .concrete_tree import ConcreteNode
from .grammar_table import Rule, load_table
from .layout import Chunk
from .syntax_errors import report_syntax_error
from .tokens import CONTEXTUAL_WORDS, Token
from .tree_builder import TreeBuilder

MAX_DEPTH = 200
"""Deepest syntax tree: what walks it by recursion stays within Python's limit."""
MAX_STACK = 12 * MAX_DEPTH
"""Most values on the stack: a level of the tree needs fewer than 12."""
GROWS = (0, True, 0)
"""The first child of a list: the list so far."""


class LalrParser:
    """An LALR(1) parser with yacc's recovery: the innermost list that takes an ERROR goes on behind it.

    The stacks run in parallel: `states` has one entry more than `values`, `firsts` and `afters` (the tokens
    `firsts[i]` to `afters[i]` make value i) and `depths` (how deep value i's tree is). The tree is of `ast`, or with
    `is_concrete` of `ConcreteNode`s.
    """

    def __init__(self, source: SourceFile, diagnostics: Diagnostics, chunk: Chunk, is_concrete: bool = False) -> None:
        self.source = source
        self.diagnostics = diagnostics
        self.tokens = chunk.tokens
        self.brackets = chunk.depths
        self.table = load_table()
        self.builder = None if is_concrete else TreeBuilder(source, diagnostics)
        self.states: list[int] = []
        self.values: list[Any] = []
        self.firsts: list[int] = []
        self.afters: list[int] = []
        self.depths: list[int] = []

    def parse(self, start: str) -> Any:
        """The value of the start symbol, or None after errors, which are reported."""
        rows, states, tokens = self.table.rows, self.states, self.tokens
        states.append(self.table.start[start])
        passed_origins = self.table.passed_origins
        has_errors = False
        position = 0
        while True:
            token = tokens[position]
            kind = token.kind
            if kind == "NAME" and token.text in CONTEXTUAL_WORDS and token.text in rows[states[-1]]:
                kind = token.text
            action = rows[states[-1]].get(kind)
            states_before = states.copy() if action is not None and action < 0 else states
            while action is not None and action < 0:
                origin = passed_origins[-1 - action]
                if origin is not None:
                    states[-1] = rows[states[-2]][origin]
                elif not self._reduce(self.table.rules[-1 - action], position):
                    return None
                action = rows[states[-1]].get(kind)
            if action is None:
                has_errors = True
                if kind != "BROKEN":
                    report_syntax_error(self.source, self.diagnostics, self.table, states_before, tokens, position)
                recovered = self._recover(position)
                if recovered is None:
                    return None
                position = recovered
            elif kind == "$END":
                return None if has_errors else self.values[-1]
            else:
                self._shift(action, token, position, position + 1)
                position += 1
                if len(states) > MAX_STACK:
                    self._report_depth(self._span(position - 1, position))
                    return None

    def _shift(self, state: int, value: Any, first: int, after: int, depth: int = 0) -> None:
        self.states.append(state)
        self.values.append(value)
        self.firsts.append(first)
        self.afters.append(after)
        self.depths.append(depth)

    def _pop(self, count: int) -> None:
        del self.states[-count:], self.values[-count:], self.firsts[-count:], self.afters[-count:], self.depths[-count:]

    def _report_depth(self, span: Span) -> None:
        self.diagnostics.error("E0022", f"the code is nested more than {MAX_DEPTH} deep", span,
                               fix="name the inner part with `let`")

    def _reduce(self, rule: Rule, position: int) -> bool:
        """Replace the children on the stack by their parent; False (reported) if the tree gets too deep."""
        size = rule.size
        bottom = len(self.values) - size
        children = self._children(rule, bottom)
        first, after, depth = position, position, 0
        if size:
            first, after, depth = self.firsts[bottom], self.afters[-1], max(self.depths[bottom:])
            self._pop(size)
        value: Any = children
        if rule.passes_single_child and len(children) == 1:
            value = children[0]
        elif not rule.is_list:
            depth += 1
            span = self._span(first, after)
            if depth > MAX_DEPTH:
                self._report_depth(span)
                return False
            if self.builder is None:
                value = ConcreteNode(rule.action, children)
            else:
                value = getattr(self.builder, rule.action)(span, children)
        self._shift(self.table.rows[self.states[-1]][rule.origin], value, first, after, depth)
        return True

    def _children(self, rule: Rule, bottom: int) -> list[Any]:
        """The values from `bottom` on that the parent keeps."""
        values = self.values[bottom:] if rule.size else []
        children: list[Any] = []
        kept = rule.kept
        if rule.is_list and kept and kept[0] == GROWS and isinstance(values[0], list):
            # A list that grows by an element is the same list: nothing else holds it, and copies take quadratic time.
            children, kept = values[0], kept[1:]
        if self.builder is None:
            for value in values[len(rule.kept) - len(kept) :]:
                if isinstance(value, list):
                    children += value
                else:
                    children.append(value)
            return children
        for index, is_list, nones in kept:
            if nones:
                children += [None] * nones
            if is_list:
                children += values[index]
            else:
                children.append(values[index])
        if rule.nones_after:
            children += [None] * rule.nones_after
        return children

    def _span(self, first: int, after: int) -> Span:
        start = self.tokens[first].start
        return Span(self.source, start, self.tokens[after - 1].end if after > first else start)

    def _recover(self, position: int) -> int | None:
        """Cut the stack back to a list that takes an ERROR; gives the token behind the ERROR, None if no list does."""
        rows, tokens = self.table.rows, self.tokens
        while self.states:
            state = rows[self.states[-1]].get("ERROR", -1)
            first = self.afters[-1] if self.afters else 0
            if state >= 0:
                after = position
                while tokens[after].kind != "$END" and not self._ends_error(after, self.brackets[first], rows[state]):
                    after += 1
                if after > first:
                    self._shift(state, Token("ERROR", "", tokens[first].start, tokens[after - 1].end), first, after)
                    return after if tokens[after].kind in rows[state] else None
            if not self.values:
                return None
            self._pop(1)
        return None

    def _ends_error(self, position: int, brackets: int, row: dict[str, int]) -> bool:
        """Whether an ERROR inside `brackets` brackets ends before this token."""
        here, kind = self.brackets[position], self.tokens[position].kind
        return here < brackets or (here == brackets and kind in row and kind not in (")", "]", "}"))
