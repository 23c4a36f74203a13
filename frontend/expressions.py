"""Literals, names, fields, indexing, texts, lists and maps."""

from __future__ import annotations

from ..ir.core import Value
from ..ir.source import Span
from ..ir.types import (
    BOOL,
    FLOAT,
    INT,
    TEXT,
    Enum,
    Float,
    Int,
    List,
    Map,
    Option,
    Record,
    Text,
    Type,
    contains,
    strip_bounds,
)
from ..ir.types import Prompt as ChatType
from . import ast
from .body import Body
from .coercion import none_remedy
from .inference import UNKNOWN, Unknown, Variable, describe
from .symbols import EnumSymbol, FileScope, FunctionSymbol, RecordSymbol, Symbol
from .syntax_help import FOREIGN_NAMES
from .terms import Term, poison, tuple_term

PROMPT_WORDS = "a prompt"
"""`Body.calls_forbidden_in` inside prompts."""
LARGEST_INT = 2**63 - 1


def literal(body: Body, node: ast.Literal, expected: Type | None) -> Term:
    """A number, `true`, `false` or `none`; an int is a float where one is expected."""
    return number(body, node.value, node.span, expected)


def number(body: Body, value: int | float | bool | None, span: Span, expected: Type | None) -> Term:
    """The constant `value`."""
    expected = body.inference.resolve(expected) if expected is not None else None
    if value is None:
        element = expected.element if isinstance(expected, Option) else body.inference.fresh(span, "`none`")
        option = strip_bounds(Option(element))
        return Term(option, body.builder.const(None, option, span))
    if isinstance(value, bool):
        return Term(BOOL, body.builder.const(value, BOOL, span))
    wanted = expected.element if isinstance(expected, Option) else expected
    if isinstance(value, int) and isinstance(wanted, Float):
        value = float(value)
    if isinstance(value, float):
        return Term(FLOAT, body.builder.const(value, FLOAT, span))
    if not -LARGEST_INT - 1 <= value <= LARGEST_INT:
        return body.error("E0312", f"{value} is not an int: it needs more than 64 bits", span)
    return Term(INT, body.builder.const(value, INT, span))


def text(body: Body, node: ast.TextExpr, expected: Type | None) -> Term:
    """A text with values in it."""
    pieces: list[Value] = []
    for part in node.parts:
        if isinstance(part, str):
            if part or len(node.parts) == 1:
                pieces.append(body.builder.const(part, TEXT, node.span))
        else:
            pieces.append(rendered(body, body.operand(part), part.span))
    if not pieces:
        return Term(TEXT, body.builder.const("", TEXT, node.span))
    if len(pieces) == 1:
        return Term(TEXT, pieces[0])
    return Term(TEXT, body.builder.pure("concat", pieces, TEXT, node.span))


def rendered(body: Body, term: Term, span: Span) -> Value:
    """The text of a value in a hole or in `${}`."""
    type = body.type_of(term)
    value = body.value(term, span)
    match type:
        case Text() | Unknown():
            return value
        case Option():
            body.error("E0307", f"`{describe(type)}` may be none, which has no text", span, "may be none",
                       fix=none_remedy(span))
            return Value(UNKNOWN)
    if contains(type, (ChatType,)):
        body.error("E0313", "a chat has no text", span,
                   fix="insert it at the very start of a prompt: `{{input:h}}`")
        return Value(UNKNOWN)
    return body.builder.pure("render", [value], TEXT, span)


def name(body: Body, node: ast.Name, expected: Type | None) -> Term:
    """A variable, or a member of the enum that is expected here."""
    variable = body.variables.find(node.name)
    if variable is not None:
        variable.used = True
        found = variable.term
        return body.narrowed(node, lambda: found)
    wanted = body.inference.resolve(expected) if expected is not None else None
    if isinstance(wanted, Option):
        wanted = wanted.element
    if isinstance(wanted, Enum):
        if any(m.name == node.name for m in wanted.members):
            return Term(wanted, body.builder.const(node.name, wanted, node.span))
        if node.name not in body.scope.names:
            return unknown_member(body, wanted, node.name, node.span)
    return unknown_name(body, node)


def unknown_name(body: Body, node: ast.Name) -> Term:
    """Report a name that is no variable."""
    if node.name in body.later_outputs:
        return body.error("E0707", f"the output `{node.name}` is not generated yet at this place", node.span,
                          fix=f"insert it after `{{{{output:{node.name}}}}}`")
    symbol = body.scope.names.get(node.name)
    if symbol is not None:
        article = "an" if symbol.kind == "enum" else "a"
        remedies = {"enum": f"its members are values: `{node.name}.member`", "type": f"make one: `{node.name}(…)`"}
        return body.error("E0208", f"`{node.name}` is {article} {symbol.kind}, not a value", node.span,
                          fix=remedies.get(symbol.kind, f"call it: `{node.name}(…)`"))
    enums = [s for s in body.scope.names.values()
             if isinstance(s, EnumSymbol) and s.type and any(m.name == node.name for m in s.type.members)]
    known = [*body.variables.names(), *body.scope.aliases, *body.scope.names]
    fix = f"write `{enums[0].name}.{node.name}`" if enums else body.suggestion(node.name, known)
    if node.name in FOREIGN_NAMES:
        fix = f"write `{FOREIGN_NAMES[node.name]}`"
    if fix is None and body.calls_forbidden_in == PROMPT_WORDS:
        fix = f"make it a parameter, or generate it: `{{{{output:{node.name}}}}}`"
    return body.error("E0201", f"unknown name `{node.name}`", node.span, "not defined here", fix=fix)


def unknown_member(body: Body, enum: Enum, member: str, span: Span) -> Term:
    """Report a name that is no member of `enum`."""
    fix = body.suggestion(member, [m.name for m in enum.members])
    names = ", ".join(f"`{m.name}`" for m in enum.members[:8])
    return body.error("E0210", f"`{enum.name}` has no member `{member}`", span,
                      notes=[f"its members are {names}"], fix=fix)


def static_symbol(body: Body, expression: ast.Expr) -> Symbol | FileScope | None:
    """The declaration that a name or `alias.name` stands for; None where a variable is meant or nothing is known."""
    if isinstance(expression, ast.Name):
        if body.variables.find(expression.name) is not None:
            return None
        return body.scope.names.get(expression.name) or body.scope.aliases.get(expression.name)
    if isinstance(expression, ast.FieldAccess):
        base = static_symbol(body, expression.base)
        if isinstance(base, FileScope):
            return next((s for s in base.own if s.name == expression.name and s.kind != "model"), None)
    return None


def field_access(body: Body, node: ast.FieldAccess, expected: Type | None) -> Term:
    """`record.field`, an output or the `.chat` of a call, `Severity.low`."""
    base = static_symbol(body, node.base)
    if isinstance(base, EnumSymbol) and base.type is not None:
        if any(m.name == node.name for m in base.type.members):
            return Term(base.type, body.builder.const(node.name, base.type, node.span))
        return unknown_member(body, base.type, node.name, node.name_span)
    if isinstance(base, FileScope):
        return _of_alias(body, node, base)
    if isinstance(base, Symbol):
        return unknown_name(body, node.base) if isinstance(node.base, ast.Name) else poison()
    return body.narrowed(node, lambda: _field(body, node))


def _of_alias(body: Body, node: ast.FieldAccess, file: FileScope) -> Term:
    symbol = next((s for s in file.own if s.name == node.name), None)
    if isinstance(symbol, FunctionSymbol | RecordSymbol):
        return body.error("E0208", f"`{node.name}` is a {symbol.kind}, not a value", node.span,
                          fix="call it: add `(…)`")
    if isinstance(symbol, EnumSymbol):
        return body.error("E0208", f"`{node.name}` is an enum, not a value", node.span, fix="name one of its members")
    fix = body.suggestion(node.name, [s.name for s in file.own])
    return body.error("E0201", f"`{file.path}` declares no `{node.name}`", node.name_span, fix=fix)


def _field(body: Body, node: ast.FieldAccess) -> Term:
    base = body.expression(node.base)
    part = base.part(node.name)
    if part is not None:
        return part
    if node.name == "chat" and base.chat is not None:
        return Term(base.chat.type, base.chat)
    if node.name == "logprobs" and base.logprobs is not None:
        return Term(base.logprobs.type, base.logprobs)
    type = body.type_of(base)
    if isinstance(type, Record) and (found := type.field(node.name)) is not None:
        value = body.builder.pure("field", [body.value(base, node.base.span)], found.type, node.span, name=node.name)
        return Term(found.type, value)
    return _no_field(body, node, type)


def _no_field(body: Body, node: ast.FieldAccess, type: Type) -> Term:
    match type:
        case Unknown():
            return poison()
        case Option(Record()):
            return body.error("E0307", f"this may be none; it has no field `{node.name}` then", node.base.span,
                              f"`{describe(type)}`", fix=none_remedy(node.base.span))
        case Record(_, fields):
            names = [f.name for f in fields]
            fix = body.suggestion(node.name, names) or "its fields are " + ", ".join(f"`{n}`" for n in names[:8])
            return body.error("E0204", f"{describe(type)} has no field `{node.name}`", node.name_span, fix=fix)
    if node.name == "chat":
        return body.error("E0204", "only the call of a semantic function has a `.chat`", node.name_span,
                          fix="name the call and use its `.chat`: `let r = F(…)`, then `r.chat`")
    if node.name == "logprobs":
        return body.error("E0204", "this has no `.logprobs`", node.name_span,
                          fix="ask for them in the output's hole: `{{output:y logprobs=5}}`")
    remedy: str | None = None
    if isinstance(type, List):
        remedy = f"iterate over the elements: `[x.{node.name} for x in …]`"
    elif _is_output(body, node):
        remedy = f"one output is the value of the call itself: drop `.{node.name}`"
    return body.error("E0204", f"a value of type {describe(type)} has no field `{node.name}`", node.name_span, fix=remedy)


def _is_output(body: Body, node: ast.FieldAccess) -> bool:
    """Whether a field is named like the only output of the call that it is asked of."""
    if not isinstance(node.base, ast.Call):
        return False
    symbol = static_symbol(body, node.base.callee)
    return isinstance(symbol, FunctionSymbol) and [o.name for o in symbol.outputs] == [node.name]


def index(body: Body, node: ast.Index, expected: Type | None) -> Term:
    """`xs[i]` and `m[k]`: none where there is no such element."""
    base = body.operand(node.base)
    match base.type:
        case List(element):
            key = body.typed(node.index, INT, "the index")
        case Map(element):
            key = body.typed(node.index, TEXT, "the key")
        case Unknown():
            return poison()
        case _:
            fix = "take a part of it: `x[0:1]`" if isinstance(base.type, Text) else None
            return body.error("E0302", f"a value of type {describe(base.type)} cannot be indexed", node.base.span,
                              fix=fix)
    type = element if isinstance(element, Option) else Option(element)
    return Term(type, body.builder.pure("index", [body.value(base, node.base.span), key], type, node.span))


def slice(body: Body, node: ast.Slice, expected: Type | None) -> Term:
    """`xs[a:b]` of a list or text."""
    base = body.operand(node.base)
    if isinstance(base.type, Unknown):
        return poison()
    if not isinstance(base.type, List | Text):
        return body.error("E0302", f"a value of type {describe(base.type)} cannot be sliced", node.base.span)
    ends = [_slice_end(body, end, node.span) for end in (node.low, node.high)]
    type = strip_bounds(base.type)
    return Term(type, body.builder.pure("slice", [body.value(base, node.base.span), *ends], type, node.span))


def _slice_end(body: Body, end: ast.Expr | None, span: Span) -> Value:
    if end is None:
        return body.builder.const(None, Option(INT), span)
    return body.typed(end, Option(INT), "the end of a slice")


def list_expression(body: Body, node: ast.ListExpr, expected: Type | None) -> Term:
    """`[a, b]`; the element type is what fits all elements."""
    wanted = body.inference.resolve(expected) if expected is not None else None
    hint = wanted.element if isinstance(wanted, List) else None
    if not node.elements:
        element = hint if hint is not None else body.inference.fresh(node.span, "`[]`")
        return Term(List(element), body.builder.pure("list", [], strip_bounds(List(element)), node.span))
    terms = [body.operand(e, hint) for e in node.elements]
    spans = [e.span for e in node.elements]
    common = common_type(body, terms, spans, "element", hint)
    values = [body.value(body.coerce(t, common, s, "an element"), s) for t, s in zip(terms, spans, strict=True)]
    return Term(List(common), body.builder.pure("list", values, List(common), node.span))


def common_type(body: Body, terms: list[Term], spans: list[Span], what: str, hint: Type | None) -> Type:
    """The type of all `terms`: the hint where they fit it, else their join; reports the first that does not fit."""
    if hint is not None and all(_fits(body, t.type, hint) for t in terms):
        return strip_bounds(body.inference.resolve(hint))
    common = terms[0].type
    for number, (term, span) in enumerate(zip(terms[1:], spans[1:], strict=True), 2):
        joined = body.inference.join(common, term.type)
        if joined is None:
            body.error("E0303", f"{what} {number} is {describe(term.type)}, the ones before are {describe(common)}",
                       span, f"expected {describe(common)}, found {describe(term.type)}")
            return UNKNOWN
        common = joined
    return strip_bounds(common)


def _fits(body: Body, actual: Type, wanted: Type) -> bool:
    wanted = body.inference.resolve(wanted)
    match actual, wanted:
        case _, Variable():
            return False
        case Int(), Float():
            return True
        case (Option(a), Option(b)) | (a, Option(b)):
            return _fits(body, a, b)
        case _:
            return body.inference.unify(actual, wanted)


def map_expression(body: Body, node: ast.MapExpr, expected: Type | None) -> Term:
    """`["k": v]`; a later entry replaces an earlier one with the same key."""
    wanted = body.inference.resolve(expected) if expected is not None else None
    hint = wanted.element if isinstance(wanted, Map) else None
    if not node.entries:
        element = hint if hint is not None else body.inference.fresh(node.span, "`[:]`")
        return Term(Map(element), body.builder.pure("map", [], strip_bounds(Map(element)), node.span))
    keys, terms = [], []
    for key, value in node.entries:
        keys.append(body.typed(key, TEXT, "a key"))
        terms.append(body.operand(value, hint))
    spans = [value.span for _, value in node.entries]
    common = common_type(body, terms, spans, "value", hint)
    args: list[Value] = []
    for key_value, term, span in zip(keys, terms, spans, strict=True):
        args += [key_value, body.value(body.coerce(term, common, span, "a value"), span)]
    return Term(Map(common), body.builder.pure("map", args, Map(common), node.span))


def tuple_expression(body: Body, node: ast.TupleExpr, expected: Type | None) -> Term:
    """`(a, b)`: several values by position."""
    term = body.block_values(node.elements, expected)
    return term if term.parts else tuple_term([term])
