"""Literals and types of IR text. Named enums and records are looked up in the module's declarations."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import TypeVar

from .core import Literal, Root, Symbol, Table, TokenList, Word
from .declarations import enum_type, record_type
from .diagnostics import Diagnostic, InputError, Label
from .lexer import Lexer
from .source import Span
from .types import (
    BOOL,
    CTX,
    EFFECT,
    FLOAT,
    INT,
    PROMPT,
    TEXT,
    TOKENS,
    Field,
    Int,
    List,
    Map,
    Option,
    Record,
    Text,
    Type,
)

_T = TypeVar("_T")
MAXIMUM_DEPTH = 100
"""Literals and types may be nested this deep."""
_PLAIN: dict[str, Type] = {
    "text": TEXT, "int": INT, "float": FLOAT, "bool": BOOL, "prompt": PROMPT, "ctx": CTX, "tokens": TOKENS,
    "effect": EFFECT,
}
_TYPE_NAMES = (*_PLAIN, "enum", "record", "list", "option", "map")
_CONSTANTS: dict[str, Literal] = {"true": True, "false": False, "none": None}


class LiteralParser:
    """Reads literals and types from a lexer; `report` receives errors that do not stop it."""

    def __init__(self, lexer: Lexer, report: Callable[[Diagnostic], None]) -> None:
        self._lexer = lexer
        self._report = report
        self._depth = 0
        self._declarations: dict[tuple[str, str], int] | None = None
        self._named: dict[tuple[str, str], Type] = {}
        self._resolving: set[tuple[str, str]] = set()

    # ---- literals ------------------------------------------------------------------------------

    def literal(self) -> Literal:
        """Any literal."""
        lexer = self._lexer
        match lexer.kind:
            case "text":
                return lexer.take_string()
            case "number":
                return self._number()
            case "symbol":
                return Symbol(lexer.take_symbol("a symbol"))
            case "name":
                return self._word()
        return self._nested(self._compound)

    def _compound(self) -> Literal:
        lexer = self._lexer
        if lexer.accept("["):
            return self._list()
        if lexer.accept("{"):
            return self.table()
        if lexer.accept("!"):
            return self.type()
        raise lexer.error("a literal")

    def _nested(self, parse: Callable[[], _T]) -> _T:
        if self._depth >= MAXIMUM_DEPTH:
            raise InputError.of("E1007", f"literals and types are nested deeper than {MAXIMUM_DEPTH} levels",
                                self._lexer.span)
        self._depth += 1
        try:
            return parse()
        finally:
            self._depth -= 1

    def _number(self) -> int | float:
        lexer = self._lexer
        text = lexer.text
        if text.lstrip("-").isdecimal():
            value = int(text) if len(text) <= 20 else 2**63
            if not -(2**63) <= value < 2**63:
                raise InputError.of("E1006", "integers have 64 bits", lexer.span)
            lexer.advance()
            return value
        number = float(text)
        if not math.isfinite(number):
            raise InputError.of("E1006", f"{text} is beyond the range of floats", lexer.span)
        lexer.advance()
        return number

    def natural(self, expected: str) -> int:
        """An integer that is not negative."""
        if self._lexer.kind != "number":
            raise self._lexer.error(expected)
        span = self._lexer.span
        value = self._number()
        if not isinstance(value, int) or value < 0:
            raise InputError.of("E1001", f"expected {expected}, found {value}", span)
        return value

    def _word(self) -> Literal:
        """`true`, `engine.root`, `tokens<…>`, or a bare word with or without arguments."""
        lexer = self._lexer
        span, name = lexer.span, lexer.text
        lexer.advance()
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        if name == "engine.root":
            return Root()
        if "." in name:
            raise InputError.of("E1001", f"expected a value or literal, found `{name}`", span)
        if name in ("tokens", "scaffold") and lexer.accept("<"):
            return self._tokens(name == "scaffold", span)
        if lexer.accept("("):
            arguments = self._nested(lambda: self._sequence(")"))
            return Word(name, arguments)
        return Word(name)

    def _tokens(self, scaffold: bool, span: Span) -> TokenList:
        lexer = self._lexer
        count = self.natural("the number of tokens")
        lexer.expect(":", "after the number of tokens")
        text = lexer.take_string("the text of the tokens")
        lexer.expect(":", "after the text of the tokens")
        lexer.expect("[", "before the token ids")
        ids: list[int] = []
        if not lexer.accept("]"):
            ids.append(self.natural("a token id"))
            while lexer.accept(","):
                ids.append(self.natural("a token id"))
            lexer.expect("]", "after the token ids")
        lexer.expect(">", "after the tokens")
        if count != len(ids):
            self._report(Diagnostic("E1008", f"{count} tokens are declared but {len(ids)} ids are given", Label(span)))
        return TokenList(tuple(ids), text, scaffold)

    def _list(self) -> tuple[Literal, ...]:
        return self._sequence("]")

    def _sequence(self, end: str) -> tuple[Literal, ...]:
        lexer = self._lexer
        if lexer.accept(end):
            return ()
        elements = [self.literal()]
        while lexer.accept(","):
            elements.append(self.literal())
        lexer.expect(end, "or `,` after a literal")
        return tuple(elements)

    def table(self) -> Table:
        """The entries of a table whose `{` was read."""
        lexer = self._lexer
        entries: dict[str, Literal] = {}
        while lexer.kind != "punctuation" or entries:
            span = lexer.span
            key = lexer.take_string() if lexer.kind == "text" else lexer.take("name", "a key `name = literal`")
            lexer.expect("=", "after a key")
            value = self.literal()
            if key in entries:
                self._report(Diagnostic("E1009", f"the key `{key}` is given twice", Label(span)))
            entries[key] = value
            if not lexer.accept(","):
                break
        lexer.expect("}", "or `,` after an entry")
        return Table(tuple(entries.items()))

    # ---- types ---------------------------------------------------------------------------------

    def type(self) -> Type:
        """Any type."""
        lexer = self._lexer
        start, name = lexer.start, lexer.text
        if lexer.kind != "name":
            raise lexer.error("a type")
        lexer.advance()
        plain = _PLAIN.get(name)
        if plain is not None and lexer.text != "<":
            return plain
        span = Span(lexer.source, start, start + len(name))
        if lexer.text != "<":
            raise self._unknown_type(name, span)
        if name not in ("text", "int", "enum", "record", "list", "option", "map"):
            raise self._unknown_type(f"{name}<…>", span)
        lexer.advance()
        type = self._nested(lambda: self._arguments(name))
        lexer.expect(">", f"after the arguments of `{name}`")
        return type

    def _unknown_type(self, name: str, span: Span) -> InputError:
        near = difflib.get_close_matches(name, _TYPE_NAMES, 1)
        return InputError.of("E1005", f"`{name}` is no type", span,
                            fix=f"did you mean `{near[0]}`?" if near and near[0] != name else
                            "the types are " + ", ".join(_TYPE_NAMES))

    def _arguments(self, name: str) -> Type:
        """What stands between the angle brackets of the type `name`."""
        lexer = self._lexer
        match name:
            case "text":
                self._bound("max_tokens")
                return Text(self.natural("a number of tokens"))
            case "int":
                low = self._limit()
                lexer.expect("..", "between the bounds")
                return Int(low, self._limit())
            case "list":
                element = self.type()
                if not lexer.accept(","):
                    return List(element)
                self._bound("max")
                return List(element, self.natural("a number of elements"))
            case "option":
                return Option(self.type())
            case "map":
                return Map(self.type())
            case "enum":
                return self._named_type("sem.enum")
        return self._record()

    def _limit(self) -> int | None:
        if self._lexer.kind != "number":
            return None
        span = self._lexer.span
        value = self._number()
        if not isinstance(value, int):
            raise InputError.of("E1001", f"expected a bound of an int, found {value}", span)
        return value

    def _bound(self, name: str) -> None:
        self._lexer.expect(name, "for a bound")
        self._lexer.expect("=", f"after `{name}`")

    def _name(self, expected: str) -> str:
        return self._lexer.take_string() if self._lexer.kind == "text" else self._lexer.take("name", expected)

    def _record(self) -> Record | Type:
        """`record<Name>` or `record<a: T, b: U>`; the first name tells by what follows it."""
        lexer = self._lexer
        if lexer.text == ">":
            return Record(None, ())
        start = lexer.start
        name = self._name("the name of a record or field")
        if lexer.text != ":":
            lexer.jump(start)
            return self._named_type("sem.record")
        fields: dict[str, Type] = {}
        while True:
            lexer.expect(":", "after the name of a field")
            if name in fields:
                self._report(Diagnostic("E1009", f"the field `{name}` is given twice", Label(lexer.span)))
            fields[name] = self.type()
            if not lexer.accept(","):
                break
            name = self._name("the name of a field")
        return Record(None, tuple(Field(n, t) for n, t in fields.items()))

    def _named_type(self, op_name: str) -> Type:
        """The enum or record called by the current name: its declaration is read where it stands, once."""
        span = self._lexer.span
        name = self._name("the name of a declared type")
        key = (op_name, name)
        if key in self._named:
            return self._named[key]
        if self._declarations is None:
            self._declarations = self._lexer.declarations()
        kind = op_name.removeprefix("sem.")
        if key not in self._declarations:
            names = [n for op, n in self._declarations if op == op_name]
            near = difflib.get_close_matches(name, names, 1)
            self._report(Diagnostic("E1005", f"no {kind} `{name}` is declared in this module", Label(span),
                                    fix=f"did you mean `{near[0]}`?" if near else None))
            return Type()
        if key in self._resolving:
            raise InputError.of("E1005", f"the {kind} `{name}` contains itself", span)
        self._resolving.add(key)
        after = self._lexer.start
        self._lexer.jump(self._declarations[key])
        type = self._named[key] = self._nested(lambda: self._declaration(op_name, name, span))
        self._lexer.jump(after)
        self._resolving.discard(key)
        return type

    def _declaration(self, op_name: str, name: str, use: Span) -> Type:
        """The type that the declaration at the current token declares."""
        lexer = self._lexer
        span = lexer.span
        lexer.advance()
        lexer.expect("(", f"after `{op_name}`")
        lexer.take_symbol("a symbol")
        lexer.expect(")", "after the symbol")
        lexer.expect("{", "before the attributes")
        attributes = dict(self.table().entries)
        type = enum_type(name, attributes) if op_name == "sem.enum" else record_type(name, attributes)
        if type is None:
            raise InputError([Diagnostic("E1005", f"the declaration of `{name}` is malformed", Label(span),
                                         (Label(use, "used here"),))])
        return type
