"""IR text: one line per operation, values named uniquely inside each top-level operation.

`parser.parse_module` reads it back to the same module; `ir.lark` is the grammar. Attributes print in the
order of their definition, so equal modules print equally. Work is linear and does not recurse over regions.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable

from .core import Arg, Literal, Module, Op, Region, Root, Symbol, Table, TokenList, Value, Word
from .definition import OpDefinition
from .dialects import DEFINITIONS
from .source import Location
from .types import Type, quoted_name

# Characters that an editor or terminal would not show, and lone surrogates, which no encoding can hold.
_INVISIBLE = re.compile("[\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\uffff]")
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_SUFFIX = re.compile(r"_[0-9]+$")
_RESERVED_WORDS = frozenset({"true", "false", "none"})
INDENT = "  "


def print_module(module: Module, *, locations: bool = False) -> str:
    """The text of a module; `locations` adds a trailing `loc(…)` to each operation."""
    printer = Printer(locations=locations)
    printer.print_ops(module.ops)
    return "".join(line + "\n" for line in printer.lines)


def print_op(op: Op) -> str:
    """The text of one operation and its regions; values from around it are named after their hints."""
    printer = Printer()
    printer.print_ops([op])
    return "\n".join(printer.lines)


def print_literal(literal: Literal) -> str:
    """A literal as IR text. ValueError for floats that are not finite and for words that are no identifiers."""
    match literal:
        case None:
            return "none"
        case bool():
            return "true" if literal else "false"
        case str():
            return print_text(literal)
        case int():
            return str(literal)
        case float():
            if not math.isfinite(literal):
                raise ValueError(f"{literal} is not a value: floats are finite")
            return repr(literal)
        case Symbol(name):
            return "@" + quoted_name(name)
        case Word(name, arguments):
            return _print_word(name, arguments)
        case TokenList(ids, text, scaffold):
            kind = "scaffold" if scaffold else "tokens"
            return f"{kind}<{len(ids)} : {print_text(text)} : [{', '.join(map(str, ids))}]>"
        case Root():
            return "engine.root"
        case Type():
            return f"!{literal}"
        case tuple():
            return "[" + ", ".join(map(print_literal, literal)) + "]"
        case Table(entries):
            return "{" + ", ".join(f"{_print_key(k)} = {print_literal(v)}" for k, v in entries) + "}"
    raise TypeError(f"no literal: {literal!r}")


def print_text(text: str) -> str:
    """A JSON string in which everything visible stands as it is."""
    quoted = json.dumps(text, ensure_ascii=False)
    if quoted.isascii() and "\x7f" not in quoted:
        return quoted
    return _INVISIBLE.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def print_location(location: Location) -> str:
    """`loc("f.sem":3:5 < "f.sem":9:1, "f.sem":4:5)`: call chains, innermost site first; `loc()` is unknown."""
    chains = (
        " < ".join(f"{print_text(s.path)}:{s.line}:{s.column}" for s in chain) for chain in location.chains
    )
    return f"loc({', '.join(chains)})"


def _print_word(name: str, arguments: tuple[Literal, ...]) -> str:
    if not _IDENTIFIER.fullmatch(name) or name in _RESERVED_WORDS:
        raise ValueError(f"{name!r} cannot be written as a bare word")
    return f"{name}({', '.join(map(print_literal, arguments))})" if arguments else name


def _print_key(key: str) -> str:
    return key if _IDENTIFIER.fullmatch(key) else print_text(key)


class ValueNames:
    """Gives each value a name: its hint, made unique by `_n`; unnamed values are numbered."""

    def __init__(self) -> None:
        self._names: dict[Value, str] = {}
        self._used: set[str] = set()
        self._suffixes: dict[str, int] = {}
        self._unnamed = 0

    def define(self, value: Value) -> str:
        """The name of a value at its definition, with the percent sign."""
        hint = value.name
        if not hint or not _IDENTIFIER.fullmatch(hint):
            hint = re.sub(r"\W", "_", hint)
            if not _IDENTIFIER.fullmatch(hint):
                name = f"%{self._unnamed}"
                self._unnamed += 1
                self._names[value] = name
                return name
        if hint in self._used:
            base = _SUFFIX.sub("", hint)
            number = self._suffixes.get(base, 0)
            while hint in self._used:
                number += 1
                hint = f"{base}_{number}"
            self._suffixes[base] = number
        self._used.add(hint)
        name = f"%{hint}"
        self._names[value] = name
        return name

    def use(self, value: Value) -> str:
        """The name of a value at a use; `%?hint` when no definition was printed (the module is broken)."""
        return self._names.get(value) or f"%?{value.name}"


class Printer:
    """Collects lines; `line_of` tells where each operation begins, for messages that show it in place."""

    def __init__(self, *, locations: bool = False) -> None:
        self.lines: list[str] = []
        self.line_of: dict[Op, int] = {}
        self._locations = locations
        self._names = ValueNames()

    def print_ops(self, ops: Iterable[Op]) -> None:
        """Print top-level operations, each with value names of its own."""
        for op in ops:
            self._names = ValueNames()
            self._print_tree(op)

    def _print_tree(self, op: Op) -> None:
        """One operation with its regions. The stack holds, for each open region, its owner, number and position."""
        stack: list[tuple[Op, int, int]] = []
        if self._open(op, 0):
            stack.append((op, 0, 0))
        while stack:
            owner, number, position = stack.pop()
            region = owner.regions[number]
            depth = len(stack) + 1
            if position < len(region.ops):
                stack.append((owner, number, position + 1))
                inner = region.ops[position]
                if self._open(inner, depth):
                    stack.append((inner, 0, 0))
            elif number + 1 < len(owner.regions):
                self.lines.append(f"{INDENT * (depth - 1)}}} {self._region_head(owner, number + 1)}")
                stack.append((owner, number + 1, 0))
            else:
                self.lines.append(f"{INDENT * (depth - 1)}}}{self._tail(owner)}")

    def _open(self, op: Op, depth: int) -> bool:
        """Print the head of an operation; whether a region was opened."""
        self.line_of[op] = len(self.lines)
        names = self._names
        # Arguments first: an operation cannot use its own results.
        arguments = ", ".join([self._argument(a) for a in op.args])
        results = ", ".join([names.define(r) for r in op.results])
        head = f"{INDENT * depth}{results} = {op.name}({arguments})" if results else (
            f"{INDENT * depth}{op.name}({arguments})")
        if op.attributes:
            head += f" {print_attributes(op)}"
        if op.regions:
            self.lines.append(f"{head} {self._region_head(op, 0)}")
            return True
        self.lines.append(head + self._tail(op))
        return False

    def _argument(self, argument: Arg) -> str:
        return self._names.use(argument) if isinstance(argument, Value) else print_literal(argument)

    def _region_head(self, op: Op, number: int) -> str:
        region: Region = op.regions[number]
        keywords = DEFINITIONS[op.name].keywords if op.name in DEFINITIONS else ()
        # A region beyond the definition's has no word of its own; `else` keeps the text readable.
        keyword = "" if number == 0 else (keywords[number - 1] if number <= len(keywords) else "else") + " "
        parameters = ", ".join([f"{self._names.define(p)}: {p.type}" for p in region.parameters])
        return f"{keyword}|{parameters}| {{" if parameters else f"{keyword}{{"

    def _tail(self, op: Op) -> str:
        types = f" : {', '.join([str(r.type) for r in op.results])}" if op.results else ""
        return f"{types} {print_location(op.location)}" if self._locations else types


def print_attributes(op: Op) -> str:
    """`{name = literal, …}` in the order of the definition, then attributes that it does not know."""
    attributes = op.attributes
    if len(attributes) > 1:
        known = _attribute_order(DEFINITIONS.get(op.name))
        unknown = len(known)
        attributes = dict(sorted(attributes.items(), key=lambda item: known.get(item[0], unknown)))
    return "{" + ", ".join([f"{_print_key(k)} = {print_literal(v)}" for k, v in attributes.items()]) + "}"


_ORDERS: dict[str, dict[str, int]] = {
    name: {a.name: i for i, a in enumerate(definition.attributes)} for name, definition in DEFINITIONS.items()
}


def _attribute_order(definition: OpDefinition | None) -> dict[str, int]:
    return _ORDERS[definition.name] if definition else {}
