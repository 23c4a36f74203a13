"""Semantic functions: prompts to chains of `prompt.start`, `append`, `role` and `generate`."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.core import Literal, Op, Region, Symbol, Value, Word
from ..ir.diagnostics import Diagnostics
from ..ir.source import Location, Span
from ..ir.types import BOOL, PROMPT, Option
from . import ast
from .body import Body
from .inference import UNKNOWN, describe
from .iteration import Iteration, iterate
from .literals import rendered
from .names import PROMPT_WORDS
from .narrowing import known_where
from .options import find_model
from .output_holes import generate
from .prompt_outputs import first_piece
from .symbols import OutputSymbol, SemanticSymbol
from .terms import Term


def lower_semantic(symbol: SemanticSymbol, diagnostics: Diagnostics) -> Op:
    """The `sem.func` of a semantic function; its prompt is checked on the way."""
    declaration = symbol.declaration
    assert declaration is not None
    body = Body(symbol.scope, diagnostics)
    body.calls_forbidden_in = PROMPT_WORDS
    region = Region()
    with body.builder.inside(region), body.new_scope():
        for parameter in symbol.parameters:
            value = Value(parameter.type, parameter.name)
            region.parameters.append(value)
            body.define(parameter.name, parameter.span, Term(parameter.type, value), "parameter",
                        unused_warning=f"the prompt does not use `{parameter.name}`")
        lowering = _PromptLowering(body, symbol, region)
        lowering.lower(declaration.parts)
    attributes: dict[str, Literal] = {"model": lowering.model} if lowering.model else {}
    body.settle(region)
    return Op("sem.func", [Symbol(symbol.ir_name)], [], attributes, [region], Location.of(declaration.span))


class _PromptLowering:
    """Lowers the parts of one prompt. What stands after the last output is checked and thrown away."""

    def __init__(self, body: Body, symbol: SemanticSymbol, region: Region) -> None:
        self.body = body
        self.symbol = symbol
        self.region = region
        self.outputs = {o.name: o for o in (*symbol.outputs, *symbol.local_outputs)}
        self.left = list(symbol.generated)
        self.values: dict[str, Value] = {}
        self.logprobs: dict[str, Value] = {}
        self.prompt = Value(PROMPT)
        self.end = self.prompt
        self.model = ""
        self.chat_hole: ast.InputHole | None = None
        body.later_outputs = set(symbol.generated)

    def lower(self, parts: Sequence[ast.PromptPart]) -> None:
        """Write the whole chain and the return."""
        self._start(parts)
        self._parts(parts)
        declaration = self.symbol.declaration
        assert declaration is not None
        outputs = self.symbol.outputs
        with self.body.builder.inside(self.region):
            names = [o.name for o in outputs] + [f"{o.name}.logprobs" for o in outputs if o.logprobs is not None]
            values = [self.values.get(o.name) or Value(UNKNOWN) for o in outputs]
            values += [self.logprobs[o.name] for o in outputs if o.name in self.logprobs]
            self.body.builder.emit("sem.return", [*values, self.end], [], declaration.span,
                                   attributes={"names": tuple(names)})

    def _start(self, parts: Sequence[ast.PromptPart]) -> None:
        """Begin with the chat that the first hole inserts, or with the empty prompt."""
        declaration = self.symbol.declaration
        assert declaration is not None
        if declaration.model is not None:
            model = find_model(self.symbol.scope, declaration.model)
            if model is None:
                span = declaration.model_span or declaration.name_span
                self.body.error("E0205", f"unknown model `{declaration.model}`", span, fix=(
                    self.body.suggestion(declaration.model, self.symbol.scope.models)
                    or f'declare it: `model {declaration.model} = "…"`'))
            else:
                self.model = model.ir_name
        first = first_piece(parts)
        if isinstance(first, ast.InputHole) and self._is_chat(first.value):
            term = self.body.operand(first.value)
            if term.type == PROMPT:
                self.chat_hole = first
                self.prompt = self.end = self.body.value(term, first.span)
                return
        attributes: dict[str, Literal] = {"model": self.model} if self.model else {}
        self.prompt = self.body.builder.emit("prompt.start", [], [PROMPT], declaration.span, attributes=attributes)[0]
        self.end = self.prompt

    def _is_chat(self, value: ast.Expr) -> bool:
        """Whether a first hole may hold a chat: the holes that cannot are lowered in their place."""
        if isinstance(value, ast.Name):
            variable = self.body.variables.find(value.name)
            return variable is not None and variable.term.type in (PROMPT, Option(PROMPT))
        return isinstance(value, ast.Call) and isinstance(value.callee, ast.Name) and value.callee.name == "chat"

    # ---- parts

    def _parts(self, parts: Sequence[ast.PromptPart]) -> None:
        for part in parts:
            match part:
                case ast.Template(pieces=pieces):
                    self._pieces(pieces)
                case ast.RolePart(role=role, template=template):
                    self._append("prompt.role", [self.prompt], part.span, {"role": Word(role)})
                    self._pieces(template.pieces)
                case ast.RoleFor():
                    self._fold(part.span, part.target, part.iterable, part.parts)

    def _append(self, name: str, args: list[Value | str], span: Span, attributes: dict[str, Literal]) -> None:
        self.prompt = self.body.builder.emit(name, args, [PROMPT], span, attributes=attributes)[0]

    def _pieces(self, pieces: Sequence[ast.Piece]) -> None:
        """Append pieces. One space that ends a constant right before a hole goes with what follows."""
        spaced = False
        for number, piece in enumerate(pieces):
            match piece:
                case ast.Constant(text=text):
                    following = pieces[number + 1] if number + 1 < len(pieces) else None
                    spaced = text.endswith(" ") and isinstance(following, ast.InputHole | ast.OutputHole)
                    text = text[:-1] if spaced else text
                    if text:
                        self._append("prompt.append", [self.prompt, text], piece.span, {})
                    continue
                case ast.InputHole() if self._generates(piece):
                    self._generate(piece, pieces[number + 1 :], spaced)
                case ast.OutputHole() if self._generates(piece):
                    self._generate(piece, pieces[number + 1 :], spaced)
                case ast.InputHole():
                    self._insert(piece, spaced)
                case ast.TemplateFor():
                    self._fold(piece.span, piece.target, piece.iterable, piece.body, piece.unordered)
                case ast.TemplateIf():
                    self._if(piece)
            spaced = False

    def _insert(self, hole: ast.InputHole, spaced: bool) -> None:
        if hole is self.chat_hole:
            return
        term = self.body.operand(hole.value)
        if term.type == PROMPT:
            self.body.error("E0702", "a chat can only be inserted at the very start of a prompt", hole.span,
                            fix="move it to the front: nothing may stand before it")
            return
        value = rendered(self.body, term, hole.value.span)
        self._append("prompt.append", [self.prompt, value], hole.span, {"space": True} if spaced else {})

    # ---- outputs

    def _generates(self, hole: ast.InputHole | ast.OutputHole) -> bool:
        return any(node is hole for node in self.symbol.generated.values())

    def _generate(self, hole: ast.InputHole | ast.OutputHole, rest: Sequence[ast.Piece], spaced: bool) -> None:
        name = next(n for n, node in self.symbol.generated.items() if node is hole)
        output = self.outputs[name]
        self.left.remove(name)
        self.body.later_outputs.discard(name)
        results = generate(self.body, hole, output, self.prompt, is_last=not self.left, spaced=spaced)
        self.values[name], self.prompt = results[0], results[1]
        if output.logprobs is not None:
            self.logprobs[name] = results[2]
        self._warn_of_open_text(hole, output, rest)
        logprobs = results[2] if output.logprobs is not None else None
        self.body.define(name, hole.span, Term(output.type, results[0], logprobs=logprobs), "output")
        if not self.left:
            self.end = self.prompt
            self.body.builder.region = Region()  # the rest of the prompt is checked only

    def _warn_of_open_text(self, hole: ast.InputHole | ast.OutputHole, output: OutputSymbol,
                           rest: Sequence[ast.Piece]) -> None:
        """A text in the middle of a prompt ends where the model ends, unless something else ends it."""
        options = {o.name for o in hole.options} if isinstance(hole, ast.OutputHole) else set()
        goes_on = any(not isinstance(p, ast.Constant) or p.text.strip() for p in rest)
        ends = options & {"stop", "max_words", "regex", "choices"}
        if describe(output.type) == "text" and self.left and goes_on and not ends:
            self.body.diagnostics.warning(
                "W0108", f"nothing ends the text `{output.name}` before the prompt goes on", hole.span,
                "may run into what follows",
                fix=f'say where it ends: `{{{{output:{output.name} stop="\\n"}}}}`')

    # ---- for and if

    def _fold(self, span: Span, target: ast.Target, iterable: ast.Expr,
              inner: Sequence[ast.Piece] | Sequence[ast.PromptPart], unordered: bool = False) -> None:
        """`{{for}}` and `for` over parts: a `flow.fold` that carries the prompt."""
        body = self.body
        iteration: Iteration = iterate(body, target, iterable)
        index, elements = iteration.index(), iteration.parameters()
        carried = Value(PROMPT, "prompt")
        region = Region([index, *elements, carried])
        outer, self.prompt = self.prompt, carried
        with body.builder.inside(region), body.new_scope():
            iteration.bind(body, index, elements)
            self._nested(inner)
            body.builder.finish(region, [self.prompt], span)
        attributes: dict[str, Literal] = {}
        if len(iteration.lists) > 1:
            attributes["lists"] = len(iteration.lists)
        if unordered:
            attributes["unordered"] = True
        self.prompt = body.builder.emit("flow.fold", [*iteration.lists, outer], [PROMPT], span,
                                        attributes=attributes, regions=[region])[0]

    def _nested(self, inner: Sequence[ast.Piece] | Sequence[ast.PromptPart]) -> None:
        pieces = [p for p in inner if isinstance(p, ast.Piece)]
        parts = [p for p in inner if isinstance(p, ast.PromptPart)]
        self._pieces(pieces)
        self._parts(parts)

    def _if(self, node: ast.TemplateIf) -> None:
        """`{{if}}`: a `flow.if` that gives one of two prompts."""
        body = self.body
        condition = body.typed(node.condition, BOOL, "the condition of `{{if}}`")
        before = self.prompt
        regions = [Region(), Region()]
        for region, pieces, truth in zip(regions, (node.then, node.otherwise), (True, False), strict=True):
            self.prompt = before
            with body.builder.inside(region), body.new_scope(), body.narrowing(
                    region, known_where(node.condition, truth)):
                self._pieces(pieces)
                body.builder.finish(region, [self.prompt], node.span)
        self.prompt = body.builder.emit("flow.if", [condition], [PROMPT], node.span, regions=regions)[0]

