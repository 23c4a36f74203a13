"""`semc explain`: what the compiler knows of each call, what each pass did, what a run is going to take."""

from __future__ import annotations

import argparse
import json
import time

from . import messages
from .command import Command
from .options import add_level, add_models, add_program, check_writable, write_output
from .run import add_arguments, add_run_options


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("file", metavar="FILE", help="source, or IR of any level in a FILE.sir; `-` is source on stdin")
    add_program(parser)
    add_arguments(parser)
    add_level(parser)
    add_models(parser)
    parser.add_argument("--analyze", action="store_true", help="run the program too: measured beside predicted")
    parser.add_argument("--json", action="store_true", help="print one JSON object: calls, groups, passes, predictions")
    parser.add_argument("--all", action="store_true", help="cut no table short")
    parser.add_argument("-o", dest="output", metavar="FILE", help="write to FILE (default: stdout)")
    add_run_options(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Compile, run where asked to, print; 1 if the run failed."""
    from ..report.explain_text import explanation_text
    from . import results
    from .explaining import explain_program
    from .loading import load_unit

    began = time.perf_counter()
    unit = load_unit(arguments.file, arguments.program)
    messages.show(unit.diagnostics)
    check_writable(arguments.output)
    explanation, result = explain_program(unit, arguments, began, run=arguments.analyze)
    messages.progress("")
    if arguments.json:
        text = json.dumps(explanation.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    else:
        text = explanation_text(explanation, every_row=arguments.all)
    write_output(arguments.output, text)
    if result is None:
        return 0
    results.show_errors(result.errors, unit.sources)
    results.show_missed_deadlines(result.stats)
    return 1 if result.errors else 0


COMMAND = Command("explain", "Say what the compiler knows of each call, and what each pass did.", configure, execute)
