"""Prompts: the text between triple quotes, split at its tags, with exact spans.

    \"""                                   Constant("Hello ")
    Hello {{input:name}}.                 InputHole(name)
    {{if len(more) > 0}}           =>     Constant(".\\n")
    More: {{input:more}}                  TemplateIf(…, (Constant("More: "), InputHole(more), Constant("\\n")), ())
    {{end}}
    \"""

The text is dedented (what stands beside the opening quotes does not count), its outer blank lines are cut, CRLF is LF,
and a line that holds only `for`, `if`, `else` and `end` tags goes with its newline. `\\{{` is the only escape.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir.diagnostics import Diagnostics
from ..ir.source import SourceFile, Span
from . import ast
from .template_tags import Part, Tag, TagReader, Text
from .tokens import Token

MAX_TAG_NESTING = 50


def parse_template(source: SourceFile, diagnostics: Diagnostics, token: Token) -> ast.Template:
    """The template of a PROMPT token; errors are reported and what is wrong is left out."""
    raw: str = token.value
    start = token.start + 3
    parts = TagReader(source, diagnostics, start, start + len(raw)).read()
    pieces = _PieceBuilder(source, diagnostics).build(_lay_out_lines(source.text, _split_lines(source.text, parts)))
    return ast.Template(Span(source, token.start, token.end), pieces, raw)


# ---- lines


def _split_lines(text: str, parts: list[Part]) -> list[list[Part]]:
    """The lines of a prompt; a newline inside a tag ends none. Texts come without their line ends."""
    lines: list[list[Part]] = [[]]
    for part in parts:
        if isinstance(part, Tag):
            lines[-1].append(part)
            continue
        start = part.start
        while (line_end := text.find("\n", start, part.end)) >= 0:
            stop = line_end - 1 if line_end > start and text[line_end - 1] == "\r" else line_end
            lines[-1].append(Text(start, stop))
            lines.append([])
            start = line_end + 1
        if start < part.end:
            lines[-1].append(Text(start, part.end))
    return lines


@dataclass
class _Line:
    """A line after dedenting; `has_end` unless it is the last, or goes with its newline."""

    parts: list[Part]
    has_end: bool = True


def _lay_out_lines(text: str, lines: list[list[Part]]) -> list[_Line]:
    """Dedent, cut outer blank lines, and take the line ends from lines that hold only control tags."""
    blank = [all(isinstance(p, Text) and not text[p.start:p.end].strip() for p in line) for line in lines]
    margin = _margin(text, [line for line, is_blank in zip(lines[1:], blank[1:], strict=True) if not is_blank])
    filled = [i for i, is_blank in enumerate(blank) if not is_blank]
    result = []
    for i in range(filled[0], filled[-1] + 1) if filled else ():
        parts = [] if blank[i] else lines[i]
        if i > 0 and parts and isinstance(parts[0], Text):
            parts = [Text(parts[0].start + margin, parts[0].end), *parts[1:]]
        tags = [part for part in parts if isinstance(part, Tag)]
        texts = [part for part in parts if isinstance(part, Text)]
        if tags and all(t.is_control for t in tags) and not any(text[p.start:p.end].strip() for p in texts):
            result.append(_Line(list(tags), has_end=False))
        else:
            result.append(_Line(list(parts), has_end=i < filled[-1]))
    return result


def _margin(text: str, lines: list[list[Part]]) -> int:
    """Length of the white space with which all these lines begin."""
    common: str | None = None
    for line in lines:
        first = line[0]
        raw = text[first.start:first.end] if isinstance(first, Text) else ""
        common = raw[: len(raw) - len(raw.lstrip(" \t"))] if common is None else common
        while not raw.startswith(common):
            common = common[:-1]
    return len(common or "")


# ---- pieces


@dataclass
class _Open:
    """A `for` or `if` whose `end` has not come; `pieces` grow where its next piece goes."""

    tag: Tag
    pieces: list[ast.Piece] = field(default_factory=list)
    then: list[ast.Piece] | None = None  # of an `if`, once its `else` has come
    is_else_if: bool = False


class _PieceBuilder:
    """Nests the pieces of a template by its `for`, `if`, `else` and `end` tags."""

    def __init__(self, source: SourceFile, diagnostics: Diagnostics) -> None:
        self.source = source
        self.diagnostics = diagnostics
        self.pieces: list[ast.Piece] = []
        self.stack: list[_Open] = []
        self.text: list[str] = []
        self.text_start = self.text_end = 0

    def build(self, lines: list[_Line]) -> tuple[ast.Piece, ...]:
        """The pieces of all lines."""
        for line in lines:
            for part in line.parts:
                if isinstance(part, Text):
                    self._add_text(self.source.text[part.start:part.end].replace("\\{{", "{{"), part.start, part.end)
                else:
                    self._end_text()
                    self._add_tag(part)
            if line.has_end:
                start = line.parts[-1].end if line.parts and isinstance(line.parts[-1], Text) else self.text_end
                self._add_text("\n", start, start)
        self._end_text()
        if len(self.stack) > MAX_TAG_NESTING:
            return ()
        while self.stack:
            opened = self.stack.pop()
            if not opened.is_else_if:
                word = "for" if opened.tag.kind == "for" else "if"
                self._error("E0043", f"`{{{{{word}}}}}` has no `{{{{end}}}}`", opened.tag, "it begins here",
                            "add `{{end}}` where it ends")
        return tuple(self.pieces)

    def _error(self, code: str, message: str, tag: Tag, label: str = "", fix: str | None = None) -> None:
        self.diagnostics.error(code, message, tag.span, label, fix=fix)

    @property
    def _target(self) -> list[ast.Piece]:
        return self.stack[-1].pieces if self.stack else self.pieces

    def _add_text(self, text: str, start: int, end: int) -> None:
        if text:
            if not self.text:
                self.text_start = start
            self.text.append(text)
            self.text_end = max(end, self.text_start)

    def _end_text(self) -> None:
        if self.text:
            span = Span(self.source, self.text_start, self.text_end)
            self._target.append(ast.Constant(span, "".join(self.text)))
            self.text.clear()

    def _add_tag(self, tag: Tag) -> None:
        self.text_end = tag.span.end
        if tag.piece is not None:
            self._target.append(tag.piece)
        elif tag.kind in ("for", "if"):
            if len(self.stack) == MAX_TAG_NESTING:
                self._error("E0022", f"tags are nested more than {MAX_TAG_NESTING} deep", tag)
            self.stack.append(_Open(tag))
        elif tag.kind == "end":
            self._close(tag)
        else:
            self._else(tag)

    def _else(self, tag: Tag) -> None:
        if not self.stack or self.stack[-1].tag.kind == "for":
            inside = " inside this `for`" if self.stack else ""
            self._error("E0044", f"`{{{{{tag.kind}}}}}` belongs to no `{{{{if}}}}`{inside}", tag)
            return
        opened = self.stack[-1]
        if opened.then is not None:
            self._error("E0044", "the `{{if}}` has its `{{else}}` already", tag)
            return
        opened.then, opened.pieces = opened.pieces, []
        if tag.kind == "else if":
            self.stack.append(_Open(tag, is_else_if=True))

    def _close(self, tag: Tag) -> None:
        """Close the innermost `for` or `if`, with all its `else if`s."""
        if not self.stack:
            self._error("E0043", "`{{end}}` ends nothing", tag, fix="remove it, or add the `{{for …}}` or `{{if …}}`")
            return
        is_else_if = True
        while is_else_if:
            opened = self.stack.pop()
            is_else_if = opened.is_else_if
            span = opened.tag.span.to(tag.span)
            if opened.tag.kind == "for":
                if opened.tag.head is not None:
                    target, iterable, unordered = opened.tag.head
                    self._target.append(ast.TemplateFor(span, target, iterable, tuple(opened.pieces), unordered))
            elif opened.tag.condition is not None:
                then, otherwise = (opened.pieces, []) if opened.then is None else (opened.then, opened.pieces)
                self._target.append(ast.TemplateIf(span, opened.tag.condition, tuple(then), tuple(otherwise)))
