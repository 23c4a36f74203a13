"""`semc opt`: IR text in, passes, IR text out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..ir.definition import Level
from . import messages
from .command import Command
from .models import choose_models, declared_models, target_of
from .options import add_models, read_source, write_output
from .pipelines import add_instruments, run_passes

if TYPE_CHECKING:
    from ..ir.core import Module
    from ..passes.base import Pass

LOWERING = ((Level.SEM, ("inline", "tokenize"), Level.PROMPT),
            (Level.PROMPT, ("tokenize", "lower-engine"), Level.ENGINE))
"""From one level to the next: the passes that `-O0` lowers with."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("file", metavar="FILE.sir", help="IR text; `-` is stdin")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--passes", default="", metavar="PIPELINE",
                       help='passes with their options: "a{key=value},b"; none only parses, verifies and prints')
    which.add_argument("-O", dest="level", type=int, choices=(0, 1, 2), metavar="LEVEL",
                       help="run the pipeline of an optimization level")
    parser.add_argument("--allow", action="append", default=[], choices=("distribution", "text"),
                        help="allow passes that preserve this much only")
    parser.add_argument("-o", dest="output", metavar="FILE", help="write to FILE (default: stdout)")
    add_instruments(parser)
    add_models(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Read, verify, transform, print."""
    from ..ir.parser import parse_module
    from ..ir.printer import print_module
    from ..ir.verifier import verify_input
    from ..passes.manager import parse_pipeline
    from ..passes.pipelines import pipeline

    source = read_source(arguments.file)
    passes = parse_pipeline(arguments.passes) if arguments.level is None else pipeline(arguments.level, arguments.allow)
    module = parse_module(source)
    verify_input(module, source)
    choice = choose_models(module, declared_models(module), arguments, arguments.file)
    if arguments.level is None:
        passes = with_lowering(passes, module)
    run_passes(module, passes, target_of(choice), arguments, arguments.file)
    write_output(arguments.output, print_module(module, locations=arguments.locations))
    return 0


def with_lowering(passes: Sequence[Pass], module: Module) -> list[Pass]:
    """`passes` with those between that lower the module where the next one takes a later level only; says so."""
    from ..ir.levels import levels_of
    from ..passes.registry import pass_class

    found: list[Pass] = []
    levels = levels_of(module)
    for p in passes:
        while not levels & p.levels and (step := next((step for step in LOWERING if step[0] in levels), None)):
            _, names, level = step
            messages.note(f"{' and '.join(names)} run before {p.name}, which takes a module of a later level")
            found += [pass_class(name)() for name in names]
            levels = frozenset({level})
        found.append(p)
        levels = frozenset({p.gives}) if p.gives is not None else levels
    return found


COMMAND = Command("opt", "Run passes over IR text.", configure, execute)
