"""Finds the tags of a prompt and parses what they hold."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from ..ir.diagnostics import Diagnostics
from ..ir.source import SourceFile, Span
from . import ast
from .lalr_parser import LalrParser
from .layout import lay_out
from .lexer import Lexer
from .tokens import Token

_OPENING = re.compile(r"\\\{\{|\{\{(?!\{)")  # of a run of braces, the last two open the tag
_FOREIGN_TAGS = {
    "endif": "write `{{end}}`", "endfor": "write `{{end}}`", "elif": "write `{{else if …}}`",
    "elseif": "write `{{else if …}}`", "elsif": "write `{{else if …}}`", "foreach": "write `{{for x in xs}}`",
    "each": "write `{{for x in xs}}`", "#": "write `{{if …}}`, `{{for x in xs}}` and `{{end}}`, without `#` and `/`",
    "/": "write `{{end}}`",
}


@dataclass(frozen=True)
class Text:
    """Raw text `start..end` of the file."""

    start: int
    end: int


@dataclass(frozen=True)
class Tag:
    """A tag and what it holds: `piece` of a hole, `head` of a `for` or `if`."""

    span: Span
    kind: str  # hole, for, if, else, else if, end
    piece: ast.Piece | None = None
    head: tuple[ast.Target, ast.Expr, bool] | None = None
    condition: ast.Expr | None = None

    @property
    def is_control(self) -> bool:
        return self.kind != "hole"


Part = Text | Tag


class TagReader:
    """Finds the tags of a prompt and parses what they hold."""

    def __init__(self, source: SourceFile, diagnostics: Diagnostics, start: int, end: int) -> None:
        self.source = source
        self.diagnostics = diagnostics
        self.start = start
        self.end = end

    def read(self) -> list[Part]:
        """Text and tags in order, without empty text."""
        parts: list[Part] = []
        position = text_start = self.start
        while (opening := _OPENING.search(self.source.text, position, self.end)) is not None:
            if opening.group().startswith("\\"):
                position = opening.end()
                continue
            if opening.start() > text_start:
                parts.append(Text(text_start, opening.start()))
            tag, position = self._read_tag(opening.start())
            text_start = position
            if tag is not None:
                parts.append(tag)
        if text_start < self.end:
            parts.append(Text(text_start, self.end))
        return parts

    def _read_tag(self, start: int) -> tuple[Tag | None, int]:
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

    def _classify(self, tokens: list[Token], span: Span) -> Tag | None:
        words = [token.text for token in tokens[:2]]
        if not tokens:
            self.diagnostics.error("E0041", "the tag is empty", span, fix=r"two braces that are text are written `\{{`")
            return None
        if words[0] in ("end", "else") and len(tokens) == 1:
            return Tag(span, words[0])
        if words == ["else", "if"]:
            condition = self._parse(tokens[1:], "if_tag")
            return Tag(span, "else if", condition=condition)
        if words[0] == "if":
            return Tag(span, "if", condition=self._parse(tokens, "if_tag"))
        if words[0] == "for" or words == ["unordered", "for"]:
            return Tag(span, "for", head=self._parse(tokens, "for_tag"))
        return self._hole(tokens, words, span)

    def _hole(self, tokens: list[Token], words: list[str], span: Span) -> Tag | None:
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
        return None if piece is None else Tag(span, "hole", piece=dataclasses.replace(piece, span=span))

    def _parse(self, tokens: list[Token], start_symbol: str) -> Any:
        chunk = lay_out(tokens, self.source, self.diagnostics, "`}}`")
        return LalrParser(self.source, self.diagnostics, chunk).parse(start_symbol)
