"""Files and standard input to source text."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from ..ir.diagnostics import Diagnostics
from ..ir.source import SourceFile, Span

Read = Callable[[str], bytes]
"""Gives the bytes of the file at a path; raises OSError, or ValueError for what cannot be a path."""


def read_bytes(path: str) -> bytes:
    """The bytes of a file; `-` is standard input."""
    return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()


def read_source(path: str, diagnostics: Diagnostics, used_at: Span | None = None,
                read: Read = read_bytes) -> SourceFile | None:
    """The text of the file at `path`; None if it cannot be read, which is reported at `used_at`."""
    try:
        data = read(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        diagnostics.error("E0501", f"cannot read `{path}`: {reason}", used_at)
        return None
    try:
        return SourceFile("<stdin>" if path == "-" else path, data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        diagnostics.error("E0502", f"`{path}` is not UTF-8: byte 0x{data[error.start]:02X} in line {line}", used_at,
                          fix="save the file as UTF-8")
        return None
