"""Text that knows where it may break (Wadler, "A prettier printer", 1998): what the formatter builds and prints.

A group is printed on one line if it fits, else every `line` of it that no inner group holds is a line break. A
document is measured when it is made, so printing is linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

_INFINITE: Final = 1 << 30


class Document:
    """`kind`: text, line (`text` when flat), fresh (a line end unless the line is empty), blank, comment, concat,
    indent, group, broken (its parts are there only when the group breaks).

    `flat_width` is its width on one line; `head_width` the width before the first place where it may break
    (`may_break`); `is_forced` says that it holds a line end; `ends_in_comment` that nothing can follow on its line.
    """

    __slots__ = ("ends_in_comment", "flat_width", "head_width", "is_forced", "kind", "may_break", "parts", "text")

    def __init__(self, kind: str, text: str = "", parts: Sequence[Document] = ()) -> None:
        self.kind = kind
        self.text = text
        self.parts = parts
        self.is_forced = kind in ("fresh", "blank") or "\n" in text
        self.ends_in_comment = kind == "comment"
        self.may_break = kind in ("line", "fresh", "blank") or "\n" in text
        self.flat_width = len(text) if kind in ("text", "line") else 0
        self.head_width = 0 if kind == "line" else len(text.partition("\n")[0]) if kind == "text" else 0
        if kind not in ("text", "line", "comment", "broken"):
            self._measure(parts)

    def _measure(self, parts: Sequence[Document]) -> None:
        for part in parts:
            if self.ends_in_comment and not part.is_empty:
                self.is_forced = True
            if not part.is_empty:
                self.ends_in_comment = part.ends_in_comment
            self.is_forced |= part.is_forced
            self.flat_width = min(_INFINITE, self.flat_width + part.flat_width)
            if not self.may_break:
                self.head_width += part.head_width
                self.may_break = part.may_break

    @property
    def is_empty(self) -> bool:
        return self.kind in ("text", "concat") and not self.text and not self.parts


EMPTY: Final = Document("text")
LINE: Final = Document("line", " ")
"""A space, or a line break when the group is broken."""
SOFT_LINE: Final = Document("line", "")
"""Nothing, or a line break."""
FRESH_LINE: Final = Document("fresh")
"""A line end, unless nothing stands on the line yet."""
BLANK_LINE: Final = Document("blank")
"""An empty line."""


def text(value: str) -> Document:
    return Document("text", value)


def concat(*parts: Document) -> Document:
    return Document("concat", parts=[part for part in parts if not part.is_empty])


def indent(*parts: Document) -> Document:
    return Document("indent", parts=parts)


def group(*parts: Document) -> Document:
    return Document("group", parts=parts)


def when_broken(value: str) -> Document:
    """Text that is there only if the group around it breaks."""
    return Document("broken", parts=(text(value),))


def trailing_comment(value: str) -> Document:
    """A comment for the end of the line; only a comma can still come before it."""
    return Document("comment", value)


def join(separator: Document, items: Iterable[Document]) -> Document:
    parts: list[Document] = []
    for item in items:
        parts += [separator, item] if parts else [item]
    return concat(*parts)


def print_document(document: Document, width: int, indent_width: int = 2) -> str:
    """The text of a document, its lines at most `width` wide where it may break."""
    printer = _Printer(width, indent_width)
    printer.run(document)
    return printer.text()


class _Printer:
    def __init__(self, width: int, indent_width: int) -> None:
        self.width = width
        self.indent_width = indent_width
        self.lines: list[str] = []
        self.line: list[str] = []  # what stands on the current line
        self.column = 0
        self.comment = ""  # behind the current line: only a comma can still come before it
        self.is_ended = False  # whether the current line is a comment
        self.stack: list[tuple[int, bool, Document]] = []

    def run(self, document: Document) -> None:
        self.stack.append((0, True, document))
        while self.stack:
            level, is_broken, document = self.stack.pop()
            kind = document.kind
            if kind == "text":
                self._write(document.text, level)
            elif kind == "comment":
                self._add_comment(document.text, level)
            elif kind == "line":
                if not is_broken:
                    self._write(document.text, level)
                elif self.line:
                    self._end_line()
            elif kind in ("fresh", "blank"):
                if self.line:
                    self._end_line()
                if kind == "blank" and self.lines and self.lines[-1]:
                    self.lines.append("")
            elif kind != "broken" or is_broken:
                if kind == "group" and is_broken:
                    is_broken = document.is_forced or not self._fits(document)
                level += kind == "indent"
                self.stack += [(level, is_broken, part) for part in reversed(document.parts)]

    def _write(self, value: str, level: int) -> None:
        if not value:
            return
        if self.is_ended or (self.comment and value != ","):
            self._end_line()
        if not self.line:
            if value == " ":
                return
            margin = " " * (level * self.indent_width)
            self.line.append(margin)
            self.column = len(margin)
        self.line.append(value)
        last_line = value.rpartition("\n")[2]
        self.column = len(last_line) + (self.column if "\n" not in value else 0)

    def _add_comment(self, value: str, level: int) -> None:
        """Put a comment behind the line, or on a line of its own if the line has one."""
        if self.line and not self.comment and not self.is_ended:
            self.comment = value
        else:
            self._write(value, level)
            self.is_ended = True

    def _end_line(self) -> None:
        line = "".join(self.line).rstrip()
        self.lines.append(f"{line}  {self.comment}" if self.comment else line)
        self.line.clear()
        self.comment = ""
        self.is_ended = False
        self.column = 0

    def _fits(self, document: Document) -> bool:
        """Whether the group fits on the line, together with what follows before the next place to break."""
        level = self.stack[-1][0] if self.stack else 0
        column = self.column if self.line else level * self.indent_width
        room = self.width - column - document.flat_width
        for _, _, rest in reversed(self.stack):  # only broken groups hold groups that are measured
            if room < 0 or rest.may_break:
                return room >= rest.head_width
            room -= rest.flat_width
        return room >= 0

    def text(self) -> str:
        if self.line:
            self._end_line()
        while self.lines and not self.lines[-1]:
            self.lines.pop()
        return "\n".join(self.lines) + "\n" if self.lines else ""
