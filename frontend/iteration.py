"""What `for`, `fold`, comprehensions and `{{for}}` iterate over, and the names that they bind."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir.core import Value
from ..ir.source import Span
from ..ir.types import INT, TEXT, List, Map, Option, Type, strip_bounds
from . import ast
from .body import Body
from .coercion import none_remedy
from .inference import UNKNOWN, Unknown, describe
from .symbols import FunctionSymbol
from .terms import Term


@dataclass
class Iteration:
    """The lists to iterate over together; `bindings[i]` is the list whose element the i-th name is, -1 the index."""

    lists: list[Value]
    elements: list[Type]
    target: ast.Target
    bindings: list[int] = field(default_factory=list)

    def bind(self, body: Body, index: Value, elements: list[Value]) -> None:
        """Define the names in the open scope."""
        for name, span, which in zip(self.target.names, self.target.name_spans, self.bindings, strict=True):
            value = index if which < 0 else elements[which]
            body.define(name, span, Term(value.type, value), "iteration variable")

    def parameters(self) -> list[Value]:
        """Fresh values for the elements, named as the target names them."""
        names = {which: n for n, which in zip(self.target.names, self.bindings, strict=True)}
        return [Value(t, names.get(i, "")) for i, t in enumerate(self.elements)]

    def index(self) -> Value:
        """A fresh value for the index, named as the target names it."""
        names = {which: n for n, which in zip(self.target.names, self.bindings, strict=True)}
        return Value(INT, names.get(-1, ""))


def iterate(body: Body, target: ast.Target, iterable: ast.Expr) -> Iteration:
    """Elaborate what is iterated over; after an error the names have unknown types."""
    lists = _zipped(body, target, iterable)
    if lists is None:
        return _over_value(body, target, body.operand(iterable), iterable.span)
    count = len(lists)
    if len(target.names) not in (count, count + 1):
        return _over_value(body, target, body.operand(iterable), iterable.span)
    terms = [body.operand(e) for e in lists]
    for term, expression in zip(terms, lists, strict=True):
        if not isinstance(term.type, List | Unknown):
            body.error("E0301", f"`zip` takes lists, not {describe(term.type)}", expression.span)
    elements = [strip_bounds(t.type.element) if isinstance(t.type, List) else UNKNOWN for t in terms]
    bindings = list(range(count)) if len(target.names) == count else [-1, *range(count)]
    return Iteration([body.value(t, iterable.span) for t in terms], elements, target, bindings)


def _zipped(body: Body, target: ast.Target, iterable: ast.Expr) -> list[ast.Expr] | None:
    """The arguments where the built-in `zip` (or `enumerate`) is called; None for other expressions."""
    if not isinstance(iterable, ast.Call) or not isinstance(iterable.callee, ast.Name) or iterable.options:
        return None
    name = iterable.callee.name
    if name not in ("zip", "enumerate") or isinstance(body.scope.names.get(name), FunctionSymbol):
        return None
    arguments = [a.value for a in iterable.arguments]
    if any(a.name is not None for a in iterable.arguments) or len(arguments) < (2 if name == "zip" else 1):
        return None
    if name == "enumerate" and (len(arguments) != 1 or len(target.names) != 2):
        return None
    return arguments


def _over_value(body: Body, target: ast.Target, term: Term, span: Span) -> Iteration:
    count = len(target.names)
    value = body.value(term, span)
    match term.type:
        case List(element) if count <= 2:
            return Iteration([value], [strip_bounds(element)], target, [0] if count == 1 else [-1, 0])
        case Map(element) if count <= 2:
            keys = body.builder.pure("keys", [value], List(TEXT), span)
            if count == 1:
                return Iteration([keys], [TEXT], target, [0])
            element = strip_bounds(element)
            values = body.builder.pure("values", [value], List(element), span)
            return Iteration([keys, values], [TEXT, element], target, [0, 1])
        case List() | Map():
            fix = "two names are index and element" if isinstance(term.type, List) else "two names are key and value"
            body.error("E0606", f"{count} names for what has one value at a time", target.span, fix=fix)
        case Unknown():
            pass
        case _:
            remedies = {"text": "iterate over its `words(…)` or `lines(…)`", "int": "iterate over `range(…)`"}
            body.error("E0605", f"a value of type {describe(term.type)} cannot be iterated over", span,
                       fix=none_remedy(span) if isinstance(term.type, Option) else remedies.get(describe(term.type)))
    return Iteration([Value(UNKNOWN)], [UNKNOWN], target, [0] * count)
