"""Reads IR text back into a module: what `printer` writes, and what people write by hand.

The grammar is `ir.lark`; a test holds both against each other. This parser is written by hand because it builds the
module three times as fast as a generated one finds the tree alone, and because it does not recurse over regions.
A name may be used only after its definition and inside the region that defines it, and is defined once inside a
top-level operation.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

from . import garbage_collection
from .core import Arg, Module, Op, Region, Value
from .diagnostics import Diagnostic, InputError, Label
from .dialects import DEFINITIONS
from .lexer import Lexer
from .literal_parser import LiteralParser
from .source import UNKNOWN, Location, Site, SourceFile, Span
from .types import Type

MAXIMUM_DEPTH = 1000
"""Regions may be nested this deep."""
MAXIMUM_ERRORS = 50
KEYWORDS = frozenset({"else", "do"})


def parse_module(source: SourceFile) -> Module:
    """The module that `source` spells. InputError with every error that could be found."""
    with garbage_collection.paused():
        return _ModuleParser(source).parse()


@dataclass(slots=True)
class _Open:
    """An operation whose regions are being read."""

    op: Op
    results: list[tuple[str, int]]
    """Names and offsets of the results."""
    brace: int
    """Offset of the open region's `{`."""
    names: list[str] = field(default_factory=list)
    """Names that the open region defines: they end with it."""


class _ModuleParser:
    def __init__(self, source: SourceFile) -> None:
        self._source = source
        self._lexer = Lexer(source)
        self._errors: list[Diagnostic] = []
        self._literals = LiteralParser(self._lexer, self._report)
        self._visible: dict[str, Value] = {}
        self._defined: dict[str, int] = {}
        self._open: list[_Open] = []

    def parse(self) -> Module:
        module = Module()
        try:
            self._module(module)
        except InputError as error:
            self._errors.extend(error.diagnostics)
        if self._errors:
            raise InputError(dict.fromkeys(self._errors[:MAXIMUM_ERRORS]))
        return module

    def _report(self, diagnostic: Diagnostic) -> None:
        self._errors.append(diagnostic)
        if len(self._errors) >= MAXIMUM_ERRORS:
            raise InputError([])

    def _error(self, code: str, message: str, span: Span, *, fix: str | None = None,
               labels: tuple[Label, ...] = ()) -> None:
        self._report(Diagnostic(code, message, Label(span), labels, fix=fix))

    def _module(self, module: Module) -> None:
        """All operations. Open regions are on a stack, so nesting does not recurse."""
        lexer = self._lexer
        while True:
            if lexer.kind == "end":
                if self._open:
                    unclosed = Label(self._span(self._open[-1].brace, "{"), "this region is not closed")
                    raise InputError([Diagnostic("E1001", "expected `}`, found the end of the file", Label(lexer.span),
                                                 (unclosed,))])
                return
            if self._open and lexer.accept("}"):
                self._close_region()
                continue
            if not self._open:
                self._visible.clear()
                self._defined.clear()
            self._operation(self._open[-1].op.regions[-1].ops if self._open else module.ops)

    def _operation(self, siblings: list[Op]) -> None:
        """The head of an operation, and its end where it has no regions."""
        lexer = self._lexer
        start = lexer.start
        results = self._result_names() if lexer.kind == "value" else []
        name = self._op_name()
        op = Op(name)
        siblings.append(op)
        lexer.expect("(", f"after `{name}`")
        if not lexer.accept(")"):
            op.args.append(self._argument())
            while lexer.accept(","):
                op.args.append(self._argument())
            lexer.expect(")", "or `,` after an argument")
        line, column = self._source.line_column(start)
        op.location = Location(((Site(self._source.path, line, column),),))
        brace = lexer.start
        opened = lexer.accept("{")
        if opened and (lexer.kind == "text" or (lexer.kind == "name" and "." not in lexer.text)):
            op.attributes = dict(self._literals.table().entries)
            brace = lexer.start
            opened = lexer.accept("{")
        if opened or lexer.text == "|":
            self._open_region(_Open(op, results, brace), opened)
        else:
            self._finish(op, results)

    def _op_name(self) -> str:
        lexer = self._lexer
        start, name = lexer.start, lexer.text
        if lexer.kind != "name" or "." not in name:
            raise lexer.error("an operation `dialect.name(…)`")
        lexer.advance()
        if name not in DEFINITIONS:
            near = difflib.get_close_matches(name, DEFINITIONS, 1)
            self._error("E1004", f"unknown operation `{name}`", self._span(start, name),
                        fix=f"did you mean `{near[0]}`?" if near else None)
        return name

    def _result_names(self) -> list[tuple[str, int]]:
        lexer = self._lexer
        names = []
        while True:
            start = lexer.start
            names.append((lexer.take("value", "a value `%name`"), start))
            if not lexer.accept(","):
                break
        lexer.expect("=", "after the results")
        return names

    def _argument(self) -> Arg:
        lexer = self._lexer
        if lexer.kind != "value":
            return self._literals.literal()
        value = self._visible.get(lexer.text)
        if value is None:
            value = Value(Type(), lexer.text[1:])
            if lexer.text in self._defined:
                self._error("E1002", f"`{lexer.text}` is not visible here", lexer.span, labels=(
                    Label(self._span(self._defined[lexer.text], lexer.text), "its region ends before this use"),))
            else:
                near = difflib.get_close_matches(lexer.text, self._visible, 1) if len(self._visible) < 1000 else []
                self._error("E1002", f"`{lexer.text}` is not defined before this use", lexer.span,
                            fix=f"did you mean `{near[0]}`?" if near else None)
        lexer.advance()
        return value

    def _span(self, start: int, text: str) -> Span:
        """The span of `text`, which stands at `start`."""
        return Span(self._source, start, start + len(text))

    def _define(self, name: str, start: int, type: Type) -> Value:
        value = Value(type, "" if name[1] in "0123456789" else name[1:])
        if name in self._defined:
            self._error("E1003", f"`{name}` is defined twice", self._span(start, name), labels=(
                Label(self._span(self._defined[name], name), "the first definition"),))
        self._defined[name] = start
        self._visible[name] = value
        if self._open:
            self._open[-1].names.append(name)
        return value

    def _open_region(self, frame: _Open, brace_taken: bool) -> None:
        """Begin the next region of `frame.op`: its parameters and `{`."""
        lexer = self._lexer
        if len(self._open) >= MAXIMUM_DEPTH:
            raise InputError.of("E1007", f"regions are nested deeper than {MAXIMUM_DEPTH} levels", lexer.span)
        region = Region()
        frame.op.regions.append(region)
        frame.names = []
        self._open.append(frame)
        if brace_taken:
            return
        if lexer.accept("|"):
            while True:
                start = lexer.start
                name = lexer.take("value", "a parameter `%name: type`")
                lexer.expect(":", "after a parameter")
                region.parameters.append(self._define(name, start, self._literals.type()))
                if not lexer.accept(","):
                    break
            lexer.expect("|", "after the parameters")
        frame.brace = lexer.start
        lexer.expect("{", "at the start of a region")

    def _close_region(self) -> None:
        """End the innermost region; go on with its operation's next region or its types."""
        frame = self._open.pop()
        for name in frame.names:
            self._visible.pop(name, None)
        if self._lexer.text in KEYWORDS and self._lexer.kind == "name":
            self._lexer.advance()
            self._open_region(frame, False)
        else:
            self._finish(frame.op, frame.results)

    def _finish(self, op: Op, results: list[tuple[str, int]]) -> None:
        """The types after an operation, which define its results, and its location."""
        lexer = self._lexer
        start = lexer.start
        types: list[Type] = []
        if lexer.accept(":"):
            start = lexer.start
            types.append(self._literals.type())
            while lexer.accept(","):
                types.append(self._literals.type())
        if len(types) != len(results):
            start, text = (results[0][1], results[0][0]) if results else (start, " ")
            self._error("E1008", f"{op.name} has {len(results)} {_plural('result', len(results))} here but "
                        f"{len(types)} {_plural('type', len(types))}", self._span(start, text))
        for (name, name_start), type in zip(results, types, strict=False):
            op.results.append(self._define(name, name_start, type))
        if lexer.text == "loc" and lexer.kind == "name":
            op.location = self._location()

    def _location(self) -> Location:
        lexer = self._lexer
        lexer.advance()
        lexer.expect("(", "after `loc`")
        if lexer.accept(")"):
            return UNKNOWN
        chains = [self._chain()]
        while lexer.accept(","):
            chains.append(self._chain())
        lexer.expect(")", "after a location")
        return Location(tuple(chains))

    def _chain(self) -> tuple[Site, ...]:
        sites = [self._site()]
        while self._lexer.accept("<"):
            sites.append(self._site())
        return tuple(sites)

    def _site(self) -> Site:
        lexer = self._lexer
        path = lexer.take_string("the path of a location")
        lexer.expect(":", "after the path")
        line = self._literals.natural("a line number")
        lexer.expect(":", "after the line")
        return Site(path, line, self._literals.natural("a column number"))


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else noun + "s"


