"""Where a value of one type may stand for another: an int for a float, a `T` for a `T?`. Nothing else converts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir.source import Span
from ..ir.types import FLOAT, Enum, Float, Int, List, Option, Prompt, Record, Text, Type, strip_bounds
from .inference import UNIT, Tuple, Unknown, Variable, describe
from .terms import Term, poison, tuple_term

if TYPE_CHECKING:
    from .body import Body


def coerce(body: Body, term: Term, expected: Type, span: Span, purpose: str) -> Term:
    """`term` as a value of type `expected`; reports an error that begins with `purpose` where it cannot be."""
    actual, expected = body.type_of(term), body.inference.resolve(expected)
    if isinstance(actual, Unknown) or isinstance(expected, Unknown):
        return Term(expected, term.value, term.parts, term.chat, term.logprobs) if term.value else poison()
    if actual == expected:
        return term
    if isinstance(expected, Float) and isinstance(actual, Int):
        return Term(FLOAT, body.builder.pure("to_float", [body.value(term, span)], FLOAT, span))
    if isinstance(expected, Option) and not isinstance(actual, Option | Variable | Tuple) and actual != UNIT:
        inner = coerce(body, term, expected.element, span, purpose)
        if isinstance(body.type_of(inner), Unknown):
            return poison()
        target = strip_bounds(body.inference.resolve(expected))
        return Term(target, body.builder.pure("some", [body.value(inner, span)], target, span))
    if isinstance(expected, Tuple) and isinstance(actual, Tuple) and len(expected.elements) == len(actual.elements):
        return tuple_term([
            coerce(body, part, element, span, f"value {i} of {purpose}")
            for i, ((_, part), element) in enumerate(zip(term.parts or (), expected.elements, strict=True), 1)
        ])
    if actual != UNIT and body.inference.unify(actual, expected):
        return term
    return mismatch(body, actual, expected, span, purpose)


def none_remedy(span: Span) -> str:
    """What to do where something that may be none stands for a value; `span` is that thing's."""
    text = span.source.text[span.start : span.end]
    if text.replace(".", "_").isidentifier():
        return f"give a value for none with `{text} ?? …`, or use it where `if {text} != none` holds"
    shown = text if len(text) <= 30 and "\n" not in text else "…"
    return f"give a value for none with `({shown} ?? …)`, or name it and use it where `if x != none` holds"


def mismatch(body: Body, actual: Type, expected: Type, span: Span, purpose: str) -> Term:
    """Report that `purpose` needs another type, with the likely remedy."""
    fix = None
    code = "E0301"
    found = describe(actual)
    match actual, expected:
        case Option(Variable()), _:
            found = "none"
            fix = f"only a `{describe(expected)}?` can be none"
        case (Option(element), _) if body.inference.unify(element, expected):
            code = "E0307"
            fix = none_remedy(span)
        case (Int() | Float() | Enum(), Text()):
            fix = 'write it into a text: "${…}"'
        case Record(None, fields), _ if fields and not isinstance(expected, Record):
            fix = "choose one of its fields: " + ", ".join(f"`.{f.name}`" for f in fields[:4])
        case List(element), _ if body.inference.unify(element, expected):
            fix = "take an element, or iterate: `for x in xs { … }`"
        case _, List(element) if body.inference.unify(actual, element):
            fix = "write a list of one: `[…]`"
        case (Float(), Int()):
            fix = "use `//` for a division that gives an int"
        case (Text(), Int() | Float()):
            kind = describe(expected)
            fix = f"`parse_{kind}(…)` gives `{kind}?`"
        case (Tuple(), _):
            fix = "take the values apart: `let (a, b) = …`"
        case (_, Prompt()):
            fix = "a chat is the `.chat` of a call, or `chat()`"
    return body.error(code, f"{purpose} must be {describe(expected)}, not {found}", span,
                      f"expected {describe(expected)}, found {found}", fix=fix)
