"""The syntax tree of a `.sem` file: what the parser gives and the formatter, checker and lowering read.

Nodes are immutable and carry their span. Names are unresolved; `checker` resolves and types them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.source import SourceFile, Span


@dataclass(frozen=True)
class Node:
    """Base of all nodes."""

    span: Span


# ---- types -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NamedType(Node):
    """`text`, `int`, `chat`, an enum, a record, `alias.Name`; `arguments` are `list[T]`'s."""

    name: str
    arguments: tuple[TypeExpr, ...] = ()
    bounds: tuple[tuple[str, Expr], ...] = ()
    """`text(max_tokens = 8)` and `list[T](max = 5)`; `int(0..10)` gives `low` and `high`."""


@dataclass(frozen=True)
class OptionType(Node):
    """`T?`."""

    element: TypeExpr


TypeExpr = NamedType | OptionType


# ---- expressions -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Literal(Node):
    """A number, `true`, `false` or `none`. Text literals are `TextExpr`."""

    value: int | float | bool | None


@dataclass(frozen=True)
class TextExpr(Node):
    """`"…${e}…"`: decoded constant spans and expressions in order."""

    parts: tuple[str | Expr, ...]


@dataclass(frozen=True)
class Name(Node):
    """A variable, a bare enum member, or (as a callee) a function."""

    name: str


@dataclass(frozen=True)
class FieldAccess(Node):
    """`e.name`, `Severity.low`, `alias.Function`."""

    base: Expr
    name: str
    name_span: Span


@dataclass(frozen=True)
class Index(Node):
    """`xs[i]` or `m[k]`, both `T?`."""

    base: Expr
    index: Expr


@dataclass(frozen=True)
class Slice(Node):
    """`xs[a:b]`; a missing end is None."""

    base: Expr
    low: Expr | None
    high: Expr | None


@dataclass(frozen=True)
class Argument(Node):
    """A positional (`name` None) or named argument."""

    name: str | None
    value: Expr


@dataclass(frozen=True)
class Call(Node):
    """`f(a, b = c) with temperature = 0.7, model = small`: a function, host, program, built-in or record."""

    callee: Expr
    arguments: tuple[Argument, ...]
    options: tuple[Argument, ...] = ()


@dataclass(frozen=True)
class ListExpr(Node):
    """`[a, b]`."""

    elements: tuple[Expr, ...]


@dataclass(frozen=True)
class MapExpr(Node):
    """`["k": v]`; `[:]` is empty."""

    entries: tuple[tuple[Expr, Expr], ...]


@dataclass(frozen=True)
class TupleExpr(Node):
    """`(a, b)`: only as what `yield` gives or as a block's last value."""

    elements: tuple[Expr, ...]


@dataclass(frozen=True)
class Unary(Node):
    """`-e` or `not e`."""

    operator: str
    operand: Expr


@dataclass(frozen=True)
class Binary(Node):
    """`+ - * / // % == != < <= > >= and or ??` and `in`."""

    operator: str
    left: Expr
    right: Expr
    operator_span: Span


@dataclass(frozen=True)
class Block(Node):
    """`{ let …; value }`: statements and the values given (several only in for, fold and loop bodies).

    `yield a, b`, `yield (a, b)`, `a, b` and `(a, b)` as the last line all give `values` (a, b), never one TupleExpr; so
    do the branches of an `if` there. A last `if` without an `else` is a statement and gives no value.
    """

    statements: tuple[Statement, ...]
    values: tuple[Expr, ...]


@dataclass(frozen=True)
class If(Node):
    """`if c { … } else { … }`; `otherwise` is a block (an `else if` is a block whose value is an If)."""

    condition: Expr
    then: Block
    otherwise: Block | None


@dataclass(frozen=True)
class MatchArm(Node):
    """`a | b => e`. A pattern is a Name (enum member or `_`), a Literal, a TextExpr or a FieldAccess."""

    patterns: tuple[Expr, ...]
    value: Expr


@dataclass(frozen=True)
class Match(Node):
    """`match e { … }`."""

    subject: Expr
    arms: tuple[MatchArm, ...]


@dataclass(frozen=True)
class Try(Node):
    """`try e else d`."""

    body: Expr
    otherwise: Expr


@dataclass(frozen=True)
class Target(Node):
    """The names that an iteration binds: `x`, `i, x`, `k, v`, `a, b`."""

    names: tuple[str, ...]
    name_spans: tuple[Span, ...]


@dataclass(frozen=True)
class For(Node):
    """`[unordered] for x in xs { … }`."""

    target: Target
    iterable: Expr
    body: Block
    unordered: bool = False


@dataclass(frozen=True)
class Comprehension(Node):
    """`[e for x in xs if c]`."""

    element: Expr
    target: Target
    iterable: Expr
    condition: Expr | None


@dataclass(frozen=True)
class Carried(Node):
    """`acc: T = e`, a value carried from turn to turn."""

    name: str
    type: TypeExpr | None
    initial: Expr


@dataclass(frozen=True)
class Fold(Node):
    """`fold acc = e, … for x in xs { … }`."""

    carried: tuple[Carried, ...]
    target: Target
    iterable: Expr
    body: Block


@dataclass(frozen=True)
class Loop(Node):
    """`loop (a: T = e, …) while c limit n { … }`; `limit` None is an error that the checker reports."""

    carried: tuple[Carried, ...]
    condition: Expr
    limit: Expr | None
    body: Block


Expr = (
    Literal | TextExpr | Name | FieldAccess | Index | Slice | Call | ListExpr | MapExpr | TupleExpr | Unary | Binary
    | Block | If | Match | Try | For | Comprehension | Fold | Loop
)


# ---- statements --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Let(Node):
    """`let x: T = e` or `let (a, b) = e`."""

    names: tuple[str, ...]
    name_spans: tuple[Span, ...]
    type: TypeExpr | None
    value: Expr
    is_tuple: bool


@dataclass(frozen=True)
class ExpressionStatement(Node):
    """A call for its effect: `notify(x)`."""

    value: Expr


@dataclass(frozen=True)
class Objective(Node):
    """`latency`, `throughput`, `ttft`, `deadline(2s)` (`seconds` is set for deadlines)."""

    name: str
    seconds: float | None = None


@dataclass(frozen=True)
class Returned(Node):
    """One value of a `return`, with its objective if `@` gives one."""

    value: Expr
    objective: Objective | None


@dataclass(frozen=True)
class Return(Node):
    """`return a @ latency, b`: ends a program."""

    values: tuple[Returned, ...]


@dataclass(frozen=True)
class Assert(Node):
    """`assert e` in a test."""

    condition: Expr


Statement = Let | ExpressionStatement | Return | Assert


# ---- templates ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Constant(Node):
    """Constant text of a prompt, after dedenting and escapes."""

    text: str


@dataclass(frozen=True)
class InputHole(Node):
    """`{{input:e}}` (`explicit`) or `{{x}}` (resolved by the checker to an input or an output)."""

    value: Expr
    explicit: bool


@dataclass(frozen=True)
class OutputOption(Node):
    """`max_tokens=256`, `stop="\\n"`, …"""

    name: str
    value: Expr


@dataclass(frozen=True)
class OutputHole(Node):
    """`{{output:y: T max_tokens=256 …}}`."""

    name: str
    name_span: Span
    type: TypeExpr | None
    options: tuple[OutputOption, ...]


@dataclass(frozen=True)
class TemplateFor(Node):
    """`{{[unordered] for x in xs}} … {{end}}`."""

    target: Target
    iterable: Expr
    body: tuple[Piece, ...]
    unordered: bool = False


@dataclass(frozen=True)
class TemplateIf(Node):
    """`{{if c}} … {{else}} … {{end}}`; `{{else if c}}` nests."""

    condition: Expr
    then: tuple[Piece, ...]
    otherwise: tuple[Piece, ...]


Piece = Constant | InputHole | OutputHole | TemplateFor | TemplateIf


@dataclass(frozen=True)
class Template(Node):
    """One `\"\"\"…\"\"\"` text, split at its tags; `raw` is the text between the quotes, for the formatter."""

    pieces: tuple[Piece, ...]
    raw: str


@dataclass(frozen=True)
class RolePart(Node):
    """`system|user|assistant \"\"\"…\"\"\"`."""

    role: str
    template: Template


@dataclass(frozen=True)
class RoleFor(Node):
    """`for x in xs { user … assistant … }` in a semantic body (no outputs inside)."""

    target: Target
    iterable: Expr
    parts: tuple[PromptPart, ...]


PromptPart = Template | RolePart | RoleFor


# ---- declarations ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Use(Node):
    """`use "x.sem" as x`; `path_span` covers the text."""

    path: str
    alias: str | None
    path_span: Span


@dataclass(frozen=True)
class EnumMemberDecl(Node):
    """`critical` or `c = "Unseen incident"`."""

    name: str
    text: str | None


@dataclass(frozen=True)
class EnumDecl(Node):
    """`enum Severity { critical, high, low }`."""

    name: str
    name_span: Span
    members: tuple[EnumMemberDecl, ...]


@dataclass(frozen=True)
class FieldDecl(Node):
    """`service: text`."""

    name: str
    name_span: Span
    type: TypeExpr


@dataclass(frozen=True)
class TypeDecl(Node):
    """`type Finding { service: text, … }`."""

    name: str
    name_span: Span
    fields: tuple[FieldDecl, ...]


@dataclass(frozen=True)
class ModelDecl(Node):
    """`model small = "Qwen/Qwen3-0.6B"`."""

    name: str
    name_span: Span
    identifier: str


@dataclass(frozen=True)
class Parameter(Node):
    """`task: text = "a snake game"`."""

    name: str
    name_span: Span
    type: TypeExpr
    default: Expr | None


@dataclass(frozen=True)
class HostOption(Node):
    """`pure`, `idempotent` (value true), `timeout = 10s` (seconds), `retries = 2`."""

    name: str
    value: int | float | bool


@dataclass(frozen=True)
class HostDecl(Node):
    """`host f(x: text) -> list[text] from "tools.logs:fetch" (pure, timeout = 10s)`."""

    name: str
    name_span: Span
    parameters: tuple[Parameter, ...]
    result: TypeExpr | None
    target: str
    target_span: Span
    options: tuple[HostOption, ...]


@dataclass(frozen=True)
class SemanticDecl(Node):
    """`semantic F(x: text) -> (y: text) using small { … }`; `outputs` are the named outputs."""

    name: str
    name_span: Span
    parameters: tuple[Parameter, ...]
    outputs: tuple[FieldDecl, ...]
    model: str | None
    model_span: Span | None
    parts: tuple[PromptPart, ...]


@dataclass(frozen=True)
class ProgramDecl(Node):
    """`program P(x: text) -> (y: text) { … }`."""

    name: str
    name_span: Span
    parameters: tuple[Parameter, ...]
    outputs: tuple[FieldDecl, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class TestDecl(Node):
    """`test "…" { let r = P(x = 1) with engine reference … assert … }`; `with engine` is a call option."""

    name: str
    body: tuple[Statement, ...]


Declaration = Use | EnumDecl | TypeDecl | ModelDecl | HostDecl | SemanticDecl | ProgramDecl | TestDecl


@dataclass(frozen=True)
class Comment:
    """A `# …` comment, for the formatter; `own_line` when nothing but space stands before it."""

    span: Span
    text: str
    own_line: bool


@dataclass(frozen=True)
class File:
    """A parsed file."""

    source: SourceFile
    declarations: tuple[Declaration, ...]
    comments: tuple[Comment, ...]
