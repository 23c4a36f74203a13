"""`for`, comprehensions, `fold` and `loop`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..ir.core import Arg, Literal, Region, Value
from ..ir.source import Span
from ..ir.types import BOOL, EFFECT, INT, List, Type, strip_bounds
from . import ast
from .body import Body
from .constants import ConstantEvaluator, NotConstant
from .control_flow import block, block_contents
from .growth import warn_of_growing_texts
from .inference import UNIT, UNKNOWN, Tuple, Unknown
from .iteration import Iteration, iterate
from .narrowing import known_where
from .terms import NOTHING, Term, poison, record_term, tuple_term


def for_each(body: Body, node: ast.For, expected: Type | None) -> Term:
    """`for x in xs { … }`: a list of what each body gives."""
    iteration = iterate(body, node.target, node.iterable)
    attributes: dict[str, Literal] = {"unordered": True} if node.unordered else {}
    hint: Type | None = UNIT if expected == UNIT else None
    wanted = body.inference.resolve(expected) if expected is not None else None
    if isinstance(wanted, List):
        hint = wanted.element
    elif isinstance(wanted, Tuple):
        hint = Tuple(tuple(e.element if isinstance(e, List) else UNKNOWN for e in wanted.elements))

    def element(index: Value, elements: list[Value]) -> Term:
        iteration.bind(body, index, elements)
        return block(body, node.body, hint)

    return mapped(body, node, iteration, element, hint, attributes)


Produce = Callable[[Value, list[Value]], Term]
"""Elaborates the body of a map from its index and elements."""


def mapped(body: Body, node: ast.Expr, iteration: Iteration, produce: Produce, hint: Type | None,
           attributes: dict[str, Literal], *, index: Value | None = None, facts: Sequence[ast.Expr] = ()) -> Term:
    """`flow.for` over the lists of `iteration`; `produce(index, elements)` elaborates the body.

    `index` None takes the position for the index of calls; else it is among the elements.
    """
    builder = body.builder
    before = builder.effect
    position = iteration.index()
    elements = iteration.parameters()
    inner = Value(EFFECT, "effect") if before is not None else None
    region = Region([position, *elements])
    builder.effect = inner
    body.indices.append(elements[-1] if index is not None else position)
    with builder.inside(region), body.new_scope():
        term = produce(position, elements)
        type = UNIT if hint == UNIT else body.type_of(term)
        values = _flat_values(body, term, type, node.span)
        builder.finish(region, values, node.span)
    body.indices.pop()
    args: list[Arg] = [*iteration.lists]
    types: list[Type] = [List(strip_bounds(v.type)) for v in values]
    has_effect = inner is not None and builder.effect is not inner
    if has_effect and before is not None and inner is not None and builder.effect is not None:
        region.parameters.append(inner)
        region.terminator.args.append(builder.effect)
        args.append(before)
        types.append(EFFECT)
    results = builder.emit("flow.for", args, types, node.span, attributes=attributes, regions=[region])
    builder.effect = results[-1] if has_effect else before
    if isinstance(type, Tuple):
        return tuple_term([Term(v.type, v) for v in results[: len(type.elements)]])
    if isinstance(type, Unknown):
        return poison()
    return NOTHING if type == UNIT else Term(results[0].type, results[0])


def _flat_values(body: Body, term: Term, type: Type, span: Span) -> list[Value]:
    if type == UNIT:
        return []
    if isinstance(type, Tuple):
        return [body.value(part, span) for _, part in term.parts or ()]
    return [body.value(term, span)]


def comprehension(body: Body, node: ast.Comprehension, expected: Type | None) -> Term:
    """`[e for x in xs if c]`; the index of a call in it is the position before filtering."""
    iteration = iterate(body, node.target, node.iterable)
    wanted = body.inference.resolve(expected) if expected is not None else None
    hint = wanted.element if isinstance(wanted, List) else None
    condition = node.condition
    if condition is None:
        def element(index: Value, elements: list[Value]) -> Term:
            iteration.bind(body, index, elements)
            return body.operand(node.element, hint)

        return mapped(body, node, iteration, element, hint, {})
    tested = condition

    def test(index: Value, elements: list[Value]) -> Term:
        iteration.bind(body, index, elements)
        return Term(BOOL, body.typed(tested, BOOL, "the condition"))

    mask = body.value(mapped(body, tested, iteration, test, None, {}), tested.span)
    selected = [
        body.builder.pure("select", [v, mask], List(t), node.span)
        for v, t in zip(iteration.lists, iteration.elements, strict=True)
    ]
    plain = _plain_element(node)
    if plain is not None and iteration.bindings[plain] >= 0:
        value = selected[iteration.bindings[plain]]
        return Term(value.type, value)
    positions = body.builder.pure("positions", [mask], List(INT), node.span)
    chosen = Iteration([*selected, positions], [*iteration.elements, INT], iteration.target, iteration.bindings)

    def chosen_element(index: Value, elements: list[Value]) -> Term:
        chosen.bind(body, elements[-1], elements)
        with body.narrowing(body.builder.region, known_where(tested, True)):
            return body.operand(node.element, hint)

    return mapped(body, node, chosen, chosen_element, hint, {}, index=positions)


def _plain_element(node: ast.Comprehension) -> int | None:
    """The number of the name that the element is, in `[x for x in xs if c]`; None where more is done to it."""
    if not isinstance(node.element, ast.Name) or node.element.name not in node.target.names:
        return None
    if node.condition is not None and any(isinstance(e, ast.Name) for e in known_where(node.condition, True)):
        return None
    return node.target.names.index(node.element.name)


@dataclass
class _CarriedValues:
    """What a fold or loop carries: the seeds, and the values inside of the body."""

    nodes: Sequence[ast.Carried]
    seeds: list[Value]
    types: list[Type]


def _carried(body: Body, nodes: Sequence[ast.Carried]) -> _CarriedValues:
    seeds, types = [], []
    for node in nodes:
        if node.type is not None:
            type = body.resolve_type(node.type)
            seeds.append(body.typed(node.initial, type, f"the first value of `{node.name}`"))
        else:
            term = body.operand(node.initial)
            type = term.type
            seeds.append(body.value(term, node.initial.span))
        types.append(strip_bounds(type))
    return _CarriedValues(nodes, seeds, types)


def _define(body: Body, carried: _CarriedValues) -> list[Value]:
    """Parameters for the carried values, defined in the open scope."""
    parameters = [Value(t, n.name) for n, t in zip(carried.nodes, carried.types, strict=True)]
    for node, parameter in zip(carried.nodes, parameters, strict=True):
        body.define(node.name, node.span, Term(parameter.type, parameter), "carried value")
    return parameters


def _next_values(body: Body, carried: _CarriedValues, node: ast.Block) -> list[Value]:
    """The values that the body yields for the next turn."""
    types = carried.types
    hint = types[0] if len(types) == 1 else Tuple(tuple(types))
    term = block_contents(body, node, hint)
    parts = [part for _, part in term.parts or ()] if isinstance(term.type, Tuple) else [term]
    if isinstance(body.type_of(term), Unknown):
        return [Value(UNKNOWN) for _ in types]
    if not types:
        return []  # reported by `loop`
    if len(parts) != len(types):
        given = 0 if term.type == UNIT else len(parts)
        names = ", ".join(f"`{n.name}`" for n in carried.nodes)
        body.error("E0607", f"the body yields {given} value{'' if given == 1 else 's'} for {names}", _yield_span(node),
                   fix=f"yield one value for each, in this order: `yield {', '.join(n.name for n in carried.nodes)}`")
        return [Value(UNKNOWN) for _ in types]
    spans = [v.span for v in node.values] if len(node.values) == len(parts) else [_yield_span(node)] * len(parts)
    return [
        body.value(body.coerce(part, type, s, f"the next value of `{n.name}`"), s)
        for part, type, s, n in zip(parts, types, spans, carried.nodes, strict=True)
    ]


def _yield_span(block: ast.Block) -> Span:
    return block.values[0].span.to(block.values[-1].span) if block.values else block.span


def _carried_term(body: Body, carried: _CarriedValues, results: list[Value]) -> Term:
    terms = [(n.name, Term(body.inference.resolve(t), v))
             for n, t, v in zip(carried.nodes, carried.types, results, strict=False)]
    return terms[0][1] if len(terms) == 1 else record_term(terms)


def fold(body: Body, node: ast.Fold, expected: Type | None) -> Term:
    """`fold acc = seed for x in xs { … }`: each turn gives the values for the next."""
    builder = body.builder
    carried = _carried(body, node.carried)
    iteration = iterate(body, node.target, node.iterable)
    before = builder.effect
    inner = Value(EFFECT, "effect") if before is not None else None
    index, elements = iteration.index(), iteration.parameters()
    region = Region([index, *elements])
    builder.effect = inner
    body.indices.append(index)
    with builder.inside(region), body.new_scope():
        parameters = _define(body, carried)
        region.parameters += parameters
        iteration.bind(body, index, elements)
        with body.new_scope():
            values = _next_values(body, carried, node.body)
        builder.finish(region, values, _yield_span(node.body))
    body.indices.pop()
    warn_of_growing_texts(body, node.carried, carried.types, node.body)
    attributes: dict[str, Literal] = {"lists": len(iteration.lists)} if len(iteration.lists) > 1 else {}
    args: list[Arg] = [*iteration.lists, *carried.seeds]
    results = _close(body, "flow.fold", args, carried, [region], before, inner, node, attributes)
    return _carried_term(body, carried, results)


def loop(body: Body, node: ast.Loop, expected: Type | None) -> Term:
    """`loop (a = e, …) while c limit n { … }`: at most `n` turns."""
    builder = body.builder
    limit = _limit(body, node)
    carried = _carried(body, node.carried)
    if not carried.seeds:
        body.error("E0608", "a `loop` needs a value that it carries from turn to turn", node.span,
                   fix="write `loop (x = …) while … limit … { … }`")
    before = builder.effect
    condition = Region()
    with builder.inside(condition), body.new_scope():
        condition.parameters += _define(body, carried)
        forbidden, body.calls_forbidden_in = body.calls_forbidden_in, "the condition of `while`"
        holds = body.typed(node.condition, BOOL, "the condition of `while`")
        body.calls_forbidden_in = forbidden
        builder.finish(condition, [holds], node.condition.span)
    turn = Value(INT, "turn")
    inner = Value(EFFECT, "effect") if before is not None else None
    region = Region([turn])
    builder.effect = inner
    body.indices.append(turn)
    with builder.inside(region), body.new_scope():
        region.parameters += _define(body, carried)
        with body.narrowing(region, known_where(node.condition, True)), body.new_scope():
            values = _next_values(body, carried, node.body)
        builder.finish(region, values, _yield_span(node.body))
    body.indices.pop()
    warn_of_growing_texts(body, node.carried, carried.types, node.body)
    results = _close(body, "flow.loop", [limit, *carried.seeds], carried, [condition, region], before, inner, node, {})
    return _carried_term(body, carried, results) if carried.seeds else poison()


def _limit(body: Body, node: ast.Loop) -> Value:
    if node.limit is None:
        body.error("E0601", "a `loop` needs a limit", node.span, "how many turns at most?",
                   fix="write `loop (…) while … limit 8 { … }`")
        return Value(UNKNOWN)
    try:
        literal = ConstantEvaluator(body.scope).evaluate(node.limit, INT)
        if isinstance(literal, int) and literal < 0:
            body.error("E0601", "the limit of a `loop` is not negative", node.limit.span)
    except NotConstant:
        pass
    return body.typed(node.limit, INT, "the limit")


def _close(body: Body, name: str, args: list[Arg], carried: _CarriedValues, regions: list[Region],
           before: Value | None, inner: Value | None, node: ast.Expr, attributes: dict[str, Literal]) -> list[Value]:
    """Emit the fold or loop; the effect is carried last if the body changed it."""
    builder = body.builder
    types = list(carried.types)
    has_effect = inner is not None and builder.effect is not inner
    if has_effect and before is not None and inner is not None and builder.effect is not None:
        regions[-1].parameters.append(inner)
        regions[-1].terminator.args.append(builder.effect)
        for condition in regions[:-1]:
            condition.parameters.append(Value(EFFECT, "effect"))
        args.append(before)
        types.append(EFFECT)
    names = [n.name for n in carried.nodes]
    results = builder.emit(name, args, types, node.span, attributes=attributes, regions=regions, names=names)
    builder.effect = results[-1] if has_effect else before
    return results
