"""Symbols and named types: declared once, found where they are used, and used as they are declared."""

from __future__ import annotations

from collections.abc import Iterator

from ..core import Literal, Op, Symbol, Table, Value, walk
from ..declarations import enum_type, record_type
from ..dialects.checks import count_in, names_in, same_type
from ..types import EFFECT, PROMPT, Enum, List, Map, Option, Record, Type
from .problem import Problem, View

CALLABLE = ("sem.func", "sem.program", "sem.host")
NAMED_TYPE = ("sem.enum", "sem.record")


def declared_once(view: View) -> Iterator[Problem]:
    """Callables have one name space, types another, models a third; groups are declared once, too."""
    seen: set[tuple[str, str]] = set()
    for op in (*view.top, *_groups(view)):
        space = next((s for s in (CALLABLE, NAMED_TYPE) if op.name in s), (op.name,))[0]
        if (space, op.symbol) in seen:
            yield Problem(op, f"@{op.symbol} is declared twice")
        seen.add((space, op.symbol))


def _groups(view: View) -> Iterator[Op]:
    return (op for op in view.ops if op.name == "engine.group")


def groups_declared(view: View) -> Iterator[Problem]:
    """The group of an engine call is declared by an `engine.group`."""
    declared = {op.symbol for op in _groups(view)}
    for op in view.ops:
        group = op.attributes.get("group")
        if op.name == "engine.generate" and isinstance(group, Symbol) and group.name not in declared:
            yield Problem(op, f"the group @{group.name} is not declared")


def declarations_well_formed(view: View) -> Iterator[Problem]:
    """Enums have distinct members with one text each; hosts and records have types of values."""
    for op in view.top:
        if op.name == "sem.enum":
            type = enum_type(op.symbol, op.attributes)
            if type is None or not type.members or len({m.name for m in type.members}) < len(type.members):
                yield Problem(op, "an enum has one or more distinct members and one text for each")
            elif len({m.text for m in type.members}) < len(type.members):
                yield Problem(op, "two members of an enum have the same text")


def named_types(view: View) -> Iterator[Problem]:
    """A named enum or record is declared, and is what its declaration says; else its text would not parse back."""
    declared: dict[tuple[str, str], Type | None] = {}
    for op in view.top:
        if op.name == "sem.enum":
            declared["enum", op.symbol] = enum_type(op.symbol, op.attributes)
        elif op.name == "sem.record":
            declared["record", op.symbol] = record_type(op.symbol, op.attributes)
    for type, op in view.types.items():
        yield from _named_type(op, type, declared)
    for op in view.ops:
        for literal in (*op.attributes.values(), *op.args):
            for type in _types_in(literal):
                yield from _named_type(op, type, declared)


def _types_in(literal: Literal | Value) -> Iterator[Type]:
    match literal:
        case Type():
            yield literal
        case tuple():
            for element in literal:
                yield from _types_in(element)
        case Table(entries):
            for _, element in entries:
                yield from _types_in(element)


def _named_type(op: Op, type: Type, declared: dict[tuple[str, str], Type | None]) -> Iterator[Problem]:
    match type:
        case List(element) | Option(element) | Map(element):
            yield from _named_type(op, element, declared)
        case Record(None, fields):
            for f in fields:
                yield from _named_type(op, f.type, declared)
        case Enum(str() as name, _) | Record(str() as name, _):
            kind = "enum" if isinstance(type, Enum) else "record"
            found = declared.get((kind, name))
            if found is None:
                yield Problem(op, f"the {kind} {name} is not declared")
            elif found != type:
                yield Problem(op, f"the {kind} {name} here differs from its declaration")


def calls(view: View) -> Iterator[Problem]:
    """Calls name what is declared, and have its operands and results."""
    callees = {op.symbol: op for op in view.top if op.name in CALLABLE}
    for op in view.ops:
        if op.name not in ("sem.call", "flow.host"):
            continue
        callee = callees.get(op.symbol)
        if callee is None or (callee.name == "sem.host") != (op.name == "flow.host"):
            what = "host" if op.name == "flow.host" else "function or program"
            yield Problem(op, f"@{op.symbol} is not declared as a {what}")
        elif callee.name == "sem.host":
            yield from (Problem(op, m) for m in _host_call(op, callee))
        else:
            yield from (Problem(op, m) for m in _call(op, callee))


def _host_call(op: Op, host: Op) -> Iterator[str]:
    table, result = host.attributes["parameters"], host.attributes.get("result")
    assert isinstance(table, Table)
    wanted = [t for _, t in table.entries if isinstance(t, Type)]
    results = [result] if isinstance(result, Type) else []
    effects: list[Type] = [] if host.attributes.get("pure") else [EFFECT]
    yield from _match(f"@{op.symbol}", [v.type for v in op.operands], wanted + effects, "takes")
    yield from _match(f"@{op.symbol}", [r.type for r in op.results], results + effects, "gives")


def _call(op: Op, callee: Op) -> Iterator[str]:
    options, indices = names_in(op, "options"), count_in(op, "indices")
    parameters = [p.type for p in callee.regions[0].parameters]
    effects = [EFFECT] if EFFECT in parameters else []
    inputs = [t for t in parameters if t != EFFECT]
    operands = [v.type for v in op.operands]
    if len(operands) != len(inputs) + len(options) + indices + len(effects):
        yield (f"@{op.symbol} takes {len(inputs)} inputs, {len(options)} options, {indices} indices"
               f"{' and the effect' if effects else ''}, but there are {len(operands)} operands")
        return
    yield from _match(f"@{op.symbol}", operands[: len(inputs)], inputs, "takes")
    if effects and operands[-1] != EFFECT:
        yield f"@{op.symbol} takes the effect last"
    outputs = [a.type for a in callee.regions[0].terminator.operands]
    given = [r.type for r in op.results]
    sampled = {"n", "logprobs"} & {*options, *_keys(op.attributes.get("with"))}
    if not sampled:  # these options change the results of the callee
        yield from _match(f"@{op.symbol}", given, outputs, "gives")


def _keys(literal: Literal) -> list[str]:
    return [k for k, _ in literal.entries] if isinstance(literal, Table) else []


def _match(who: str, found: list[Type], wanted: list[Type], verb: str) -> Iterator[str]:
    if len(found) != len(wanted) or not all(same_type(f, w) for f, w in zip(found, wanted, strict=True)):
        yield f"{who} {verb} ({', '.join(map(str, wanted))}), not ({', '.join(map(str, found))})"


def returns(view: View) -> Iterator[Problem]:
    """Functions return a value per name and then their prompt; programs a value per name, then their effect."""
    for op in view.top:
        if op.name not in ("sem.func", "sem.program"):
            continue
        terminator = op.regions[0].terminator
        given = [a.type for a in terminator.args if isinstance(a, Value)]
        parameters = [p.type for p in op.regions[0].parameters]
        names, objectives = names_in(terminator, "names"), terminator.attributes.get("objective")
        extra = [PROMPT] if op.name == "sem.func" else [EFFECT] if EFFECT in parameters else []
        if len(given) != len(terminator.args) or len(given) != len(names) + len(extra) or (
                given[len(names):] != extra or EFFECT in given[: len(names)]):
            what = f"and then its {extra[0]}" if extra else "and nothing else"
            yield Problem(terminator, f"{op.name} returns a value for each of its {len(names)} names {what}")
        if isinstance(objectives, tuple) and len(objectives) != len(names):
            yield Problem(terminator, f"there are {len(objectives)} objectives for {len(names)} outputs")
        if EFFECT in parameters[:-1] or (EFFECT in parameters and op.name == "sem.func"):
            yield Problem(op, "an effect is the last parameter of a program")


def no_recursion(view: View) -> Iterator[Problem]:
    """No function or program calls itself, be it through others."""
    called: dict[str, list[Op]] = {
        op.symbol: [c for c in walk([op]) if c.name == "sem.call"] for op in view.top if op.regions
    }
    finished: set[str] = set()
    for root in called:
        path: dict[str, Iterator[Op]] = {root: iter(called[root])}
        while path:
            name, rest = next(reversed(path.items()))
            call = next(rest, None)
            if call is None:
                finished.add(name)
                del path[name]
            elif call.symbol in path:
                yield Problem(call, f"@{call.symbol} calls itself")
            elif call.symbol in called and call.symbol not in finished:
                path[call.symbol] = iter(called[call.symbol])


RULES = (declared_once, declarations_well_formed, named_types, calls, returns, no_recursion, groups_declared)
