"""`semc fmt`: source files in canonical layout."""

from __future__ import annotations

import argparse

from ..ir.diagnostics import Diagnostics, InputError
from . import messages
from .command import Command
from .options import read_source, write_output


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("files", nargs="+", metavar="FILE.sem", help="source files; `-` formats stdin to stdout")
    parser.add_argument("--check", action="store_true", help="change nothing; name the files that would change")


def execute(arguments: argparse.Namespace) -> int:
    """Format every file that has no syntax errors; 2 if one has, 1 if one is not formatted under `--check`."""
    diagnostics = Diagnostics()
    unformatted = [path for path in arguments.files if not format_file(path, arguments.check, diagnostics)]
    messages.show(diagnostics)
    if diagnostics.has_errors:
        return 2
    return 1 if arguments.check and unformatted else 0


def format_file(path: str, only_check: bool, diagnostics: Diagnostics) -> bool:
    """Format one file unless `only_check`. Whether its layout was canonical; what is wrong with it is reported."""
    from ..frontend.formatter import format_source

    try:
        source = read_source(path)
    except InputError as error:
        diagnostics.items += error.diagnostics
        return True
    text = format_source(source, diagnostics)
    if text is None:
        return True
    changed = text != source.text
    if only_check and changed:
        print(path)
    elif path == "-" or (changed and not only_check):
        write_output(path, text)
    return not changed


COMMAND = Command("fmt", "Format source files in place.", configure, execute)
