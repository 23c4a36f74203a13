"""Diagnostics as text, in rustc's form, and as JSON.

    error[E0001]: expected an expression after `=`, found `}`
      --> triage.sem:3:11
       |
     3 |   let a = }
       |           ^ unexpected
       |
       = help: …
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .diagnostics import Diagnostic, Label
from .source import SourceFile, Span

TAB_WIDTH = 4
MAX_LINE_WIDTH = 160
"""Columns of a source line that are shown; longer lines are cut around the carets."""
MAX_SPAN_LINES = 4
"""A span over more lines than this shows its first and last line."""

_COLORS = {"error": "\033[1;31m", "warning": "\033[1;33m", "gutter": "\033[1;34m",
           "bold": "\033[1m", "help": "\033[1;36m"}
_RESET = "\033[0m"


@dataclass(frozen=True)
class _Mark:
    """Carets under the columns `start..end` (characters, from 0) of one line."""

    line: int
    start: int
    end: int
    text: str
    is_primary: bool


def render(diagnostic: Diagnostic, color: bool = False) -> str:
    """A diagnostic as lines of text without a final newline; with `color`, ANSI escapes."""
    paint = _Painter(color)
    severity = diagnostic.severity
    head = paint(f"{severity}[{diagnostic.code}]", severity) + paint(f": {diagnostic.message}", "bold")
    lines = [head]
    labels = ([diagnostic.primary] if diagnostic.primary else []) + list(diagnostic.labels)
    width = max((len(str(_last_line(label.span))) for label in labels), default=1)
    if diagnostic.primary:
        lines.append(paint(" " * width + "--> ", "gutter") + str(diagnostic.primary.span))
    for source in _sources(labels):
        here = [label for label in labels if label.span.source is source]
        if diagnostic.primary and source is not diagnostic.primary.span.source:
            lines.append(paint(" " * width + "::: ", "gutter") + str(here[0].span))
        marks = [mark for label in here for mark in _marks(label, label is diagnostic.primary)]
        lines += _excerpt(source, marks, width, severity, paint)
    if labels and (diagnostic.notes or diagnostic.fix):
        lines.append(paint(" " * width + " |", "gutter"))
    for name, text in [*(("note", note) for note in diagnostic.notes),
                       *((("help", diagnostic.fix),) if diagnostic.fix else ())]:
        first, *more = text.split("\n")
        lines.append(paint(" " * width + " = ", "gutter") + paint(name, "bold") + f": {first}")
        lines += [" " * (width + 3 + len(name) + 2) + line for line in more]
    return "\n".join(lines)


def render_all(diagnostics: Iterable[Diagnostic], color: bool = False) -> str:
    """All diagnostics, one empty line between them, and a summary; empty without any. Ends with a newline."""
    items = list(diagnostics)
    if not items:
        return ""
    blocks = [render(item, color) for item in items]
    return "\n\n".join([*blocks, _Painter(color)(summary(items), "bold")]) + "\n"


def summary(diagnostics: Iterable[Diagnostic]) -> str:
    """`2 errors and 1 warning`."""
    items = list(diagnostics)
    counts = {name: sum(item.severity == name for item in items) for name in ("error", "warning")}
    parts = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items() if count]
    return " and ".join(parts) or "no errors"


def to_json(diagnostic: Diagnostic) -> dict[str, Any]:
    """Plain data for tools: lines and columns count from 1 in characters, `end` is behind the last character."""
    return {
        "severity": diagnostic.severity,
        "code": diagnostic.code,
        "message": diagnostic.message,
        "span": _span_json(diagnostic.primary.span) if diagnostic.primary else None,
        "label": diagnostic.primary.text if diagnostic.primary else "",
        "labels": [{"span": _span_json(label.span), "text": label.text} for label in diagnostic.labels],
        "notes": list(diagnostic.notes),
        "help": diagnostic.fix,
    }


def _span_json(span: Span) -> dict[str, Any]:
    line, column = span.source.line_column(span.start)
    end_line, end_column = span.source.line_column(span.end)
    return {"path": span.source.path, "line": line, "column": column, "end_line": end_line, "end_column": end_column,
            "start": span.start, "end": span.end}


class _Painter:
    """Wraps text in ANSI escapes, or does not."""

    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, text: str, style: str) -> str:
        return f"{_COLORS[style]}{text}{_RESET}" if self.color and text else text


def _sources(labels: list[Label]) -> list[SourceFile]:
    """The files of the labels, each once, the first label's first."""
    found: list[SourceFile] = []
    for label in labels:
        if not any(label.span.source is source for source in found):
            found.append(label.span.source)
    return found


def _last_line(span: Span) -> int:
    return span.source.line_column(max(span.start, span.end - 1))[0]


def _marks(label: Label, is_primary: bool) -> list[_Mark]:
    """A mark for each line of a span; the text stands at the last."""
    span = label.span
    first, start = span.source.line_column(span.start)
    last = _last_line(span)
    lines = range(first, last + 1) if last - first < MAX_SPAN_LINES else (first, last)
    marks = []
    for line in lines:
        text = span.source.line_text(line)
        begin = start - 1 if line == first else len(text) - len(text.lstrip())
        end = span.end - span.source.line_starts[line - 1] if line == last else len(text.rstrip())
        if end > begin or first == last:
            marks.append(_Mark(line, begin, max(end, begin + 1), "", is_primary))
    if marks:
        final = marks[-1]
        marks[-1] = _Mark(final.line, final.start, final.end, label.text, is_primary)
    return marks


def _excerpt(source: SourceFile, marks: list[_Mark], width: int, severity: str, paint: _Painter) -> list[str]:
    """The marked lines of a file, with what leads over the lines between them."""
    gutter = paint(" " * width + " |", "gutter")
    result = [gutter]
    previous: int | None = None
    for line in sorted({mark.line for mark in marks}):
        if previous is not None and line == previous + 2:
            result.append(_numbered(source, line - 1, width, paint, 0))
        elif previous is not None and line > previous + 2:
            result.append(paint("...", "gutter"))
        here = sorted((mark for mark in marks if mark.line == line), key=lambda mark: (mark.start, mark.end))
        cut = _cut(source.line_text(line), here)
        result.append(_numbered(source, line, width, paint, cut))
        result += [f"{gutter} {carets}" for carets in _carets(source.line_text(line), here, severity, paint, cut)]
        previous = line
    return result


def _numbered(source: SourceFile, line: int, width: int, paint: _Painter, cut: int) -> str:
    text = source.line_text(line)
    shown = _expand(text[cut:cut + MAX_LINE_WIDTH])
    shown = ("…" if cut else "") + shown + ("…" if len(text) > cut + MAX_LINE_WIDTH else "")
    return paint(f"{line:>{width}} |", "gutter") + (f" {shown}" if shown else "")


def _cut(text: str, marks: list[_Mark]) -> int:
    """How many characters of a long line are left out before its first mark."""
    if len(text) <= MAX_LINE_WIDTH or marks[0].start < MAX_LINE_WIDTH * 3 // 4:
        return 0
    return marks[0].start - MAX_LINE_WIDTH // 2


def _carets(text: str, marks: list[_Mark], severity: str, paint: _Painter, cut: int) -> list[str]:
    """The lines under a source line: marks that do not overlap share one, the last text stands behind it."""
    rows: list[str] = []
    pending = list(marks)
    while pending:
        row, used = "", 0
        taken: list[_Mark] = []
        for mark in pending:
            start = _columns(text[cut:mark.start]) + (1 if cut else 0)
            if start < used or (taken and taken[-1].text):
                continue
            end = _columns(text[cut:min(mark.end, cut + MAX_LINE_WIDTH)]) + (1 if cut else 0)
            count = max(1, end - start + max(0, mark.end - max(len(text), mark.start)))
            row += " " * (start - used) + paint(("^" if mark.is_primary else "-") * count,
                                                severity if mark.is_primary else "gutter")
            used = start + count
            taken.append(mark)
        if taken[-1].text:
            row += " " + paint(taken[-1].text, severity if taken[-1].is_primary else "gutter")
        rows.append(row)
        pending = [mark for mark in pending if mark not in taken]
    return rows


def _expand(text: str) -> str:
    """The text as terminals should show it: tabs as spaces, control characters as pictures or `�`."""
    result: list[str] = []
    column = 0
    for character in text:
        shown = _shown(character, column)
        result.append(shown)
        column += _columns(shown) if character == "\t" else _width(shown)
    return "".join(result)


def _shown(character: str, column: int) -> str:
    if character == "\t":
        return " " * (TAB_WIDTH - column % TAB_WIDTH)
    code_point = ord(character)
    if code_point < 0x20:
        return chr(0x2400 + code_point)
    if code_point == 0x7F or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _BIDI:
        return "�"
    return character


_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
"""Controls of direction: shown raw, they could make a line read as what it is not."""


def _width(character: str) -> int:
    """Columns that a terminal gives a character: 0, 1 or 2."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _columns(text: str) -> int:
    """Columns that a text takes after tabs are expanded."""
    column = 0
    for character in text:
        shown = _shown(character, column)
        column += len(shown) if character == "\t" else _width(shown)
    return column
