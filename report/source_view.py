"""Source files as lines in which call sites and outputs are marked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..ir.source import SourceFile
from .call_rows import CallRow

MOST_LINES = 4000
_WORD = re.compile(r"\w+(\.\w+)*")
_HOLE = re.compile(r"\{\{.*?\}\}|\w+")


@dataclass(frozen=True)
class Segment:
    """Text of one line; `identifiers` of the calls that it marks, none for plain text. `kind`: call, output, comment.
    """

    text: str
    identifiers: tuple[str, ...] = ()
    kind: str = ""


@dataclass
class SourcePage:
    """A file. `lines` counts from 1; `left_out`: lines that are not shown."""

    path: str
    lines: list[list[Segment]] = field(default_factory=list)
    left_out: int = 0


def source_pages(sources: Iterable[SourceFile], rows: Sequence[CallRow]) -> list[SourcePage]:
    """The files that hold a call or an output; of the others nothing is shown."""
    marks: dict[str, dict[tuple[int, int], tuple[str, list[str]]]] = {}
    for row in rows:
        for site, kind in [*((s, "call") for s in (row.site, *row.chain, *row.merged)), (row.hole, "output")]:
            path, place = _split(site)
            if place is not None:
                found = marks.setdefault(path, {}).setdefault(place, (kind, []))
                if row.identifier not in found[1]:
                    found[1].append(row.identifier)
    return [_page(source, marks.get(source.path, {})) for source in sources if source.path in marks]


def _split(site: str) -> tuple[str, tuple[int, int] | None]:
    """The path of a site, and its line and column if it has them."""
    parts = site.rsplit(":", 2)
    if len(parts) < 3 or not (parts[1].isdigit() and parts[2].isdigit()):
        return site, None
    return parts[0], (int(parts[1]), int(parts[2]))


def _page(source: SourceFile, marks: dict[tuple[int, int], tuple[str, list[str]]]) -> SourcePage:
    by_line: dict[int, list[tuple[int, str, list[str]]]] = {}
    for (line, column), (kind, identifiers) in marks.items():
        by_line.setdefault(line, []).append((column - 1, kind, identifiers))
    texts = source.text.split("\n")
    if texts and not texts[-1]:
        texts.pop()
    page = SourcePage(source.path, left_out=max(0, len(texts) - MOST_LINES))
    for number, text in enumerate(texts[:MOST_LINES], 1):
        page.lines.append(_line(text.rstrip("\r"), sorted(by_line.get(number, []))))
    return page


def _line(text: str, marks: list[tuple[int, str, list[str]]]) -> list[Segment]:
    segments: list[Segment] = []
    position = 0
    for start, kind, identifiers in marks:
        found = (_WORD if kind == "call" else _HOLE).match(text, start)
        end = found.end() if found else start + 1
        if start < position or start >= len(text):
            continue
        if start > position:
            segments.append(_plain(text[position:start]))
        segments.append(Segment(text[start:end], tuple(identifiers), kind))
        position = end
    if position < len(text) or not segments:
        segments.append(_plain(text[position:]))
    return segments


def _plain(text: str) -> Segment:
    return Segment(text, (), "comment" if text.lstrip().startswith("#") else "")
