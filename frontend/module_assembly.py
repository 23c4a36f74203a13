"""The module of one root: what it reaches, as declarations, functions and programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir.core import Literal, Module, Op, Symbol, Table, walk
from ..ir.source import Location
from ..ir.types import Enum, List, Map, Option, Record, Type
from .symbols import EnumSymbol, FileScope, FunctionSymbol, HostSymbol, ModelSymbol, ProgramSymbol, RecordSymbol


def reachable(start: Iterable[FunctionSymbol]) -> set[FunctionSymbol]:
    """`start` and every function that they call, at any depth."""
    found: set[FunctionSymbol] = set()
    stack = list(start)
    while stack:
        symbol = stack.pop()
        if symbol in found:
            continue
        found.add(symbol)
        if isinstance(symbol, ProgramSymbol):
            stack += [callee for callee, _ in symbol.callees]
    return found


def assemble(scopes: Sequence[FileScope], functions: set[FunctionSymbol], lowered: dict[FunctionSymbol, Op],
             last: Op | None = None) -> Module:
    """A module of `functions` in declared order (programs last), then `last`, with the types that they mention."""
    symbols = [s for scope in scopes for s in scope.own]
    hosts = [host_op(s) for s in symbols if isinstance(s, HostSymbol) and s in functions]
    bodies = [lowered[s] for s in symbols if isinstance(s, FunctionSymbol) and s in functions and s in lowered]
    bodies.sort(key=lambda op: op.name)  # sem.func before sem.program; stable
    if last is not None:
        bodies.append(last)
    used = _types([*hosts, *bodies])
    enums = [_enum_op(s) for s in symbols if isinstance(s, EnumSymbol) and s.type in used]
    records = [_record_op(s) for scope in scopes for s in scope.records if s.type in used]
    models = [
        Op("sem.model", [Symbol(s.ir_name)], [], {"identifier": s.identifier}, [], Location.of(s.span))
        for s in symbols if isinstance(s, ModelSymbol)
    ]
    return Module([*enums, *records, *models, *hosts, *bodies])


def _enum_op(symbol: EnumSymbol) -> Op:
    assert symbol.type is not None
    members = symbol.type.members
    attributes: dict[str, Literal] = {
        "members": tuple(m.name for m in members), "texts": tuple(m.text for m in members)}
    return Op("sem.enum", [Symbol(symbol.ir_name)], [], attributes, [], Location.of(symbol.span))


def _record_op(symbol: RecordSymbol) -> Op:
    assert symbol.type is not None
    fields = Table(tuple((f.name, f.type) for f in symbol.type.fields))
    return Op("sem.record", [Symbol(symbol.ir_name)], [], {"fields": fields}, [], Location.of(symbol.span))


def host_op(symbol: HostSymbol) -> Op:
    """The declaration of a host."""
    assert symbol.declaration is not None
    attributes: dict[str, Literal] = {
        "target": symbol.declaration.target,
        "directory": symbol.scope.directory or ".",
        "parameters": Table(tuple((p.name, p.type) for p in symbol.parameters)),
    }
    if symbol.outputs:
        attributes["result"] = symbol.outputs[0].type
    attributes |= {name: value for name, value in symbol.options.items() if value is not False}
    return Op("sem.host", [Symbol(symbol.ir_name)], [], attributes, [], Location.of(symbol.span))


def _types(ops: Sequence[Op]) -> set[Type]:
    """The enums and named records among the types of all values and attributes, at any depth."""
    found: set[Type] = set()
    seen: set[int] = set()
    stack: list[object] = []
    for op in walk(ops):
        stack += [value.type for value in op.results]
        stack += [p.type for region in op.regions for p in region.parameters]
        if op.name == "sem.host":
            stack += op.attributes.values()
        while stack:
            item = stack.pop()
            if id(item) in seen:
                continue
            seen.add(id(item))
            match item:
                case Table(entries):
                    stack += [entry for _, entry in entries]
                case List(element) | Option(element) | Map(element):
                    stack.append(element)
                case Record(name, fields):
                    stack += [f.type for f in fields]
                    if name is not None:
                        found.add(item)
                case Enum():
                    found.add(item)
    return found
