"""The built-in functions: what they take and give. All are pure and total."""

from __future__ import annotations

from ..ir.builtins.lists import ZIP_FIELDS
from ..ir.core import Literal, Word
from ..ir.types import (
    BOOL,
    FLOAT,
    INT,
    PROMPT,
    TEXT,
    Bool,
    Enum,
    Field,
    Float,
    Int,
    List,
    Map,
    Option,
    Prompt,
    Record,
    Text,
    Type,
    contains,
    strip_bounds,
)
from . import ast
from .arguments import bind_arguments
from .body import Body
from .builtin_signatures import BuiltIn, Signature, fixed, positional, unary, wrong_argument
from .containers import common_type
from .inference import Unknown, Variable
from .options import model_option
from .terms import Term, poison

SIGNATURES = {
    "join": Signature((("xs", List(TEXT)), ("separator", TEXT)), TEXT, 1),
    "split": Signature((("x", TEXT), ("separator", TEXT)), List(TEXT), 1),
    "lines": Signature((("x", TEXT),), List(TEXT)),
    "words": Signature((("x", TEXT),), List(TEXT)),
    "strip": Signature((("x", TEXT), ("characters", TEXT)), TEXT, 1),
    "lower": Signature((("x", TEXT),), TEXT),
    "upper": Signature((("x", TEXT),), TEXT),
    "replace": Signature((("x", TEXT), ("old", TEXT), ("new", TEXT)), TEXT),
    "starts_with": Signature((("x", TEXT), ("start", TEXT)), BOOL),
    "ends_with": Signature((("x", TEXT), ("end", TEXT)), BOOL),
    "parse_int": Signature((("x", TEXT),), Option(INT)),
    "parse_float": Signature((("x", TEXT),), Option(FLOAT)),
}


def _len(body: Body, type: Type) -> Type | None:
    return INT if isinstance(type, List | Map | Text) else None


def _sum(body: Body, type: Type) -> Type | None:
    if isinstance(type, List) and isinstance(type.element, Int | Float):
        return strip_bounds(type.element)
    return None


def _sorted(body: Body, type: Type) -> Type | None:
    is_sortable = isinstance(type, List) and (_is_ordered(type.element) or isinstance(type.element, Bool | Enum))
    return strip_bounds(type) if is_sortable else None


def _is_ordered(type: Type) -> bool:
    return isinstance(type, Int | Float | Text)


def _reverse(body: Body, type: Type) -> Type | None:
    return strip_bounds(type) if isinstance(type, List | Text) else None


def _unique(body: Body, type: Type) -> Type | None:
    return strip_bounds(type) if isinstance(type, List) and not contains(type, (Prompt,)) else None


def _flatten(body: Body, type: Type) -> Type | None:
    return strip_bounds(type.element) if isinstance(type, List) and isinstance(type.element, List) else None


def enumerated_type(element: Type) -> Type:
    """The type of the elements of `enumerate`."""
    return Record(None, (Field("index", INT), Field("value", strip_bounds(element))))


def _enumerate(body: Body, type: Type) -> Type | None:
    return List(enumerated_type(type.element)) if isinstance(type, List) else None


def _json(body: Body, type: Type) -> Type | None:
    return None if contains(type, (Prompt,)) else TEXT


def _keys(body: Body, type: Type) -> Type | None:
    return List(TEXT) if isinstance(type, Map) else None


def _values(body: Body, type: Type) -> Type | None:
    return List(strip_bounds(type.element)) if isinstance(type, Map) else None


def _outcome(body: Body, type: Type) -> Type | None:
    value = type if isinstance(type, Option) else Option(type)
    return Record(None, (Field("ok", BOOL), Field("value", strip_bounds(value)), Field("message", TEXT)))


def _range(body: Body, node: ast.Call, expected: Type | None) -> Term:
    terms = positional(body, node, "range", 1, 3)
    if terms is None:
        return poison()
    spans = [a.value.span for a in node.arguments]
    args = [body.value(body.coerce(t, INT, s, "what `range` takes"), s) for t, s in zip(terms, spans, strict=True)]
    return Term(List(INT), body.builder.pure("range", args, List(INT), node.span))


def _extreme(name: str) -> BuiltIn:
    """`min` and `max`: of a list (none when it is empty), or of several values."""

    def built_in(body: Body, node: ast.Call, expected: Type | None) -> Term:
        terms = positional(body, node, name, 1, None)
        if terms is None or any(isinstance(t.type, Unknown) for t in terms):
            return poison()
        values = [body.value(t, a.value.span) for t, a in zip(terms, node.arguments, strict=True)]
        if len(terms) == 1:
            type = terms[0].type
            if not isinstance(type, List) or not _is_ordered(type.element):
                return wrong_argument(body, node, 0, type, name, "a list of numbers or texts, or several values")
            result = Option(strip_bounds(type.element))
            return Term(result, body.builder.pure(name, values, result, node.span))
        spans = [a.value.span for a in node.arguments]
        common = common_type(body, terms, spans, "argument", None)
        if not _is_ordered(common) and not isinstance(common, Unknown):
            return wrong_argument(body, node, 0, terms[0].type, name, "numbers or texts")
        args = [body.value(body.coerce(t, common, s, "an argument"), s) for t, s in zip(terms, spans, strict=True)]
        return Term(common, body.builder.pure(name, args, common, node.span))

    return built_in


def _zip(body: Body, node: ast.Call, expected: Type | None) -> Term:
    terms = positional(body, node, "zip", 2, len(ZIP_FIELDS))
    if terms is None:
        return poison()
    elements = []
    for number, term in enumerate(terms):
        if isinstance(term.type, Unknown):
            return poison()
        if not isinstance(term.type, List):
            return wrong_argument(body, node, number, term.type, "zip", "lists")
        elements.append(strip_bounds(term.type.element))
    record = Record(None, tuple(Field(n, t) for n, t in zip(ZIP_FIELDS, elements, strict=False)))
    values = [body.value(t, node.span) for t in terms]
    return Term(List(record), body.builder.pure("zip", values, List(record), node.span))


def _contains(body: Body, node: ast.Call, expected: Type | None) -> Term:
    terms = positional(body, node, "contains", 2, 2)
    if terms is None or any(isinstance(t.type, Unknown) for t in terms):
        return poison()
    container, item = terms
    wanted = container.type.element if isinstance(container.type, List) else TEXT
    if not isinstance(container.type, List | Map | Text):
        return wrong_argument(body, node, 0, container.type, "contains", "a text, list or map")
    span = node.arguments[1].value.span
    part = body.value(body.coerce(item, wanted, span, "what `contains` looks for"), span)
    return Term(BOOL, body.builder.pure("contains", [body.value(container, node.span), part], BOOL, node.span))


def _chunk(body: Body, node: ast.Call, expected: Type | None) -> Term:
    bound = bind_arguments(body, node, "chunk", ["x", "tokens", "chars"])
    sizes = [(n, e) for n, e in bound.items() if n > 0]
    if 0 not in bound or len(sizes) != 1:
        return body.error("E0401", "`chunk` needs a text and the size of its parts", node.span,
                          fix="write `chunk(x, tokens = 128)` or `chunk(x, chars = 500)`")
    ((number, size_expression),) = sizes
    unit = ("", "tokens", "chars")[number]
    if number == 1 and not any(a.name == "tokens" for a in node.arguments):
        return body.error("E0401", "the size of `chunk` needs its unit", size_expression.span,
                          fix="write `tokens = …` or `chars = …`")
    x = body.typed(bound[0], TEXT, "`x` of `chunk`")
    size = body.typed(size_expression, INT, f"`{unit}` of `chunk`")
    return Term(List(TEXT), body.builder.pure("chunk", [x, size], List(TEXT), node.span, unit=Word(unit)))


def _parse_json(body: Body, node: ast.Call, expected: Type | None) -> Term:
    terms = positional(body, node, "parse_json", 1, 1)
    if terms is None:
        return poison()
    span = node.arguments[0].value.span
    x = body.value(body.coerce(terms[0], TEXT, span, "what `parse_json` takes"), span)
    wanted = body.inference.resolve(expected) if expected is not None else None
    element = wanted.element if isinstance(wanted, Option) else wanted
    if element is None or isinstance(element, Unknown):
        element = body.inference.fresh(node.span, "what `parse_json` gives")
    result = strip_bounds(Option(element)) if isinstance(element, Variable) else Option(element)
    return Term(result, body.builder.pure("parse_json", [x], result, node.span))


def _chat(body: Body, node: ast.Call, expected: Type | None) -> Term:
    if positional(body, node, "chat", 0, 0) is None:
        return poison()
    attributes: dict[str, Literal] = {}
    for option in node.options:
        if option.name == "model":
            attributes["model"] = model_option(body, option.value) or ""
        else:
            body.error("E0406", f"`chat` has no option `{option.name}`", option.span, fix="its option is `model`")
    return Term(PROMPT, body.builder.emit("prompt.start", [], [PROMPT], node.span, attributes=attributes)[0])


BUILT_INS: dict[str, BuiltIn] = {
    **{name: fixed(name, signature) for name, signature in SIGNATURES.items()},
    "len": unary("len", _len, "a list, map or text"),
    "sum": unary("sum", _sum, "a list of numbers"),
    "sort": unary("sort", _sorted, "a list of numbers, texts, bools or enum members"),
    "reverse": unary("reverse", _reverse, "a list or text"),
    "unique": unary("unique", _unique, "a list"),
    "flatten": unary("flatten", _flatten, "a list of lists"),
    "enumerate": unary("enumerate", _enumerate, "a list"),
    "json": unary("json", _json, "a value that has a text"),
    "keys": unary("keys", _keys, "a map"),
    "values": unary("values", _values, "a map"),
    "outcome": unary("outcome", _outcome, "a value"),
    "contains": _contains,
    "range": _range,
    "min": _extreme("min"),
    "max": _extreme("max"),
    "zip": _zip,
    "chunk": _chunk,
    "parse_json": _parse_json,
    "chat": _chat,
}
"""What elaborates a call of each built-in."""
