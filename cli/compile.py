"""`semc compile`: the intermediate representation of a program at a level of choice."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import TYPE_CHECKING

from ..ir.definition import Level
from . import messages
from .command import Command
from .models import choose_models, target_of
from .options import add_level, add_models, add_program, write_output
from .pipelines import add_instruments, checked, run_passes

if TYPE_CHECKING:
    from ..passes.base import Pass


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("file", metavar="FILE.sem", help="source file; `-` is stdin")
    parser.add_argument("--emit", choices=[level.value for level in Level], default=Level.ENGINE.value,
                        help="sem: as checked; prompt: calls expanded; engine (default): ready to run")
    parser.add_argument("-o", dest="output", metavar="FILE.sir", help="write to FILE.sir (default: stdout)")
    add_program(parser)
    add_level(parser)
    add_instruments(parser)
    add_models(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Check, lower, run the passes up to the level, print."""
    from ..frontend.compile import compile_file
    from ..ir.printer import print_module
    from .results import placing

    unit = compile_file(arguments.file, program=arguments.program)
    messages.show(unit.diagnostics)
    level = Level(arguments.emit)
    if level is not Level.SEM:
        choice = choose_models(unit.module, unit.models, arguments, arguments.file)
        target = target_of(choice)
        with placing(unit.sources):
            passes = checked(passes_to(level, arguments.level, arguments.allow))
            run_passes(unit.module, passes, target, arguments, arguments.file)
    write_output(arguments.output, print_module(unit.module, locations=arguments.locations))
    return 0


def passes_to(level: Level, optimization: int, allow: Collection[str] = ()) -> list[Pass]:
    """The pipeline of `-O{optimization}` up to a level.

    What shows prompts shows their text, not token ids, and what their calls are for where the pipeline decides it.
    """
    from ..passes.pipelines import pipeline

    passes = pipeline(optimization, allow)
    if level is Level.ENGINE:
        return passes
    lowering = next(number for number, p in enumerate(passes) if p.gives is Level.ENGINE)
    return ([p for p in passes[:lowering] if p.name != "tokenize"]
            + [p for p in passes[lowering:] if p.name == "propagate-objectives"])


COMMAND = Command("compile", "Print the intermediate representation of a program.", configure, execute)
