"""Flags that look at passes while they run, and running pipelines under them."""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..ir.diagnostics import InputError
from .options import UNWRITABLE

if TYPE_CHECKING:
    from ..ir.core import Module
    from ..ir.target import Target
    from ..passes.base import Pass
    from ..passes.manager import PipelineOptions, PipelineResult


def add_instruments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that `instruments` reads."""
    parser.add_argument("--print-ir-after", action="append", default=[], metavar="PASS", help="print the IR after PASS")
    parser.add_argument("--print-ir-after-all", action="store_true", help="print the IR after every pass")
    parser.add_argument("--print-ir-after-change", action="store_true", help="print the IR after passes that change it")
    parser.add_argument("--locations", action="store_true", help="print where each operation comes from")
    parser.add_argument("--verify-each", action="store_true", help="verify the IR after every pass")
    parser.add_argument("--timing", action="store_true", help="print the seconds that each pass took")
    parser.add_argument("--reports", action="store_true", help="print what each pass did, in a sentence")
    parser.add_argument("--dump-dir", metavar="DIR", help="write the IR after every pass to numbered files in DIR")
    parser.add_argument("--reproducer", metavar="FILE",
                        help="where to write the IR and the passes if a pass fails (default: a file in the "
                             "directory for temporary files)")


def instruments(arguments: argparse.Namespace, source: str) -> PipelineOptions:
    """What the flags ask for. `source` names the input; the reproducer is called after it.

    InputError for a pass to print after that does not exist.
    """
    from ..passes.manager import PipelineOptions
    from ..passes.registry import pass_class

    for name in arguments.print_ir_after:
        pass_class(name)
    return PipelineOptions(
        verify_each=arguments.verify_each,
        print_after_all=arguments.print_ir_after_all,
        print_after=frozenset(arguments.print_ir_after),
        print_after_change=arguments.print_ir_after_change,
        locations=arguments.locations,
        dump_directory=Path(arguments.dump_dir) if arguments.dump_dir else None,
        timing=arguments.timing,
        reproducer=Path(arguments.reproducer) if arguments.reproducer else default_reproducer(source),
        allow=frozenset(getattr(arguments, "allow", ())),
    )


def default_reproducer_options(source: str, allow: Iterable[str] = ()) -> PipelineOptions:
    """No instruments; only a reproducer if a pass fails. `allow`: what passes may give up (`--allow`)."""
    from ..passes.manager import PipelineOptions

    return PipelineOptions(reproducer=default_reproducer(source), allow=frozenset(allow))


def default_reproducer(source: str) -> Path:
    """A file for temporary use, the same for every run on one input."""
    digest = hashlib.sha256(os.path.abspath(source).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"semc-reproducer-{digest}.sir"


def checked(passes: Iterable[Pass]) -> list[Pass]:
    """`passes` where `inline` also checks that outputs can be generated: their constant options, and their prompts.

    That is where all calls are known and nothing is constant yet that only this run knows.
    """
    from ..backend.decoding.option_checks import check_options
    from ..passes.base import Report
    from ..passes.bound_lengths import check_contexts
    from ..passes.inline import Inline

    @dataclass(frozen=True)
    class CheckedInline(Inline):
        def run(self, module: Module, target: Target) -> Report:
            report = super().run(module, target)
            check_options(module, target)
            check_contexts(module, target)
            return report

    return [CheckedInline(**vars(p)) if isinstance(p, Inline) else p for p in passes]


def run_passes(module: Module, passes: Sequence[Pass], target: Target, arguments: argparse.Namespace,
               source: str) -> PipelineResult:
    """Run passes on `module`, in place, under the flags of `add_instruments`."""
    from ..passes.manager import run_pipeline
    from . import messages

    options = instruments(arguments, source)
    try:
        result = run_pipeline(module, passes, target, options)
    except OSError as error:
        raise InputError.of(UNWRITABLE, f"cannot write {error.filename}: {error.strerror}") from None
    if arguments.reports:
        for run in result.runs:
            messages.write(f"{run.text}: {run.report.sentence}")
    return result
