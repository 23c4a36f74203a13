"""What names stand for: declarations of files, variables of bodies, and the scopes that hold them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..ir.source import Span
from ..ir.types import Enum, Record, Type
from . import ast
from .terms import Term


@dataclass
class ParameterSymbol:
    """A parameter with its type; `default` is its constant expression, `optional` when it may be left out."""

    name: str
    type: Type
    span: Span
    default: ast.Expr | None = None
    optional: bool = False


@dataclass(eq=False)
class Symbol:
    """A declared name. `ir_name` is its unique name in the module."""

    name: str
    span: Span
    scope: FileScope
    ir_name: str = ""
    kind = "name"


@dataclass(eq=False)
class EnumSymbol(Symbol):
    """An enum."""

    type: Enum | None = None
    kind = "enum"


@dataclass(eq=False)
class RecordSymbol(Symbol):
    """A record type; `type` is None while it is being resolved and after an error."""

    declaration: ast.TypeDecl | None = None
    type: Record | None = None
    kind = "type"


@dataclass(eq=False)
class ModelSymbol(Symbol):
    """A model alias."""

    identifier: str = ""
    kind = "model"


@dataclass
class OutputSymbol:
    """An output of a function: what a call gives. `sampled_type` is what one sample has, where `n` makes a list."""

    name: str
    type: Type
    span: Span
    sampled_type: Type | None = None
    logprobs: Type | None = None


@dataclass(eq=False)
class FunctionSymbol(Symbol):
    """What can be called with arguments: a semantic function, host or program."""

    parameters: list[ParameterSymbol] = field(default_factory=list)
    outputs: list[OutputSymbol] = field(default_factory=list)


@dataclass(eq=False)
class SemanticSymbol(FunctionSymbol):
    """A semantic function."""

    declaration: ast.SemanticDecl | None = None
    local_outputs: list[OutputSymbol] = field(default_factory=list)
    """Outputs that the signature does not name."""
    generated: dict[str, ast.OutputHole | ast.InputHole] = field(default_factory=dict)
    """The hole that generates each output, in source order."""
    kind = "semantic function"


@dataclass(eq=False)
class HostSymbol(FunctionSymbol):
    """A host function; it has one output or none."""

    declaration: ast.HostDecl | None = None
    pure: bool = False
    options: dict[str, int | float | bool] = field(default_factory=dict)
    kind = "host"


@dataclass(eq=False)
class ProgramSymbol(FunctionSymbol):
    """A program; `callees` are what its body calls, `effectful` says whether one of them has effects, at any depth."""

    declaration: ast.ProgramDecl | None = None
    callees: list[tuple[FunctionSymbol, Span]] = field(default_factory=list)
    effectful: bool = False
    kind = "program"


@dataclass(eq=False)
class FileScope:
    """The names of one file: its own declarations and what it uses. Models have a namespace of their own."""

    path: str
    directory: str
    names: dict[str, Symbol] = field(default_factory=dict)
    models: dict[str, ModelSymbol] = field(default_factory=dict)
    aliases: dict[str, FileScope] = field(default_factory=dict)
    own: list[Symbol] = field(default_factory=list)
    """Declared in this file, in order, models included."""
    records: list[RecordSymbol] = field(default_factory=list)
    """The record types of this file, each after those that it holds."""


@dataclass(eq=False)
class LocalVariable:
    """A variable of a body: written once."""

    name: str
    span: Span
    term: Term
    kind: str = "variable"
    used: bool = False
    unused_warning: str | None = None
    """What to say when nobody uses it; None says nothing."""
    unused_code: str = "W0101"


class Scopes:
    """Nested scopes of variables."""

    def __init__(self) -> None:
        self._stack: list[dict[str, LocalVariable]] = []

    def push(self) -> None:
        """Enter a scope."""
        self._stack.append({})

    def pop(self) -> Iterable[LocalVariable]:
        """Leave the innermost scope; gives its variables."""
        return self._stack.pop().values()

    def own(self, name: str) -> LocalVariable | None:
        """The variable `name` of the innermost scope."""
        return self._stack[-1].get(name)

    def define(self, variable: LocalVariable) -> None:
        """Add a variable to the innermost scope."""
        self._stack[-1][variable.name] = variable

    def find(self, name: str) -> LocalVariable | None:
        """The innermost variable `name`."""
        for scope in reversed(self._stack):
            if (variable := scope.get(name)) is not None:
                return variable
        return None

    def names(self) -> list[str]:
        """All visible names."""
        return [name for scope in self._stack for name in scope]
