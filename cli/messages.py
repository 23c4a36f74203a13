"""What goes to stderr: diagnostics, one-line notices, progress on a terminal."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Iterable, Sequence

from ..ir.diagnostics import Diagnostic

_color_allowed = True


def use_color(allowed: bool) -> None:
    """Whether colours may be used where stderr is a terminal."""
    global _color_allowed
    _color_allowed = allowed


def has_color() -> bool:
    """Whether messages are coloured: only on a terminal, and neither `--no-color` nor NO_COLOR is given."""
    return _color_allowed and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and on_terminal()


def on_terminal() -> bool:
    """Whether stderr is a terminal."""
    return sys.stderr.isatty()


def show(diagnostics: Iterable[Diagnostic]) -> None:
    """Print diagnostics to stderr."""
    from ..ir.render_diagnostics import render_all

    sys.stderr.write(render_all(diagnostics, color=has_color()))


def write(text: str) -> None:
    """Print a line to stderr."""
    print(text, file=sys.stderr)


def note(text: str) -> None:
    """Print a one-line notice to stderr."""
    write(f"semc: {text}")


def progress(text: str) -> None:
    """Replace the line of progress on a terminal; nothing elsewhere."""
    if on_terminal():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def defect(error: Exception, arguments: Sequence[str]) -> None:
    """Report a defect of semc itself in one line, and how to see more."""
    own = os.path.dirname(os.path.dirname(__file__))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(own)]
    place = f" at {os.path.relpath(frames[-1].filename, own)}:{frames[-1].lineno}" if frames else ""
    message = " ".join(str(error).split()) or "no message"
    note(f"internal error: {type(error).__name__}: {message}{place}; "
         f"reproduce with: SEMC_DEBUG=1 semc {shlex.join(arguments)}")
