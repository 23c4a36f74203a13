"""Declarations of one file: their names, types and signatures. Bodies are checked afterwards."""

from __future__ import annotations

import os
import re

from ..ir.diagnostics import Diagnostics, Label
from ..ir.source import Span
from ..ir.types import Enum, EnumMember, Field, Record, Type
from . import ast
from .arguments import is_optional
from .constants import evaluate_constant
from .inference import Unknown
from .prompt_outputs import semantic_outputs
from .symbols import (
    EnumSymbol,
    FileScope,
    FunctionSymbol,
    HostSymbol,
    ModelSymbol,
    OutputSymbol,
    ParameterSymbol,
    ProgramSymbol,
    RecordSymbol,
    SemanticSymbol,
    Symbol,
)
from .type_expressions import RESERVED, TYPE_NAMES, TypeResolver, holds_chat
from .walk import nodes

_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def declare_names(file: ast.File, scope: FileScope, diagnostics: Diagnostics, taken: set[str]) -> None:
    """Enter a symbol for each declaration of `file` into its scope; duplicates are reported.

    `taken` holds the names that the module has already; one that is among them is put behind its file's name.
    """
    for node in file.declarations:
        symbol: Symbol
        match node:
            case ast.EnumDecl():
                symbol = EnumSymbol(node.name, node.name_span, scope, type=None)
            case ast.TypeDecl():
                symbol = RecordSymbol(node.name, node.name_span, scope, declaration=node)
            case ast.ModelDecl():
                symbol = ModelSymbol(node.name, node.name_span, scope, identifier=node.identifier)
            case ast.HostDecl():
                symbol = HostSymbol(node.name, node.name_span, scope, declaration=node)
            case ast.SemanticDecl():
                symbol = SemanticSymbol(node.name, node.name_span, scope, declaration=node)
            case ast.ProgramDecl():
                symbol = ProgramSymbol(node.name, node.name_span, scope, declaration=node)
            case _:
                continue
        _enter(symbol, scope, diagnostics)
        symbol.ir_name = _ir_name(symbol, taken)
        if isinstance(symbol, EnumSymbol) and isinstance(node, ast.EnumDecl):
            symbol.type = _enum(node, symbol.ir_name, diagnostics)


def _ir_name(symbol: Symbol, taken: set[str]) -> str:
    prefix = "model " if isinstance(symbol, ModelSymbol) else ""
    stem = os.path.splitext(os.path.basename(symbol.scope.path))[0]
    name = symbol.name
    number = 2
    while prefix + name in taken:
        name = f"{stem}.{symbol.name}" if name == symbol.name else f"{stem}_{number}.{symbol.name}"
        number += 1
    taken.add(prefix + name)
    return name


def _enter(symbol: Symbol, scope: FileScope, diagnostics: Diagnostics) -> None:
    if isinstance(symbol, ModelSymbol):
        earlier: Symbol | None = scope.models.get(symbol.name)
    else:
        earlier = scope.names.get(symbol.name)
    if earlier is not None:
        diagnostics.error("E0206", f"`{symbol.name}` is declared twice", symbol.span, "declared again",
                          labels=[Label(earlier.span, "first declared here")], fix="choose another name")
        symbol.name = f"{symbol.name} (second declaration)"
    elif symbol.name in (*TYPE_NAMES, RESERVED) and not isinstance(symbol, ModelSymbol):
        diagnostics.error("E0206", f"`{symbol.name}` is the name of a built-in type", symbol.span,
                          fix="choose another name")
    scope.own.append(symbol)
    if isinstance(symbol, ModelSymbol):
        scope.models.setdefault(symbol.name, symbol)
    else:
        scope.names.setdefault(symbol.name, symbol)


def _enum(node: ast.EnumDecl, ir_name: str, diagnostics: Diagnostics) -> Enum:
    names: dict[str, Span] = {}
    texts: dict[str, Span] = {}
    members = []
    for member in node.members:
        text = member.name if member.text is None else member.text
        if member.name in names:
            diagnostics.error("E0206", f"the member `{member.name}` is declared twice", member.span)
        elif text in texts:
            diagnostics.error("E0212", f"two members have the text `{text}`", member.span,
                              labels=[Label(texts[text], "the first one")], fix="give it another text")
        elif text == "":
            diagnostics.error("E0212", f"the member `{member.name}` has an empty text", member.span)
        else:
            members.append(EnumMember(member.name, text))
        names[member.name] = texts[text] = member.span
    if not node.members:
        diagnostics.error("E0212", f"the enum `{node.name}` has no members", node.name_span)
    return Enum(ir_name, tuple(members))


def resolve_record_types(scope: FileScope, diagnostics: Diagnostics) -> None:
    """Resolve the record types of a file, each after the ones that it holds. Files in use are resolved before."""
    records = [s for s in scope.own if isinstance(s, RecordSymbol)]
    state: dict[RecordSymbol, str] = {}

    def mentioned(symbol: RecordSymbol) -> list[tuple[RecordSymbol, Span]]:
        assert symbol.declaration is not None
        found = []
        for node in nodes(symbol.declaration):
            if isinstance(node, ast.NamedType):
                other = scope.names.get(node.name)
                if isinstance(other, RecordSymbol) and other.scope is scope:
                    found.append((other, node.span))
        return found

    def visit(symbol: RecordSymbol) -> None:
        state[symbol] = "open"
        for other, span in mentioned(symbol):
            if state.get(other) == "open":
                diagnostics.error("E0308", f"the type `{other.name}` holds itself", span,
                                  fix="keep the inner values in a list of another type, linked by an id")
            elif other not in state:
                visit(other)
        symbol.type = _record(symbol, scope, diagnostics)
        state[symbol] = "done"
        scope.records.append(symbol)

    for symbol in records:
        if symbol not in state:
            visit(symbol)


def _record(symbol: RecordSymbol, scope: FileScope, diagnostics: Diagnostics) -> Record | None:
    node = symbol.declaration
    assert node is not None
    fields: list[Field] = []
    known = True
    for field in node.fields:
        type = TypeResolver(scope, diagnostics).resolve(field.type)
        if any(f.name == field.name for f in fields):
            diagnostics.error("E0206", f"the field `{field.name}` is declared twice", field.name_span)
        elif holds_chat(type):
            diagnostics.error("E0213", "a chat cannot be a field of a type", field.type.span,
                              fix="keep the chat in a variable of its own")
            known = False
        elif isinstance(type, Unknown):
            known = False
        else:
            fields.append(Field(field.name, type))
    if not node.fields:
        diagnostics.error("E0212", f"the type `{node.name}` has no fields", node.name_span)
    return Record(symbol.ir_name, tuple(fields)) if known else None


def resolve_signatures(scope: FileScope, diagnostics: Diagnostics) -> None:
    """Parameters, outputs and options of every function of a file."""
    for symbol in scope.own:
        match symbol:
            case HostSymbol():
                _host(symbol, diagnostics)
            case SemanticSymbol(declaration=ast.SemanticDecl() as node):
                symbol.parameters = _parameters(symbol, node.parameters, diagnostics)
                semantic_outputs(symbol, TypeResolver(scope, diagnostics), diagnostics)
            case ProgramSymbol(declaration=ast.ProgramDecl() as node):
                symbol.parameters = _parameters(symbol, node.parameters, diagnostics)
                symbol.outputs = [
                    OutputSymbol(o.name, TypeResolver(scope, diagnostics).resolve(o.type), o.name_span)
                    for o in node.outputs
                ]
                report_duplicate_outputs(node.outputs, diagnostics)


def report_duplicate_outputs(outputs: tuple[ast.FieldDecl, ...], diagnostics: Diagnostics) -> None:
    """Outputs of one function have different names."""
    seen: dict[str, Span] = {}
    for output in outputs:
        if output.name in seen:
            diagnostics.error("E0206", f"the output `{output.name}` is declared twice", output.name_span,
                              labels=[Label(seen[output.name], "first declared here")])
        seen[output.name] = output.name_span


def _parameters(symbol: FunctionSymbol, nodes: tuple[ast.Parameter, ...],
                diagnostics: Diagnostics) -> list[ParameterSymbol]:
    resolver = TypeResolver(symbol.scope, diagnostics)
    seen: dict[str, Span] = {}
    parameters = []
    for node in nodes:
        type = resolver.resolve(node.type)
        if node.name in seen:
            diagnostics.error("E0206", f"the parameter `{node.name}` is declared twice", node.name_span,
                              labels=[Label(seen[node.name], "first declared here")])
            continue
        seen[node.name] = node.name_span
        if node.default is not None and not isinstance(type, Unknown):
            evaluate_constant(symbol.scope, node.default, type, f"the default of `{node.name}`", diagnostics)
        parameters.append(
            ParameterSymbol(node.name, type, node.name_span, node.default, is_optional(type, node.default)))
    return parameters


def _host(symbol: HostSymbol, diagnostics: Diagnostics) -> None:
    node = symbol.declaration
    assert node is not None
    symbol.parameters = _parameters(symbol, node.parameters, diagnostics)
    for parameter, parameter_node in zip(symbol.parameters, node.parameters, strict=False):
        _no_chat(parameter.type, parameter_node.type.span, diagnostics)
    if node.result is not None:
        type: Type = TypeResolver(symbol.scope, diagnostics).resolve(node.result)
        _no_chat(type, node.result.span, diagnostics)
        symbol.outputs = [OutputSymbol(symbol.name, type, node.name_span)]
    if not _TARGET.fullmatch(node.target):
        diagnostics.error("E0801", f"`{node.target}` names no Python function", node.target_span,
                          fix='write the module, a colon and the function: `from "tools.logs:fetch"`')
    for option in node.options:
        if option.name in symbol.options:
            diagnostics.error("E0404", f"the option `{option.name}` is given twice", option.span)
        symbol.options[option.name] = option.value
    symbol.pure = symbol.options.get("pure") is True
    retries = next((o for o in node.options if o.name == "retries"), None)
    if retries and retries.value and not symbol.pure and symbol.options.get("idempotent") is not True:
        diagnostics.error("E0802", f"`retries` may run `{node.name}` twice, and it is not `pure`", retries.span,
                          fix="add `idempotent` if a second run does no harm, or remove `retries`")
    if symbol.pure and not symbol.outputs:
        diagnostics.error("E0803", f"the host `{node.name}` is `pure` and gives nothing", node.name_span,
                          fix="remove `pure`, or declare what it gives: `-> text`")


def _no_chat(type: Type, span: Span, diagnostics: Diagnostics) -> None:
    if holds_chat(type):
        diagnostics.error("E0213", "a chat cannot cross to a host function", span,
                          fix="pass the texts instead")

