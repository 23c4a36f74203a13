"""Records that leave a region only to be taken apart: their fields leave it one by one."""

from __future__ import annotations

from ..ir.core import Arg, Module, Op, Region, Symbol, Value, definitions, regions_of, walk
from ..ir.types import List, Record, Type
from .regions import fold_lists, iterated


def split_branch_records(module: Module) -> int:
    """Give each `flow.if` the fields that are used of its record results; how many records were split.

    A record that both branches merely hand on is left alone. Fields of fields are split in turn.
    """
    branches = [op for op in walk(module.ops) if op.name == "flow.if"]
    if not branches:
        return 0
    work = _Splitting(module)
    split = 0
    for op in branches:
        results = list(op.results)
        while results:
            result = results.pop()
            number = op.results.index(result)
            fields = _fields_of(work.uses.get(result, []))
            if fields and any(work.is_record(region.terminator.args[number]) for region in op.regions):
                split += 1
                for name, readers in fields.items():
                    results.append(work.add_result(op, number, name, _field_type(result.type, name)))
                    work.redirect(readers, results[-1])
    work.remove_readers(module)
    return split


def split_list_records(module: Module) -> int:
    """Give each `flow.for` that yields records the lists of the fields that later loops read; how many were split."""
    maps = [op for op in walk(module.ops) if op.name == "flow.for"]
    if not maps:
        return 0
    work = _Splitting(module)
    split = 0
    for op in maps:
        for result in list(op.results):
            yielded = op.regions[0].terminator.args[op.results.index(result)]
            if isinstance(result.type, List) and work.is_record(yielded):
                columns: dict[str, Value] = {}
                for loop in list(dict.fromkeys(work.uses.get(result, []))):
                    split += _narrow(loop, op, result, columns, work)
    work.remove_readers(module)
    return split


class _Splitting:
    """Uses and definitions, kept right while fields get values of their own."""

    def __init__(self, module: Module) -> None:
        self.uses: dict[Value, list[Op]] = {}
        self._definitions = definitions(module.ops)
        self._read: set[Op] = set()
        for op in walk(module.ops):
            for value in op.operands:
                self.uses.setdefault(value, []).append(op)

    def is_record(self, arg: Arg) -> bool:
        """Whether a value is a record that was put together where it is yielded."""
        source = self._definitions.get(arg) if isinstance(arg, Value) else None
        return source is not None and source.name == "flow.pure" and source.symbol == "record"

    def add_result(self, op: Op, number: int, name: str, type: Type) -> Value:
        """A new result of `op` after result `number`, for which each region yields a field of what it yields there."""
        for region in op.regions:
            region.terminator.args.insert(number + 1, self._take(region, number, name))
        value = Value(type, name)
        op.results.insert(number + 1, value)
        return value

    def _take(self, region: Region, number: int, name: str) -> Arg:
        record = region.terminator.args[number]
        assert isinstance(record, Value)
        type = record.type
        assert isinstance(type, Record)
        if self.is_record(record):
            return self._definitions[record].args[1 + [f.name for f in type.fields].index(name)]
        taken = Op("flow.pure", [Symbol("field"), record], [Value(_field_type(type, name), name)], {"name": name}, [],
                   region.terminator.location)
        self._definitions[taken.result] = taken
        self.uses.setdefault(record, []).append(taken)
        self.uses[taken.result] = [region.terminator]
        region.ops.insert(len(region.ops) - 1, taken)
        return taken.result

    def redirect(self, readers: list[Op], value: Value) -> None:
        """Let those who use what `readers` gave use `value`; the readers go in the end."""
        for reader in readers:
            users = self.uses.pop(reader.result, [])
            for user in users:
                user.args = [value if a is reader.result else a for a in user.args]
            self.uses.setdefault(value, []).extend(users)
            self._read.add(reader)

    def remove_readers(self, module: Module) -> None:
        """Drop the operations whose users read something else now."""
        for region in regions_of(module.ops) if self._read else []:
            region.ops = [op for op in region.ops if op not in self._read]


def _fields_of(users: list[Op]) -> dict[str, list[Op]]:
    """The operations that read each field of a value."""
    fields: dict[str, list[Op]] = {}
    for op in users:
        name = op.attributes.get("name")
        if op.name == "flow.pure" and op.symbol == "field" and isinstance(name, str):
            fields.setdefault(name, []).append(op)
    return fields


def _field_type(record: Type, name: str) -> Type:
    assert isinstance(record, Record)
    field = record.field(name)
    assert field is not None
    return field.type


def _narrow(loop: Op, maker: Op, result: Value, columns: dict[str, Value], work: _Splitting) -> bool:
    """Let `loop` iterate over lists of fields instead of the records in `result`, if fields are all that it reads."""
    if loop.name not in ("flow.for", "flow.fold"):
        return False
    positions = [n for n, list_ in enumerate(iterated(loop)) if list_ is result]
    parameters = [loop.regions[0].parameters[1 + n] for n in positions]
    read = [_fields_of(work.uses.get(p, [])) for p in parameters]
    if not positions or not all(_reads_only(work.uses.get(p, []), r) for p, r in zip(parameters, read, strict=True)):
        return False
    for position, fields in reversed(list(zip(positions, read, strict=True))):
        lists = [_column(maker, result, name, columns, work) for name in fields]
        elements = [Value(_element(column.type), name) for column, name in zip(lists, fields, strict=True)]
        loop.args[position : position + 1] = lists
        loop.regions[0].parameters[1 + position : 2 + position] = elements
        if loop.name == "flow.fold" and len(lists) > 1:
            loop.attributes["lists"] = fold_lists(loop) + len(lists) - 1
        for element, readers in zip(elements, fields.values(), strict=True):
            work.redirect(readers, element)
        for column in lists:
            work.uses.setdefault(column, []).append(loop)
    return True


def _reads_only(users: list[Op], fields: dict[str, list[Op]]) -> bool:
    return bool(fields) and sum(map(len, fields.values())) == len(users)


def _element(type: Type) -> Type:
    assert isinstance(type, List)
    return type.element


def _column(maker: Op, result: Value, name: str, columns: dict[str, Value], work: _Splitting) -> Value:
    """The list of a field of the records in `result`, a result of `maker`."""
    if name not in columns:
        type = List(_field_type(_element(result.type), name))
        columns[name] = work.add_result(maker, maker.results.index(result), name, type)
    return columns[name]
