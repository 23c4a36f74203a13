"""What a pass changed in the text of a module, as hunks of lines."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

MOST_LINES = 3000
"""Longer texts are not compared: the time grows with the square of their length."""
MOST_SHOWN = 400
_IDS = re.compile(r": \[(\d+(?:, \d+){5})(?:, \d+)+\]>")


@dataclass(frozen=True)
class DiffLine:
    """A line; `kind`: `add`, `remove`, `same` or `gap`, which stands between hunks."""

    kind: str
    text: str


def ir_diff(before: str, after: str) -> list[DiffLine]:
    """The lines that differ, with two lines around them; long token lists are cut."""
    old, new = shortened(before).splitlines(), shortened(after).splitlines()
    if max(len(old), len(new)) > MOST_LINES:
        return [DiffLine("gap", f"{len(old)} lines became {len(new)}: too many to compare here")]
    lines: list[DiffLine] = []
    for line in difflib.unified_diff(old, new, n=2, lineterm=""):
        if line.startswith(("---", "+++")) and not lines:
            continue
        if line.startswith("@@"):
            if lines:
                lines.append(DiffLine("gap", "⋯"))
            continue
        lines.append(DiffLine({"+": "add", "-": "remove"}.get(line[:1], "same"), line[1:]))
    if len(lines) > MOST_SHOWN:
        lines = [*lines[:MOST_SHOWN], DiffLine("gap", f"⋯ and {len(lines) - MOST_SHOWN} more lines")]
    return lines


def shortened(ir: str) -> str:
    """IR text with the ids of long token lists cut; their text stays."""
    return _IDS.sub(r": [\1, …]>", ir)
