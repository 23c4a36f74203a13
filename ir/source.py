"""Source files, spans of them, and where an operation comes from."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property

_NEWLINE = re.compile("\n")


@dataclass(frozen=True)
class SourceFile:
    """The text of one file; `path` as the user spelled it."""

    path: str
    text: str

    @cached_property
    def line_starts(self) -> list[int]:
        """Offset of the first character of each line."""
        return [0, *(match.end() for match in _NEWLINE.finditer(self.text))]

    def line_column(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both counted from 1."""
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line_text(self, line: int) -> str:
        """Text of a line (counted from 1) without its newline."""
        start = self.line_starts[line - 1]
        end = self.text.find("\n", start)
        return self.text[start : end if end >= 0 else len(self.text)].rstrip("\r")


@dataclass(frozen=True)
class Span:
    """Characters `start..end` (end excluded) of a file."""

    source: SourceFile = field(repr=False)
    start: int
    end: int

    def __str__(self) -> str:
        line, column = self.source.line_column(self.start)
        return f"{self.source.path}:{line}:{column}"

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of `other`."""
        return Span(self.source, self.start, max(self.end, other.end))


@dataclass(frozen=True)
class Site:
    """A place in a file by name, line and column: what is left of a span in IR text."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"

    @staticmethod
    def of(span: Span) -> Site:
        """The site where a span begins."""
        return Site(span.source.path, *span.source.line_column(span.start))


@dataclass(frozen=True, slots=True)
class Location:
    """Where an operation was written: one call chain (innermost first) for each site merged into it."""

    chains: tuple[tuple[Site, ...], ...] = ()

    @staticmethod
    def of(span: Span) -> Location:
        """The location of a single span."""
        return Location(((Site.of(span),),))

    def called_from(self, caller: Location) -> Location:
        """This location inlined at `caller`."""
        outer = caller.chains[0] if caller.chains else ()
        return Location(tuple([chain + outer for chain in self.chains])) if self.chains else caller

    def merged(self, other: Location) -> Location:
        """The location of an operation that stands for both; every site is kept once."""
        return Location(tuple(dict.fromkeys(self.chains + other.chains)))

    def __str__(self) -> str:
        return str(self.chains[0][0]) if self.chains else "<unknown>"


UNKNOWN = Location()
