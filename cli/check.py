"""`semc check`: what is wrong with source files. Runs nothing and imports no host."""

from __future__ import annotations

import argparse
import json

from ..ir.diagnostics import Diagnostic
from . import messages
from .command import Command


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("files", nargs="+", metavar="FILE.sem", help="source files; `-` is stdin")
    parser.add_argument("--json", action="store_true", help="print the diagnostics to stdout as one JSON list")


def execute(arguments: argparse.Namespace) -> int:
    """Check every file; 2 if one has errors."""
    from ..frontend.compile import check_file

    found: dict[Diagnostic, None] = {}  # files that use one another share diagnostics
    for path in arguments.files:
        found |= dict.fromkeys(check_file(path).diagnostics)
    if arguments.json:
        from ..ir.render_diagnostics import to_json

        print(json.dumps([to_json(diagnostic) for diagnostic in found], indent=2, ensure_ascii=False))
    else:
        messages.show(found)
    return 2 if any(diagnostic.severity == "error" for diagnostic in found) else 0


COMMAND = Command("check", "Report what is wrong with source files; run nothing.", configure, execute)
