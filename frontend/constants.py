"""Constant expressions: defaults of parameters, bounds of types, options. They are evaluated while checking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..ir.core import Literal, Table, Value
from ..ir.diagnostics import Diagnostics
from ..ir.source import Span
from ..ir.types import Bool, Enum, Float, Int, List, Map, Option, Record, Text, Type
from . import ast
from .builder import Builder
from .inference import describe
from .symbols import EnumSymbol, FileScope, RecordSymbol, Symbol


class NotConstant(Exception):
    """An expression that is no constant of the wanted type."""

    def __init__(self, span: Span, message: str) -> None:
        self.span = span
        super().__init__(message)


@dataclass
class ConstantEvaluator:
    """Evaluates expressions of one file to IR literals."""

    scope: FileScope

    def evaluate(self, node: ast.Expr, type: Type) -> Literal:
        """The literal of a constant of `type`: records and maps are tables, lists tuples, enum members their names.

        Raises NotConstant.
        """
        if isinstance(node, ast.Unary) and node.operator == "-" and isinstance(node.operand, ast.Literal):
            value = node.operand.value
            if isinstance(value, int | float) and not isinstance(value, bool):
                node = ast.Literal(node.span, -value)
        match type, node:
            case Option(), ast.Literal(value=None):
                return None
            case Option(element), _:
                return self.evaluate(node, element)
            case Text(), ast.TextExpr(parts=parts) if all(isinstance(p, str) for p in parts):
                return "".join(p for p in parts if isinstance(p, str))
            case Bool(), ast.Literal(value=bool(value)):
                return value
            case Int(low, high), ast.Literal(value=int(value)) if not isinstance(value, bool):
                if (low is not None and value < low) or (high is not None and value > high):
                    raise NotConstant(node.span, f"{value} is outside {low}..{high}")
                return value
            case Float(), ast.Literal(value=int(value) | float(value)) if not isinstance(value, bool):
                return float(value)
            case Enum(), ast.Name() | ast.FieldAccess():
                return self._member(node, type)
            case List(element), ast.ListExpr(elements=elements):
                return tuple(self.evaluate(e, element) for e in elements)
            case Map(element), ast.MapExpr(entries=entries):
                return Table(tuple((str(self.evaluate(k, Text())), self.evaluate(v, element)) for k, v in entries))
            case Record(), ast.Call():
                return self._record(node, type)
        raise NotConstant(node.span, self._problem(node, type))

    def _problem(self, node: ast.Expr, type: Type) -> str:
        if isinstance(node, ast.Literal | ast.TextExpr | ast.ListExpr | ast.MapExpr):
            return f"a constant of type {describe(type)} is needed here"
        return f"this is not a constant of type {describe(type)}"

    def symbol(self, node: ast.Expr) -> Symbol | FileScope | None:
        """The declaration that a name or `alias.name` stands for."""
        if isinstance(node, ast.Name):
            return self.scope.names.get(node.name) or self.scope.aliases.get(node.name)
        if isinstance(node, ast.FieldAccess) and isinstance(file := self.symbol(node.base), FileScope):
            return next((s for s in file.own if s.name == node.name and s.kind != "model"), None)
        return None

    def _member(self, node: ast.Name | ast.FieldAccess, enum: Enum) -> str:
        if isinstance(node, ast.FieldAccess):
            symbol = self.symbol(node.base)
            if not isinstance(symbol, EnumSymbol) or symbol.type != enum:
                raise NotConstant(node.span, f"this is not a member of `{enum.name}`")
        if not any(m.name == node.name for m in enum.members):
            raise NotConstant(node.span, f"`{enum.name}` has no member `{node.name}`")
        return node.name

    def _record(self, node: ast.Call, record: Record) -> Literal:
        symbol = self.symbol(node.callee)
        if not isinstance(symbol, RecordSymbol) or symbol.type != record:
            raise NotConstant(node.span, f"this is not a constant of type {describe(record)}")
        given: dict[str, ast.Expr] = {}
        for field, argument in zip(record.fields, node.arguments, strict=False):
            given[argument.name or field.name] = argument.value
        if len(node.arguments) > len(given) or any(record.field(name) is None for name in given):
            raise NotConstant(node.span, f"these are not the fields of {describe(record)}")
        entries: list[tuple[str, Literal]] = []
        for field in record.fields:
            if field.name in given:
                entries.append((field.name, self.evaluate(given[field.name], field.type)))
            elif isinstance(field.type, Option):
                entries.append((field.name, None))
            else:
                raise NotConstant(node.span, f"the field `{field.name}` is missing")
        return Table(tuple(entries))


def evaluate_constant(scope: FileScope, node: ast.Expr, type: Type, purpose: str, diagnostics: Diagnostics,
                      report: Callable[[Span, str], None] | None = None) -> Literal:
    """The literal of a constant expression of `type`; None after an error, which begins with `purpose`."""
    try:
        return ConstantEvaluator(scope).evaluate(node, type)
    except NotConstant as error:
        if report is not None:
            report(error.span, str(error))
        else:
            diagnostics.error("E0314", f"{purpose} must be a constant of type {describe(type)}", error.span, str(error))
        return None


def emit_constant(builder: Builder, literal: Literal, type: Type, span: Span) -> Value:
    """The value of a literal: scalars as constants, everything else built from them."""
    match type, literal:
        case Option(), None:
            return builder.const(None, type, span)
        case Option(element), _:
            return builder.pure("some", [emit_constant(builder, literal, element, span)], type, span)
        case List(element), tuple():
            return builder.pure("list", [emit_constant(builder, e, element, span) for e in literal], type, span)
        case Map(element), Table(entries):
            args: list[Value] = []
            for key, entry in entries:
                args += [builder.const(key, Text(), span), emit_constant(builder, entry, element, span)]
            return builder.pure("map", args, type, span)
        case Record(_, fields), Table(entries):
            values = [emit_constant(builder, v, f.type, span) for f, (_, v) in zip(fields, entries, strict=True)]
            return builder.pure("record", values, type, span)
        case _:
            return builder.const(literal, type, span)
