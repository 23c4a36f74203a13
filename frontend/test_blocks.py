"""`test` blocks: each becomes a program whose outputs are its assertions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.core import Literal, Op, Region, Symbol, Value, Word
from ..ir.diagnostics import Diagnostics, Label
from ..ir.source import Location, Span
from ..ir.types import BOOL, EFFECT, Prompt, contains
from . import ast
from .body import Body
from .call_graph import called_functions, has_effects
from .calls import engine_name
from .inference import Unknown
from .programs import number_calls
from .symbols import FileScope, FunctionSymbol

_SHOWN_OPERATORS = {"eq", "ne", "lt", "le", "gt", "ge", "in", "contains"}


@dataclass(frozen=True)
class Assertion:
    """One `assert`: `output` is the name of the bool output of the test's program that says whether it holds.

    `left` and `right` are the outputs that hold the two sides of a comparison, None where it is none.
    """

    output: str
    text: str
    """The condition as it is written."""
    span: Span
    left: str | None = None
    right: str | None = None


@dataclass(frozen=True)
class LoweredTest:
    """A test as a program without parameters, and what it calls."""

    name: str
    span: Span
    op: Op
    assertions: tuple[Assertion, ...]
    engine: str | None
    """What `with engine …` says."""
    callees: tuple[FunctionSymbol, ...]


def report_same_names(blocks: Sequence[ast.TestDecl], diagnostics: Diagnostics) -> None:
    """The tests of a file have different names."""
    seen: dict[str, Span] = {}
    for node in blocks:
        if node.name in seen:
            diagnostics.error("E0901", f"there are two tests \"{node.name}\"", _first_line(node.span),
                              labels=[Label(_first_line(seen[node.name]), "the first one")], fix="rename one of them")
        seen[node.name] = node.span


def lower_test(node: ast.TestDecl, scope: FileScope, number: int, diagnostics: Diagnostics) -> LoweredTest:
    """The program of a test; its body is checked on the way."""
    callees = tuple(function for function, _ in called_functions(scope, node.body))
    effect = Value(EFFECT, "effect") if has_effects(callees) else None
    body = Body(scope, diagnostics, effect=effect)
    body.run_options = {}
    region = Region([effect] if effect is not None else [])
    assertions: list[Assertion] = []
    outputs: dict[str, Value] = {}
    with body.builder.inside(region), body.new_scope():
        for statement in node.body:
            if isinstance(statement, ast.Return):
                body.error("E0609", "a test returns nothing", statement.span, fix="assert what should hold")
            elif isinstance(statement, ast.Assert):
                assertions.append(_assertion(body, statement, len(assertions) + 1, outputs))
            else:
                body.statement(statement)
        effects = [] if body.builder.effect is None else [body.builder.effect]
        attributes: dict[str, Literal] = {
            "names": tuple(outputs), "objective": tuple(Word("throughput") for _ in outputs)}
        body.builder.emit("sem.return", [*outputs.values(), *effects], [], node.span, attributes=attributes)
    body.settle(region)
    number_calls(region)
    if not assertions:
        diagnostics.warning("W0109", f"the test \"{node.name}\" asserts nothing", _first_line(node.span),
                            fix="add what should hold: `assert r != \"\"`")
    op = Op("sem.program", [Symbol(f"test {number}: {node.name}")], [], {}, [region], Location.of(node.span))
    engine = body.run_options.get("engine")
    return LoweredTest(node.name, node.span, op, tuple(assertions), engine_name(engine.value) if engine else None,
                       callees)


def _first_line(span: Span) -> Span:
    end = span.source.text.find("\n", span.start, span.end)
    return span if end < 0 else Span(span.source, span.start, end)


def _assertion(body: Body, node: ast.Assert, number: int, outputs: dict[str, Value]) -> Assertion:
    name = f"assert {number}"
    holds = body.typed(node.condition, BOOL, "what `assert` takes")
    outputs[name] = holds
    span = node.condition.span
    text = span.source.text[span.start : span.end]
    comparison = body.builder.region.ops[-1] if body.builder.region.ops else None
    if comparison is None or holds not in comparison.results or comparison.name != "flow.pure" \
            or comparison.symbol not in _SHOWN_OPERATORS:
        return Assertion(name, text, span)
    left, right = comparison.operands
    if any(isinstance(v.type, Unknown) or contains(v.type, (Prompt,)) for v in (left, right)):
        return Assertion(name, text, span)
    outputs[f"{name} left"], outputs[f"{name} right"] = left, right
    return Assertion(name, text, span, f"{name} left", f"{name} right")
