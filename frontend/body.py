"""The state of checking one body (of a program, test or prompt) and what every kind of expression needs of it.

Checking and lowering are one step: an expression is elaborated to a `Term`, whose operations are written
as its type is found. After an error the term is a poison that fits everywhere, and the IR is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..ir.core import Region, Value, walk
from ..ir.diagnostics import Diagnostics, Label
from ..ir.source import Span
from ..ir.types import Option, Type
from . import ast
from .builder import Builder
from .coercion import coerce
from .inference import UNIT, UNKNOWN, Inference, Tuple, has_variables
from .suggestions import nearest
from .symbols import FileScope, LocalVariable, Scopes
from .terms import NOTHING, Term, poison, tuple_term
from .type_expressions import TypeResolver

Handler = Callable[["Body", Any, "Type | None"], Term]
_DECLARED = {
    "`[]`": "`let xs: list[text] = []`",
    "`[:]`": "`let m: map[text, int] = [:]`",
    "`none`": "`let x: text? = none`",
    "what `parse_json` gives": "`let x: Card? = parse_json(…)`",
}
Path = tuple[LocalVariable, tuple[str, ...]]
"""A variable, or a field of it: what a condition can narrow."""


@dataclass(eq=False)
class Narrowing:
    """Options that are known to hold a value inside `region`, unwrapped at its front when first used."""

    region: Region
    terms: dict[Path, Term] = field(default_factory=dict)


class Body:
    """One body while it is checked. `handlers` maps each class of expression to what elaborates it."""

    handlers: ClassVar[dict[type, Handler]] = {}
    statement_handler: ClassVar[Callable[[Body, ast.Statement], None]]

    def __init__(self, scope: FileScope, diagnostics: Diagnostics, *, effect: Value | None = None) -> None:
        self.scope = scope
        self.diagnostics = diagnostics
        self.builder = Builder(effect)
        self.inference = Inference()
        self.variables = Scopes()
        self.indices: list[Value] = []
        """The indices of the enclosing iterations, outermost first."""
        self.calls_forbidden_in: str | None = None
        """Where calls of semantic functions, hosts and programs may not stand, in words."""
        self.later_outputs: set[str] = set()
        """Outputs of a prompt that are not generated yet."""
        self.run_options: dict[str, ast.Argument] | None = None
        """In a test, what `with` clauses say of the run (`engine`, `seed`)."""
        self._narrowed: dict[Path, list[Narrowing]] = {}

    # ---- diagnostics

    def error(self, code: str, message: str, span: Span, label: str = "", *, notes: Iterable[str] = (),
              fix: str | None = None, labels: Iterable[Label] = ()) -> Term:
        """Report an error; gives the poison to go on with."""
        self.diagnostics.error(code, message, span, label, notes=notes, fix=fix, labels=labels)
        return poison()

    def suggestion(self, name: str, candidates: Iterable[str]) -> str | None:
        """`did you mean …` for a name that is not among `candidates`."""
        found = nearest(name, candidates)
        return f"did you mean `{found}`?" if found else None

    # ---- expressions

    def expression(self, expression: ast.Expr, expected: Type | None = None) -> Term:
        """Elaborate an expression. `expected` is a hint; what gives another type is not an error here."""
        return self.handlers[type(expression)](self, expression, expected)

    def typed(self, expression: ast.Expr, type: Type, purpose: str) -> Value:
        """The value of an expression that must have `type`; `purpose` begins the message where it has not."""
        term = self.expression(expression, type)
        return self.value(self.coerce(term, type, expression.span, purpose), expression.span)

    def operand(self, expression: ast.Expr, expected: Type | None = None) -> Term:
        """An expression that must give one value, of any type."""
        term = self.expression(expression, expected)
        return Term(self.type_of(term), self.value(term, expression.span))

    def type_of(self, term: Term) -> Type:
        """The type of a term as far as it is known."""
        return self.inference.resolve(term.type)

    def value(self, term: Term, span: Span) -> Value:
        """The single value of a term; several outputs become a record."""
        if term.value is not None:
            return term.value
        if term.type == UNIT:
            self.error("E0310", "this gives no value", span, "nothing to use here")
            return Value(UNKNOWN)
        if isinstance(term.type, Tuple):
            self.error("E0311", f"{len(term.parts or ())} values stand where one is needed", span,
                       fix="take them apart: `let (a, b) = …`")
            return Value(UNKNOWN)
        parts = [self.value(part, span) for _, part in term.parts or ()]
        return self.builder.pure("record", parts, self.type_of(term), span)

    def coerce(self, term: Term, type: Type, span: Span, purpose: str) -> Term:
        """`term` as a value of `type`: unchanged, an int as a float, a value as an option, or an error."""
        return coerce(self, term, type, span, purpose)

    def block_values(self, values: Sequence[ast.Expr], expected: Type | None) -> Term:
        """What a block gives: nothing, one value, or several by position."""
        if not values:
            return NOTHING
        if len(values) == 1:
            return self.expression(values[0], expected)
        hints: Sequence[Type | None] = [None] * len(values)
        if isinstance(expected, Tuple) and len(expected.elements) == len(values):
            hints = expected.elements
        return tuple_term([self.expression(v, h) for v, h in zip(values, hints, strict=True)])

    def statement(self, statement: ast.Statement) -> None:
        """Check and lower a statement of a block."""
        type(self).statement_handler(self, statement)

    def resolve_type(self, node: ast.TypeExpr) -> Type:
        """The type that is written."""
        return TypeResolver(self.scope, self.diagnostics).resolve(node)

    # ---- variables

    def define(self, name: str, span: Span, term: Term, kind: str = "variable",
               unused_warning: str | None = None) -> LocalVariable:
        """Add a variable to the innermost scope; a second one of the same name there is an error."""
        earlier = self.variables.own(name)
        if earlier is not None and name != "_":
            self.error("E0207", f"`{name}` is already defined in this scope", span, "defined again",
                       labels=[Label(earlier.span, "first defined here")],
                       fix="choose another name; a variable is written once")
        variable = LocalVariable(name, span, term, kind, unused_warning=unused_warning)
        self.variables.define(variable)
        return variable

    @contextmanager
    def new_scope(self) -> Iterator[None]:
        """A scope of variables; unused ones are reported at its end."""
        self.variables.push()
        try:
            yield
        finally:
            for variable in self.variables.pop():
                if variable.unused_warning and not variable.used and not variable.name.startswith("_"):
                    self.diagnostics.warning(variable.unused_code, variable.unused_warning, variable.span, "never used")

    # ---- narrowing

    def path(self, expression: ast.Expr) -> Path | None:
        """The path of a variable or a field of one; None for other expressions."""
        fields: list[str] = []
        while isinstance(expression, ast.FieldAccess):
            fields.append(expression.name)
            expression = expression.base
        if not isinstance(expression, ast.Name):
            return None
        variable = self.variables.find(expression.name)
        return (variable, tuple(reversed(fields))) if variable else None

    @contextmanager
    def narrowing(self, region: Region, known: Sequence[ast.Expr]) -> Iterator[None]:
        """Inside `region`, the options `known` hold a value."""
        paths = [path for path in map(self.path, known) if path]
        narrowing = Narrowing(region)
        for path in paths:
            self._narrowed.setdefault(path, []).append(narrowing)
        try:
            yield
        finally:
            for path in paths:
                self._narrowed[path].pop()

    def is_narrowed(self, expression: ast.Expr) -> bool:
        """Whether an option is known to hold a value here."""
        path = self.path(expression)
        return path is not None and bool(self._narrowed.get(path))

    def narrowed(self, expression: ast.Expr, plain: Callable[[], Term]) -> Term:
        """The term of a variable or field: `plain()`, or what is in it where it is known to hold a value."""
        path = self.path(expression) if self._narrowed else None
        stack = self._narrowed.get(path) if path else None
        if not stack or path is None:
            return plain()
        narrowing = stack[-1]
        if path not in narrowing.terms:
            stack.pop()
            try:
                with self.builder.in_front(narrowing.region):
                    term = self.narrowed(expression, plain)
                    option = self.type_of(term)
                    if isinstance(option, Option):
                        value = self.value(term, expression.span)
                        unwrapped = self.builder.pure("unwrap", [value], option.element, expression.span)
                        unwrapped.name = value.name
                        term = Term(option.element, unwrapped)
                    narrowing.terms[path] = term
            finally:
                stack.append(narrowing)
        return narrowing.terms[path]

    # ---- the end

    def settle(self, region: Region) -> None:
        """Put the types that were found into the values of a finished body; report what stayed unknown."""
        if not self.diagnostics.has_errors:
            for variable in self.inference.unsolved():
                self.error("E0304", f"the type of {variable.what} cannot be inferred", variable.span,
                           fix=f"write it: {_DECLARED.get(variable.what, 'let x: list[text] = …')}")
        if not self.inference.variables:
            return
        for op in walk(region.ops):
            for value in (*op.results, *(p for r in op.regions for p in r.parameters)):
                if has_variables(value.type):
                    value.type = self.inference.resolve(value.type)
