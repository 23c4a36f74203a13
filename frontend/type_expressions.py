"""Types as they are written to types of values."""

from __future__ import annotations

from collections.abc import Iterable

from ..ir.diagnostics import Diagnostics
from ..ir.source import Span
from ..ir.types import (
    BOOL,
    FLOAT,
    INT,
    PROMPT,
    TEXT,
    Enum,
    Int,
    List,
    Map,
    Option,
    Prompt,
    Record,
    Text,
    Type,
    contains,
)
from . import ast
from .constants import ConstantEvaluator, NotConstant
from .inference import UNKNOWN, Unknown, describe
from .suggestions import nearest
from .symbols import EnumSymbol, FileScope, RecordSymbol, Symbol

SIMPLE: dict[str, Type] = {"text": TEXT, "int": INT, "float": FLOAT, "bool": BOOL, "chat": PROMPT}
TYPE_NAMES = (*SIMPLE, "list", "map")
RESERVED = "image"
LIKELY_MEANT = {
    "string": "text", "str": "text", "String": "text", "number": "float", "integer": "int", "boolean": "bool",
    "double": "float", "dict": "map", "array": "list", "List": "list", "Text": "text", "Int": "int", "any": "text",
}


class TypeResolver:
    """Resolves the types that one file writes. Record types that a type mentions must be resolved before it."""

    def __init__(self, scope: FileScope, diagnostics: Diagnostics) -> None:
        self.scope = scope
        self.diagnostics = diagnostics

    def _error(self, code: str, message: str, span: Span, label: str = "", fix: str | None = None) -> Type:
        self.diagnostics.error(code, message, span, label, fix=fix)
        return UNKNOWN

    def resolve(self, node: ast.TypeExpr) -> Type:
        """The type that `node` stands for; the unknown type after an error."""
        if isinstance(node, ast.OptionType):
            element = self.resolve(node.element)
            if isinstance(element, Option):
                self._error("E0305", "an option of an option is no type", node.span, fix="one `?` is enough")
                return element
            return element if isinstance(element, Unknown) else Option(element)
        if node.name in ("list", "map"):
            return self._container(node)
        if node.arguments:
            self._error("E0306", f"`{node.name}` takes no type in brackets", node.span)
        if node.name in SIMPLE:
            return self._bounded(node, SIMPLE[node.name])
        found = self._named(node)
        if node.bounds and not isinstance(found, Unknown):
            self._error("E0306", f"`{node.name}` has no bounds", node.span)
        return found

    def _container(self, node: ast.NamedType) -> Type:
        elements = [self.resolve(a) for a in node.arguments]
        if node.name == "list":
            if len(elements) != 1:
                return self._error("E0306", "`list` needs the type of its elements", node.span,
                                   fix="write `list[text]`")
            return UNKNOWN if isinstance(elements[0], Unknown) else self._bounded(node, List(elements[0]))
        if len(elements) != 2:
            return self._error("E0306", "`map` needs the types of its keys and values", node.span,
                               fix="write `map[text, int]`")
        if any(isinstance(e, Unknown) for e in elements):
            return UNKNOWN
        if not isinstance(elements[0], Text):
            self._error("E0306", f"the keys of a map are texts, not {describe(elements[0])}", node.arguments[0].span,
                        fix="write `map[text, …]`")
        return self._bounded(node, Map(elements[1]))

    def _bounded(self, node: ast.NamedType, type: Type) -> Type:
        """`type` with the bounds that are written behind it."""
        allowed = {Text: ("max_tokens",), Int: ("low", "high"), List: ("max",)}.get(type.__class__, ())
        bounds: dict[str, int] = {}
        for name, value in node.bounds:
            if name not in allowed:
                is_range = name in ("low", "high")
                fix = {"text": "write `text(max_tokens = 8)`", "int": "write `int(0..10)`",
                       "list": "write `list[text](max = 5)`"}.get(node.name, "remove it")
                problem = "takes no range" if is_range else f"has no bound `{name}`"
                self._error("E0306", f"`{node.name}` {problem}", value.span, fix=fix)
                if is_range:
                    break
                continue
            try:
                literal = ConstantEvaluator(self.scope).evaluate(value, INT)
            except NotConstant as error:
                self._error("E0306", "a bound is a constant int", error.span)
                continue
            assert isinstance(literal, int)
            if name in ("max_tokens", "max") and literal < (1 if name == "max_tokens" else 0):
                self._error("E0306", f"`{name}` is at least {1 if name == 'max_tokens' else 0}", value.span)
                continue
            bounds[name] = literal
        match type:
            case Text():
                return Text(bounds.get("max_tokens"))
            case Int():
                low, high = bounds.get("low"), bounds.get("high")
                if low is not None and high is not None and low > high:
                    return self._error("E0306", f"no int is in {low}..{high}", node.span)
                return Int(low, high)
            case List(element):
                return List(element, bounds.get("max"))
        return type

    def _named(self, node: ast.NamedType) -> Type:
        if node.name == RESERVED:
            return self._error("E0211", "`image` is reserved for a later version", node.span)
        symbol: Symbol | None
        candidates = list(self.scope.names.values())
        if "." in node.name:
            alias, _, name = node.name.partition(".")
            file = self.scope.aliases.get(alias)
            if file is None:
                return self._error("E0201", f"no file is used as `{alias}`", node.span,
                                   fix=nearest_fix(alias, self.scope.aliases))
            symbol = next((s for s in file.own if s.name == name and s.kind != "model"), None)
            candidates = file.own
        else:
            symbol = self.scope.names.get(node.name)
        match symbol:
            case EnumSymbol(type=Enum() as type) | RecordSymbol(type=Record() as type):
                return type
            case EnumSymbol() | RecordSymbol():
                return UNKNOWN
            case Symbol():
                return self._error("E0208", f"`{node.name}` is a {symbol.kind}, not a type", node.span)
        types = [s.name for s in candidates if isinstance(s, EnumSymbol | RecordSymbol)]
        if node.name in LIKELY_MEANT:
            fix: str | None = f"the type is called `{LIKELY_MEANT[node.name]}`"
        else:
            fix = nearest_fix(node.name.rpartition(".")[2], [*types, *TYPE_NAMES])
        return self._error("E0203", f"unknown type `{node.name}`", node.span, "not defined here", fix)


def nearest_fix(name: str, candidates: Iterable[str]) -> str | None:
    """`did you mean …`, or None."""
    found = nearest(name, candidates)
    return f"did you mean `{found}`?" if found else None


def holds_chat(type: Type) -> bool:
    """Whether a chat is a part of `type`."""
    return contains(type, (Prompt,))
