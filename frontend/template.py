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

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

from ..ir.diagnostics import Diagnostics
from ..ir.source import SourceFile, Span
from . import ast
from .lalr_parser import LalrParser
from .layout import lay_out
from .lexer import Lexer
from .tokens import Token

MAX_TAG_NESTING = 50
_OPENING = re.compile(r"\\\{\{|\{\{(?!\{)")  # of a run of braces, the last two open the tag
_FOREIGN_TAGS = {
    "endif": "write `{{end}}`", "endfor": "write `{{end}}`", "elif": "write `{{else if …}}`",
    "elseif": "write `{{else if …}}`", "elsif": "write `{{else if …}}`", "foreach": "write `{{for x in xs}}`",
    "each": "write `{{for x in xs}}`", "#": "write `{{if …}}`, `{{for x in xs}}` and `{{end}}`, without `#` and `/`",
    "/": "write `{{end}}`",
}


@dataclass(frozen=True)
class _Text:
    """Raw text `start..end` of the file."""

    start: int
    end: int


@dataclass(frozen=True)
class _Tag:
    """A tag and what it holds: `piece` of a hole, `head` of a `for` or `if`."""

    span: Span
    kind: str  # hole, for, if, else, else if, end
    piece: ast.Piece | None = None
    head: tuple[ast.Target, ast.Expr, bool] | None = None
    condition: ast.Expr | None = None

    @property
    def is_control(self) -> bool:
        return self.kind != "hole"


_Part = _Text | _Tag


def parse_template(source: SourceFile, diagnostics: Diagnostics, token: Token) -> ast.Template:
    """The template of a PROMPT token; errors are reported and what is wrong is left out."""
    raw: str = token.value
    start = token.start + 3
    parts = _TagReader(source, diagnostics, start, start + len(raw)).read()
    pieces = _PieceBuilder(source, diagnostics).build(_lay_out_lines(source.text, _split_lines(source.text, parts)))
    return ast.Template(Span(source, token.start, token.end), pieces, raw)


# ---- tags


class _TagReader:
    """Finds the tags of a prompt and parses what they hold."""

    def __init__(self, source: SourceFile, diagnostics: Diagnostics, start: int, end: int) -> None:
        self.source = source
        self.diagnostics = diagnostics
        self.start = start
        self.end = end

    def read(self) -> list[_Part]:
        """Text and tags in order, without empty text."""
        parts: list[_Part] = []
        position = text_start = self.start
        while (opening := _OPENING.search(self.source.text, position, self.end)) is not None:
            if opening.group().startswith("\\"):
                position = opening.end()
                continue
            if opening.start() > text_start:
                parts.append(_Text(text_start, opening.start()))
            tag, position = self._read_tag(opening.start())
            text_start = position
            if tag is not None:
                parts.append(tag)
        if text_start < self.end:
            parts.append(_Text(text_start, self.end))
        return parts

    def _read_tag(self, start: int) -> tuple[_Tag | None, int]:
        """The tag at `start` and the offset behind it; after a tag that is not closed, the end of the prompt."""
        found = Diagnostics()
        lexer = Lexer(self.source, found, start + 2, self.end, in_tag=True)
        lexer.run()
        if lexer.position >= self.end or not self.source.text.startswith("}}", lexer.position):
            self._report_unclosed(start, found)
            return None, self.end
        self.diagnostics.items += found
        end = lexer.position + 2
        return self._classify(lexer.tokens, Span(self.source, start, end)), end

    def _report_unclosed(self, start: int, found: Diagnostics) -> None:
        line_end = self.source.text.find("\n", start, self.end)
        problems = [d for d in found if d.primary and d.primary.span.start < (self.end if line_end < 0 else line_end)]
        if problems:
            self.diagnostics.items.append(problems[0])
            return
        self.diagnostics.error("E0040", "the tag is not closed", Span(self.source, start, start + 2), "it begins here",
                               fix=r"close it with `}}`; two braces that are text are written `\{{`")

    def _classify(self, tokens: list[Token], span: Span) -> _Tag | None:
        words = [token.text for token in tokens[:2]]
        if not tokens:
            self.diagnostics.error("E0041", "the tag is empty", span, fix=r"two braces that are text are written `\{{`")
            return None
        if words[0] in ("end", "else") and len(tokens) == 1:
            return _Tag(span, words[0])
        if words == ["else", "if"]:
            condition = self._parse(tokens[1:], "if_tag")
            return _Tag(span, "else if", condition=condition)
        if words[0] == "if":
            return _Tag(span, "if", condition=self._parse(tokens, "if_tag"))
        if words[0] == "for" or words == ["unordered", "for"]:
            return _Tag(span, "for", head=self._parse(tokens, "for_tag"))
        return self._hole(tokens, words, span)

    def _hole(self, tokens: list[Token], words: list[str], span: Span) -> _Tag | None:
        if len(words) == 2 and words[1] == ":" and words[0] in ("input", "output"):
            if len(tokens) == 2:
                what = "a value" if words[0] == "input" else "a name"
                self.diagnostics.error("E0041", f"`{words[0]}:` needs {what}", span)
                return None
            piece = self._parse(tokens[2:], f"{words[0]}_tag")
        elif tokens[0].kind in ("TEXT", "{"):
            self.diagnostics.error("E0042", "this is not a tag", span,
                                   fix=r"two braces that are text are written `\{{`")
            return None
        elif len(words) == 2 and words[1] == ":":
            self.diagnostics.error("E0042", f"`{words[0]}:` is not a kind of tag", Span(self.source, tokens[0].start,
                                   tokens[1].end), fix="write `{{input:…}}`, `{{output:…}}`, or the name alone")
            return None
        elif words[0] in _FOREIGN_TAGS and (len(tokens) == 1 or tokens[1].kind in ("NAME", "if", "for", "not")):
            self.diagnostics.error("E0042", f"`{words[0]}` is not a kind of tag", span, fix=_FOREIGN_TAGS[words[0]])
            return None
        else:
            piece = self._parse(tokens, "short_tag")
        return None if piece is None else _Tag(span, "hole", piece=dataclasses.replace(piece, span=span))

    def _parse(self, tokens: list[Token], start_symbol: str) -> Any:
        chunk = lay_out(tokens, self.source, self.diagnostics, "`}}`")
        return LalrParser(self.source, self.diagnostics, chunk).parse(start_symbol)


# ---- lines


def _split_lines(text: str, parts: list[_Part]) -> list[list[_Part]]:
    """The lines of a prompt; a newline inside a tag ends none. Texts come without their line ends."""
    lines: list[list[_Part]] = [[]]
    for part in parts:
        if isinstance(part, _Tag):
            lines[-1].append(part)
            continue
        start = part.start
        while (line_end := text.find("\n", start, part.end)) >= 0:
            stop = line_end - 1 if line_end > start and text[line_end - 1] == "\r" else line_end
            lines[-1].append(_Text(start, stop))
            lines.append([])
            start = line_end + 1
        if start < part.end:
            lines[-1].append(_Text(start, part.end))
    return lines


@dataclass
class _Line:
    """A line after dedenting; `has_end` unless it is the last, or goes with its newline."""

    parts: list[_Part]
    has_end: bool = True


def _lay_out_lines(text: str, lines: list[list[_Part]]) -> list[_Line]:
    """Dedent, cut outer blank lines, and take the line ends from lines that hold only control tags."""
    blank = [all(isinstance(p, _Text) and not text[p.start:p.end].strip() for p in line) for line in lines]
    margin = _margin(text, [line for line, is_blank in zip(lines[1:], blank[1:], strict=True) if not is_blank])
    filled = [i for i, is_blank in enumerate(blank) if not is_blank]
    result = []
    for i in range(filled[0], filled[-1] + 1) if filled else ():
        parts = [] if blank[i] else lines[i]
        if i > 0 and parts and isinstance(parts[0], _Text):
            parts = [_Text(parts[0].start + margin, parts[0].end), *parts[1:]]
        tags = [part for part in parts if isinstance(part, _Tag)]
        texts = [part for part in parts if isinstance(part, _Text)]
        if tags and all(t.is_control for t in tags) and not any(text[p.start:p.end].strip() for p in texts):
            result.append(_Line(list(tags), has_end=False))
        else:
            result.append(_Line(list(parts), has_end=i < filled[-1]))
    return result


def _margin(text: str, lines: list[list[_Part]]) -> int:
    """Length of the white space with which all these lines begin."""
    common: str | None = None
    for line in lines:
        first = line[0]
        raw = text[first.start:first.end] if isinstance(first, _Text) else ""
        common = raw[: len(raw) - len(raw.lstrip(" \t"))] if common is None else common
        while not raw.startswith(common):
            common = common[:-1]
    return len(common or "")


# ---- pieces


@dataclass
class _Open:
    """A `for` or `if` whose `end` has not come; `pieces` grow where its next piece goes."""

    tag: _Tag
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
                if isinstance(part, _Text):
                    self._add_text(self.source.text[part.start:part.end].replace("\\{{", "{{"), part.start, part.end)
                else:
                    self._end_text()
                    self._add_tag(part)
            if line.has_end:
                start = line.parts[-1].end if line.parts and isinstance(line.parts[-1], _Text) else self.text_end
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

    def _error(self, code: str, message: str, tag: _Tag, label: str = "", fix: str | None = None) -> None:
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

    def _add_tag(self, tag: _Tag) -> None:
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

    def _else(self, tag: _Tag) -> None:
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

    def _close(self, tag: _Tag) -> None:
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
