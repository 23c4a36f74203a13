"""Tables of plain text whose columns are as wide as what stands in them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

INDENT = "  "
GAP = "  "


@dataclass(frozen=True)
class Column:
    """A column: its title, the most characters of a cell (the rest is cut), and whether it is aligned right."""

    title: str
    most: int = 1000
    right: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The lines of a table: titles, then rows. Where it is wider than `width`, the widest left columns are cut."""
    widths = [min(column.most, max(map(display_width, (column.title, *(row[n] for row in rows)))))
              for n, column in enumerate(columns)]
    spare = sum(widths) + len(GAP) * (len(columns) - 1) + len(INDENT) - width
    while spare > 0:
        flexible = [n for n, column in enumerate(columns) if not column.right and widths[n] > 8]
        if not flexible:
            break
        widest = max(flexible, key=lambda n: widths[n])
        widths[widest] -= 1
        spare -= 1
    titles = [column.title for column in columns]
    return [_line(columns, widths, cells) for cells in (titles, *rows)]


def _line(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    shown = []
    for column, width, cell in zip(columns, widths, cells, strict=True):
        cell = fit(cell, width)
        padding = " " * (width - display_width(cell))
        shown.append(padding + cell if column.right else cell + padding)
    return (INDENT + GAP.join(shown)).rstrip()


def fit(text: str, width: int) -> str:
    """`text` on one line, cut to `width` columns of a terminal."""
    text = " ".join(text.split())
    kept = text[: 4 * width]  # more than fits
    if len(kept) == len(text) and display_width(text) <= width:
        return text
    while kept and display_width(kept) > width - 1:
        kept = kept[:-1]
    return kept + "…"


def display_width(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
