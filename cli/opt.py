"""`semc opt`: IR text in, passes, IR text out."""

from __future__ import annotations

import argparse

from .command import Command
from .models import choose_models, declared_models, target_of
from .options import add_models, read_source, write_output
from .pipelines import add_instruments, run_passes


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
    run_passes(module, passes, target_of(choice), arguments, arguments.file)
    write_output(arguments.output, print_module(module, locations=arguments.locations))
    return 0


COMMAND = Command("opt", "Run passes over IR text.", configure, execute)
