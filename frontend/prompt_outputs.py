"""The outputs of semantic functions: which hole generates each, and what a call gives for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..ir.diagnostics import Diagnostics, Label
from ..ir.source import Span
from ..ir.types import FLOAT, TEXT, Field, List, Record, Text, Type
from . import ast
from .inference import Inference, Unknown, describe
from .suggestions import nearest
from .symbols import OutputSymbol, SemanticSymbol
from .type_expressions import TypeResolver, holds_chat

_ALTERNATIVE = Record(None, (Field("token", TEXT), Field("logprob", FLOAT)))
LOGPROBS = List(Record(None, (Field("token", TEXT), Field("logprob", FLOAT), Field("top", List(_ALTERNATIVE)))))
"""The type of `y.logprobs`: one record for each token."""


@dataclass(frozen=True)
class _Hole:
    """A hole that generates, or may; `place` says in words why it may not, `role` is its part's."""

    node: ast.OutputHole | ast.InputHole
    place: str | None
    role: str | None


def semantic_outputs(symbol: SemanticSymbol, resolver: TypeResolver, diagnostics: Diagnostics) -> None:
    """Fill in `symbol.outputs` and `symbol.generated`; reports outputs without a hole and holes where none may be."""
    declaration = symbol.declaration
    assert declaration is not None
    declared: dict[str, OutputSymbol] = {}
    for output in declaration.outputs:
        if _is_free(symbol, output, declared, diagnostics):
            type = resolver.resolve(output.type)
            declared[output.name] = OutputSymbol(output.name, type, output.name_span)
            if holds_chat(type):
                diagnostics.error("E0213", "a model cannot generate a chat", output.type.span,
                                  fix="the chat of a call is its `.chat`")
    if not declaration.outputs:
        diagnostics.error("E0703", f"`{symbol.name}` has no output", symbol.span, fix="declare one: `-> y: text`")
    names = {p.name for p in symbol.parameters}
    for hole in _holes(declaration.parts, names):
        _register(symbol, hole, declared, resolver, diagnostics)
    for output_symbol in declared.values():
        if output_symbol.name not in symbol.generated:
            diagnostics.error("E0701", f"the output `{output_symbol.name}` has no hole", output_symbol.span,
                              "declared here", fix=f"add `{{{{output:{output_symbol.name}}}}}` to the prompt")
    symbol.outputs = list(declared.values())


def _is_free(symbol: SemanticSymbol, output: ast.FieldDecl, declared: dict[str, OutputSymbol],
             diagnostics: Diagnostics) -> bool:
    """Whether the name of an output is not taken."""
    parameter = next((p for p in symbol.parameters if p.name == output.name), None)
    earlier = parameter.span if parameter else declared[output.name].span if output.name in declared else None
    if earlier is not None:
        what = "a parameter" if parameter else "an output"
        diagnostics.error("E0206", f"`{output.name}` is {what} already", output.name_span,
                          labels=[Label(earlier, "first declared here")], fix="choose another name")
        return False
    if output.name in ("chat", "logprobs"):
        diagnostics.error("E0206", f"`.{output.name}` of a call has a meaning already", output.name_span,
                          fix="choose another name")
        return False
    return True


def _holes(parts: Sequence[ast.PromptPart], names: Iterable[str]) -> Iterable[_Hole]:
    """The holes in source order; of short ones, those that name no variable."""
    for part in parts:
        match part:
            case ast.Template(pieces=pieces):
                yield from _template_holes(pieces, set(names), None, None)
            case ast.RolePart(role=role, template=template):
                yield from _template_holes(template.pieces, set(names), None, role)
            case ast.RoleFor(target=target, parts=inner):
                for hole in _holes(inner, {*names, *target.names}):
                    yield _Hole(hole.node, "a `for`", hole.role)


def _template_holes(pieces: Sequence[ast.Piece], names: set[str], place: str | None,
                    role: str | None) -> Iterable[_Hole]:
    for piece in pieces:
        match piece:
            case ast.OutputHole():
                yield _Hole(piece, place, role)
            case ast.InputHole(value=ast.Name(name=name), explicit=False) if name not in names:
                yield _Hole(piece, place, role)
            case ast.TemplateFor(target=target, body=body):
                yield from _template_holes(body, names | set(target.names), "a `for`", role)
            case ast.TemplateIf(then=then, otherwise=otherwise):
                yield from _template_holes(then, names, "an `if`", role)
                yield from _template_holes(otherwise, names, "an `if`", role)


def _register(symbol: SemanticSymbol, hole: _Hole, declared: dict[str, OutputSymbol], resolver: TypeResolver,
              diagnostics: Diagnostics) -> None:
    """Make `hole` the one that generates its output, if it does."""
    node = hole.node
    if isinstance(node, ast.InputHole):
        assert isinstance(node.value, ast.Name)
        name, name_span = node.value.name, node.value.span
        if name not in declared or name in symbol.generated:
            return  # a later use of an output, or an unknown name, which the prompt's lowering reports
    else:
        name, name_span = node.name, node.name_span
    if name in symbol.generated:
        diagnostics.error("E0704", f"the output `{name}` is generated twice", node.span, "a second time here",
                          labels=[Label(symbol.generated[name].span, "first here")],
                          fix=f"insert what was generated: `{{{{{name}}}}}`")
        return
    if any(p.name == name for p in symbol.parameters):
        diagnostics.error("E0206", f"`{name}` is a parameter already", name_span, fix="choose another name")
        return
    if hole.place is not None:
        diagnostics.error("E0705", f"an output cannot stand in {hole.place} of a prompt", node.span,
                          fix="write a semantic function for one element and call it in the program's `for` or `if`")
    elif hole.role not in (None, "assistant"):
        diagnostics.error("E0706", f"an output cannot stand in a `{hole.role}` part", node.span,
                          fix='generate in an `assistant` part: `assistant """{{output:y}}"""`')
    output = declared.get(name)
    annotated = resolver.resolve(node.type) if isinstance(node, ast.OutputHole) and node.type is not None else None
    if output is None:
        _report_likely_misspelling(name, name_span, declared, symbol, diagnostics)
        output = OutputSymbol(name, annotated or TEXT, name_span)
        symbol.local_outputs.append(output)
    elif annotated is not None and not isinstance(annotated, Unknown):
        if Inference().unify(annotated, output.type):
            output.type = annotated
        else:
            assert isinstance(node, ast.OutputHole) and node.type is not None
            diagnostics.error("E0301", f"`{name}` is declared {describe(output.type)}, not {describe(annotated)}",
                              node.type.span, labels=[Label(output.span, "declared here")])
    symbol.generated[name] = node
    _apply_options(output, node)


def _report_likely_misspelling(name: str, span: Span, declared: dict[str, OutputSymbol], symbol: SemanticSymbol,
                               diagnostics: Diagnostics) -> None:
    """A local output whose name is near to that of a declared one without a hole is most likely a mistake."""
    found = nearest(name, [n for n in declared if n not in symbol.generated])
    if found is not None:
        diagnostics.warning("W0107", f"`{name}` is not among the outputs; it is generated and dropped", span,
                            fix=f"did you mean `{found}`?")


def _apply_options(output: OutputSymbol, node: ast.OutputHole | ast.InputHole) -> None:
    """`n` makes the output a list; one declared as a list is the list of samples."""
    options = {o.name for o in node.options} if isinstance(node, ast.OutputHole) else set()
    output.sampled_type = output.type
    if "n" in options:
        if isinstance(output.type, List):
            output.sampled_type = output.type.element
        elif not isinstance(output.type, Unknown):
            output.type = List(output.type)
    if "logprobs" in options:
        output.logprobs = List(LOGPROBS) if "n" in options else LOGPROBS


def first_piece(parts: Sequence[ast.PromptPart]) -> ast.Piece | None:
    """The piece that opens a prompt."""
    first = parts[0] if parts else None
    template = first.template if isinstance(first, ast.RolePart) else first
    return template.pieces[0] if isinstance(template, ast.Template) and template.pieces else None


def is_text(output: OutputSymbol) -> bool:
    """Whether an output is decoded as free text."""
    return isinstance(output.sampled_type, Text)


def generated_type(output: OutputSymbol) -> Type:
    """The type of one sample."""
    return output.sampled_type or output.type
