"""`semc view`: a program, what compiling made of it, and a run of it, as one HTML file."""

from __future__ import annotations

import argparse
import time

from . import messages
from .command import Command
from .options import add_level, add_models, add_program, check_writable, write_output
from .run import add_arguments, add_run_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("file", metavar="FILE", help="source, or IR of any level in a FILE.sir; `-` is source on stdin")
    parser.add_argument("-o", dest="output", required=True, metavar="FILE.html", help="where to write the page; `-` is "
                                                                                     "stdout")
    add_program(parser)
    add_arguments(parser)
    add_level(parser)
    add_models(parser)
    parser.add_argument("--no-run", action="store_true", help="show what compiling made of it, and run nothing")
    add_run_options(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Compile, run, write the page; 1 if the run failed."""
    from . import results
    from .explaining import explain_program
    from .loading import load_unit

    began = time.perf_counter()
    unit = load_unit(arguments.file, arguments.program)
    messages.show(unit.diagnostics)
    check_writable(arguments.output)
    explanation, result = explain_program(unit, arguments, began, run=not arguments.no_run, keep_ir=True)
    messages.progress("")
    from ..report.html_page import html_page

    write_output(arguments.output, html_page(explanation, unit.sources))
    if arguments.output != "-":
        messages.note(f"wrote {arguments.output}")
    if result is None:
        return 0
    results.show_errors(result.errors, unit.sources)
    results.show_missed_deadlines(result.stats)
    return 1 if result.errors else 0


COMMAND = Command("view", "Write a page that shows a program, its compilation and a run.", configure, execute)
