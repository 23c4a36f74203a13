"""Source files to a checked module: the frontend's entry points. Nothing is run and no host module is imported."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..ir.core import Module, Op, clone_module
from ..ir.diagnostics import Diagnostic, Diagnostics, InputError
from ..ir.source import SourceFile, Span
from ..ir.types import Prompt, contains
from . import ast
from . import elaboration as elaboration  # completes `Body`
from .call_graph import choose_root, resolve_calls
from .linking import link
from .loader import LoadedProgram, load
from .module_assembly import assemble, reachable
from .programs import lower_program
from .prompts import lower_semantic
from .source_reader import Read, read_bytes
from .symbols import FileScope, FunctionSymbol, ModelSymbol, ProgramSymbol, SemanticSymbol
from .test_blocks import Assertion, LoweredTest, lower_test, report_same_names

__all__ = ["Assertion", "CheckResult", "CheckedProgram", "CompiledTests", "CompiledUnit", "TestUnit", "check_file",
           "check_path", "compile_file", "compile_tests"]

_UNUSED = ("W0101", "W0102", "W0103")
_DEEPEST = 20_000
"""Python frames that checking may use: a chain of `else if` costs about eight for each link."""


@dataclass(frozen=True)
class CheckedProgram:
    """A file without errors and the files that it uses, checked and lowered. `scopes` ends with the main file's."""

    loaded: LoadedProgram
    scopes: tuple[FileScope, ...]
    lowered: dict[FunctionSymbol, Op]
    tests: tuple[LoweredTest, ...]

    @property
    def programs(self) -> list[ProgramSymbol]:
        """The programs that the main file declares."""
        return [s for s in self.scopes[-1].own if isinstance(s, ProgramSymbol)]

    @property
    def models(self) -> dict[str, str]:
        """The model aliases of all files and what the source names for them."""
        return {s.ir_name: s.identifier for scope in self.scopes for s in scope.own if isinstance(s, ModelSymbol)}


@dataclass(frozen=True)
class CheckResult:
    """What checking found. `program` is None when there are errors."""

    diagnostics: list[Diagnostic]
    program: CheckedProgram | None

    @property
    def has_errors(self) -> bool:
        """Whether anything is an error."""
        return any(d.severity == "error" for d in self.diagnostics)


@dataclass(frozen=True)
class TestUnit:
    """One `test` block, ready to compile and run like a program.

    `module` is at level `sem`; its root is the program `root`, without parameters. Run it on `engine` (the test's
    `with engine …`; None: the one that the user chose) and read for each assertion the bool output `output`; it holds
    iff the output is true. An output that failed makes the test fail with its error. `left` and `right` of an
    assertion name the outputs that hold the sides of a comparison, for the message.
    """

    __test__ = False  # no test of pytest
    name: str
    span: Span
    module: Module
    root: str
    engine: str | None
    assertions: tuple[Assertion, ...]


@dataclass(frozen=True)
class CompiledUnit:
    """A program ready for the passes: `module` is at level `sem`, its root is `root`, which no other program calls.

    The module holds what the root reaches, and nothing else. `diagnostics` are warnings.
    """

    module: Module
    root: str
    diagnostics: list[Diagnostic]
    programs: tuple[str, ...]
    """The programs that the file declares."""
    models: dict[str, str]
    """Model aliases and what the source names for them."""
    sources: tuple[SourceFile, ...] = field(repr=False)


@dataclass(frozen=True)
class CompiledTests:
    """The tests of a file. `diagnostics` are warnings."""

    tests: tuple[TestUnit, ...]
    diagnostics: list[Diagnostic]
    models: dict[str, str]


def check_file(path: str, *, read: Read | None = None) -> CheckResult:
    """Check a file and all that it uses; never raises for what they hold. `read` gives the bytes of a path."""
    diagnostics = Diagnostics()
    with _room_for_large_sources():
        try:
            program = _check(path, diagnostics, read or read_bytes)
        except RecursionError:
            diagnostics.error("E0022", f"`{path}` is nested too deeply", None,
                              fix="name inner parts with `let`, or move them into programs of their own")
            program = None
    if diagnostics.has_errors:  # what is unused may be so because of an error
        diagnostics.items = [d for d in diagnostics if d.code not in _UNUSED]
    return CheckResult(_sorted(diagnostics), None if diagnostics.has_errors else program)


def check_path(path: str, diagnostics: Diagnostics) -> CheckedProgram | None:
    """Like `check_file`, with what is found added to `diagnostics`."""
    result = check_file(path)
    diagnostics.items += result.diagnostics
    return result.program


def compile_file(path: str, *, program: str | None = None, read: Read | None = None) -> CompiledUnit:
    """Check a file and give the module of its root, or of the program called `program`. Raises InputError."""
    checked, warnings = _checked(path, read)
    root = choose_root(checked.programs, path, program)
    _refuse_chats(root)
    module = assemble(checked.scopes, reachable([root]), checked.lowered)
    return CompiledUnit(module, root.ir_name, warnings, tuple(p.name for p in checked.programs), checked.models,
                        tuple(f.source for f in checked.loaded.files))


def compile_tests(path: str, *, read: Read | None = None) -> CompiledTests:
    """Check a file and give a module for each of its tests. Raises InputError."""
    checked, warnings = _checked(path, read)
    units = []
    for test in checked.tests:
        module = clone_module(assemble(checked.scopes, reachable(test.callees), checked.lowered, test.op))
        units.append(TestUnit(test.name, test.span, module, test.op.symbol, test.engine, test.assertions))
    return CompiledTests(tuple(units), warnings, checked.models)


def _checked(path: str, read: Read | None) -> tuple[CheckedProgram, list[Diagnostic]]:
    result = check_file(path, read=read)
    if result.program is None:
        raise InputError(result.diagnostics)
    return result.program, result.diagnostics


def _check(path: str, diagnostics: Diagnostics, read: Read) -> CheckedProgram | None:
    loaded = load(path, diagnostics, read)
    if loaded is None:
        return None
    scopes = link(loaded, diagnostics)
    symbols = [s for scope in scopes.values() for s in scope.own]
    resolve_calls([s for s in symbols if isinstance(s, ProgramSymbol)], diagnostics)
    lowered: dict[FunctionSymbol, Op] = {}
    for symbol in symbols:
        if isinstance(symbol, SemanticSymbol):
            lowered[symbol] = lower_semantic(symbol, diagnostics)
        elif isinstance(symbol, ProgramSymbol):
            lowered[symbol] = lower_program(symbol, diagnostics)
    main = scopes[loaded.main.source.path]
    blocks = [d for d in loaded.main.declarations if isinstance(d, ast.TestDecl)]
    report_same_names(blocks, diagnostics)
    tests = tuple(lower_test(node, main, number, diagnostics) for number, node in enumerate(blocks, 1))
    return CheckedProgram(loaded, tuple(scopes.values()), lowered, tests)


def _refuse_chats(root: ProgramSymbol) -> None:
    """What a program takes and gives outside is JSON; a chat is not."""
    for what, items in (("parameter", root.parameters), ("output", root.outputs)):
        for item in items:
            if contains(item.type, (Prompt,)):
                raise InputError.of("E0805", f"the {what} `{item.name}` of the root program holds a chat", item.span,
                                    fix="chats live inside a run: pass texts in and out")


def _sorted(diagnostics: Diagnostics) -> list[Diagnostic]:
    """By file and place; those without a place first."""
    def key(diagnostic: Diagnostic) -> tuple[str, int]:
        label = diagnostic.primary
        return (label.span.source.path, label.span.start) if label else ("", -1)

    return sorted(diagnostics.items, key=key)


@contextmanager
def _room_for_large_sources() -> Iterator[None]:
    """Room for deeply nested sources; Python frames do not use the C stack.

    The collector rests: trees and IR are kept anyway, and looking at them again and again is what large sources cost.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _DEEPEST))
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
        if collects:
            gc.enable()
