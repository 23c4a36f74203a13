"""`flow.if`: two branches, their common type, and the effect through both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ir.core import Region, Value
from ..ir.source import Span
from ..ir.types import EFFECT, Type, strip_bounds
from . import ast
from .body import Body
from .inference import UNIT, UNKNOWN, Tuple, Unit, Unknown, describe
from .terms import NOTHING, Term, poison, tuple_term

Producer = Callable[[Type | None], Term]
"""Elaborates a branch; takes the type that is expected of it, which for a second branch may be the first one's."""


def branch(body: Body, condition: Value, span: Span, then: Producer, otherwise: Producer, *,
           expected: Type | None = None, known: Sequence[ast.Expr] = (),
           otherwise_known: Sequence[ast.Expr] = (), spans: tuple[Span, Span] | None = None) -> Term:
    """`then` where `condition` holds, else `otherwise`, each in a region of its own.

    `known` and `otherwise_known` are the options that hold a value in each; `spans` are the branches' for messages.
    """
    builder = body.builder
    before = builder.effect
    regions, terms, effects = [Region(), Region()], [], []
    hint = expected
    for region, produce, facts in zip(regions, (then, otherwise), (known, otherwise_known), strict=True):
        builder.effect = before
        with builder.inside(region), body.narrowing(region, facts):
            terms.append(produce(hint))
        effects.append(builder.effect)
        hint = expected if expected is not None else body.type_of(terms[0])
    type = _common(body, terms, expected, spans or (span, span))
    places = spans or (span, span)
    yields = [_yielded(body, r, t, type, s) for r, t, s in zip(regions, terms, places, strict=True)]
    args, types = [condition], _flat(type)
    if before is not None and any(effect is not before for effect in effects):
        args.append(before)
        types = [*types, EFFECT]
        for values, effect in zip(yields, effects, strict=True):
            values.append(effect or before)
    for region, values in zip(regions, yields, strict=True):
        builder.finish(region, values, span)
    results = builder.emit("flow.if", args, types, span, regions=regions)
    builder.effect = results[-1] if len(args) == 2 else before
    return results_term(body.inference.resolve(type), results)


def results_term(type: Type, results: Sequence[Value]) -> Term:
    """The results of an operation as one term of `type`."""
    match type:
        case Unit():
            return NOTHING
        case Tuple(elements):
            return tuple_term([Term(t, v) for t, v in zip(elements, results, strict=False)])
        case Unknown():
            return poison()
        case _:
            return Term(type, results[0])


def _flat(type: Type) -> list[Type]:
    if type == UNIT:
        return []
    return list(type.elements) if isinstance(type, Tuple) else [type]


def _common(body: Body, terms: Sequence[Term], expected: Type | None, spans: tuple[Span, Span]) -> Type:
    """The type of both branches; nothing where no value is wanted."""
    if expected == UNIT:
        return UNIT
    left, right = (body.type_of(t) for t in terms)
    joined = body.inference.join(left, right)
    if joined is not None:
        return joined if isinstance(joined, Tuple) else strip_bounds(joined)
    wanted = body.inference.resolve(expected) if expected is not None else None
    if wanted is not None and not isinstance(wanted, Unknown):
        return wanted
    if UNIT in (left, right):
        body.error("E0604", "this has no value in one of its branches", spans[1 if right == UNIT else 0],
                   "no value here", fix="end both branches with a value; an `else if` needs an `else` at its end")
        return UNKNOWN
    body.error("E0303", f"the branches give {describe(left)} and {describe(right)}", spans[1],
               f"expected {describe(left)}, found {describe(right)}", fix="make both branches give the same type")
    return UNKNOWN


def _yielded(body: Body, region: Region, term: Term, type: Type, span: Span) -> list[Value]:
    """The values that a branch yields, converted to `type` inside its region."""
    if type == UNIT or isinstance(type, Unknown):
        return [] if type == UNIT else [Value(UNKNOWN)]
    with body.builder.inside(region):
        term = body.coerce(term, type, span, "the branch")
        if isinstance(type, Tuple):
            parts = term.parts or tuple(("", poison()) for _ in type.elements)
            return [body.value(part, span) for _, part in parts]
        return [body.value(term, span)]
