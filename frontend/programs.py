"""Programs: their statements, what they return, and the ordinals of their calls."""

from __future__ import annotations

from ..ir.core import Literal, Op, Region, Symbol, Table, Value, Word, walk
from ..ir.diagnostics import Diagnostics
from ..ir.source import Location, Span
from ..ir.types import EFFECT
from . import ast
from .arguments import default_literal
from .body import Body
from .inference import UNKNOWN, Tuple, Unknown
from .symbols import ProgramSymbol
from .terms import Term


def lower_program(symbol: ProgramSymbol, diagnostics: Diagnostics) -> Op:
    """The `sem.program` of a program; its body is checked on the way."""
    declaration = symbol.declaration
    assert declaration is not None
    effect = Value(EFFECT, "effect") if symbol.effectful else None
    body = Body(symbol.scope, diagnostics, effect=effect)
    region = Region()
    with body.builder.inside(region), body.new_scope():
        for parameter in symbol.parameters:
            value = Value(parameter.type, parameter.name)
            region.parameters.append(value)
            body.define(parameter.name, parameter.span, Term(parameter.type, value), "parameter",
                        unused_warning=f"`{parameter.name}` is never used")
        if effect is not None:
            region.parameters.append(effect)
        _statements(body, symbol, declaration)
    body.settle(region)
    number_calls(region)
    defaults = tuple((p.name, default_literal(p, symbol.scope, Diagnostics())) for p in symbol.parameters if p.optional)
    attributes: dict[str, Literal] = {"defaults": Table(defaults)} if defaults else {}
    return Op("sem.program", [Symbol(symbol.ir_name)], [], attributes, [region], Location.of(declaration.span))


def _statements(body: Body, symbol: ProgramSymbol, declaration: ast.ProgramDecl) -> None:
    returned = False
    for statement in declaration.body:
        if returned:
            body.error("E0611", "this comes after the `return`", statement.span, "never reached",
                       fix="`return` is the last statement")
            break
        if isinstance(statement, ast.Return):
            returned = True
            _return(body, symbol, statement)
        else:
            body.statement(statement)
    if returned:
        return
    if symbol.outputs:
        names = ", ".join(f"`{o.name}`" for o in symbol.outputs)
        body.error("E0612", f"`{symbol.name}` does not return {names}", declaration.name_span,
                   fix=f"end it with `return {', '.join(o.name for o in symbol.outputs)}`")
    _emit_return(body, symbol, [], [], declaration.span)


def _return(body: Body, symbol: ProgramSymbol, node: ast.Return) -> None:
    """`return` is positional: one value for each output, or one that holds them all."""
    outputs = symbol.outputs
    _check_objectives(body, node)
    if len(node.values) == 1 and len(outputs) > 1:
        values, objectives = _unpacked(body, symbol, node), [node.values[0].objective] * len(outputs)
    elif len(node.values) != len(outputs):
        count = len(outputs)
        body.error("E0613", f"`{symbol.name}` has {count} output{'' if count == 1 else 's'}, "
                   f"{len(node.values)} {'is' if len(node.values) == 1 else 'are'} returned", node.span,
                   "one value for each: " + ", ".join(f"`{o.name}`" for o in outputs))
        for returned in node.values:
            body.expression(returned.value)
        return
    else:
        values = [
            body.typed(returned.value, output.type, f"the output `{output.name}`")
            for returned, output in zip(node.values, outputs, strict=True)
        ]
        objectives = [returned.objective for returned in node.values]
    _emit_return(body, symbol, values, objectives, node.span)


def _unpacked(body: Body, symbol: ProgramSymbol, node: ast.Return) -> list[Value]:
    """The outputs from one expression with as many values."""
    expression = node.values[0].value
    outputs = symbol.outputs
    term = body.expression(expression, Tuple(tuple(o.type for o in outputs)))
    parts = [part for _, part in term.parts or ()]
    if isinstance(body.type_of(term), Unknown):
        return [Value(UNKNOWN) for _ in outputs]
    if len(parts) != len(outputs):
        body.error("E0613", f"`{symbol.name}` has {len(outputs)} outputs, {max(1, len(parts))} returned", node.span,
                   "one value for each: " + ", ".join(f"`{o.name}`" for o in outputs))
        return [Value(UNKNOWN) for _ in outputs]
    span = expression.span
    return [
        body.value(body.coerce(part, output.type, span, f"the output `{output.name}`"), span)
        for part, output in zip(parts, outputs, strict=True)
    ]


def _emit_return(body: Body, symbol: ProgramSymbol, values: list[Value], objectives: list[ast.Objective | None],
                 span: Span) -> None:
    effect = body.builder.effect
    body.builder.emit(
        "sem.return", [*values, *([effect] if effect is not None else [])], [], span,
        attributes={"names": tuple(o.name for o in symbol.outputs[: len(values)]),
                    "objective": tuple(map(_objective, objectives))})


def _check_objectives(body: Body, node: ast.Return) -> None:
    for returned in node.values:
        objective = returned.objective
        if objective is not None and objective.seconds is not None and objective.seconds <= 0:
            body.error("E0614", "a deadline is longer than no time", objective.span, fix="write `@ deadline(2s)`")


def _objective(objective: ast.Objective | None) -> Word:
    if objective is None:
        return Word("throughput")
    return Word(objective.name, () if objective.seconds is None else (float(objective.seconds),))


def number_calls(region: Region) -> None:
    """Number the calls of a body in source order; until now their ordinals are their offsets in the file."""
    calls = [op for op in walk(region.ops) if op.name == "sem.call"]
    calls.sort(key=_offset)
    for number, op in enumerate(calls):
        op.attributes["ordinal"] = number


def _offset(op: Op) -> int:
    offset = op.attributes["ordinal"]
    assert isinstance(offset, int)
    return offset
