"""Passes and pipelines of them.

A pass is one file with one frozen dataclass derived from `Pass`. Its fields are its options: `min_tokens: int = 8`
is written `hoist-prefixes{min-tokens=8}`. Its docstring is its page in docs/passes.md and its test: one line of
summary, then prose, then one or more examples, each a pair of fenced blocks of whole modules:

    ```before
    sem.program(@Main) |%a: text| {
      …
      sem.return(%a) {names = ["y"]}
    }
    ```

    ```after
    sem.program(@Main) |%a: text| {
      …
    }
    ```

The words after `after` are options for this example, as on the command line: "```after min-tokens=8". Value names,
`%0` numbers and layout need not match: both sides are parsed and printed before they are compared. Both
sides must verify. The examples run on a model whose tokens are UTF-8 bytes (ids 0 to 255, no BOS, a context of 4,096)
and whose chat template writes `<role>` before each part. tests/passes/test_examples.py runs every one.

A pass changes the module in place (to replace everything, assign `module.ops`) and says what it did:

    return Report("2 prefixes shared, 143 tokens saved", {"prefixes": 2, "tokens": 143})

`run_pipeline` runs passes: it checks what each preserves and takes, verifies, times, prints and records crashes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from ..ir import garbage_collection
from ..ir.core import Module, clone_module
from ..ir.diagnostics import InputError
from ..ir.printer import print_module
from ..ir.target import Target
from ..ir.verifier import VerificationError, levels_of, verify
from .base import Pass, Preserves, Report
from .pipeline_parser import make_pass, parse_pipeline, pass_text, pipeline_text
from .shared_analyses import Kept, keeping

__all__ = ["InternalError", "Pass", "PassRun", "PipelineOptions", "PipelineResult", "Preserves", "Report", "make_pass",
           "parse_pipeline", "pass_text", "pipeline_text", "run_pipeline", "timing_report"]

RECURSION_LIMIT = 20_000
"""Passes recurse over regions, a few Python frames per level; the parser takes 1,000 levels."""


class InternalError(Exception):
    """A fault of the compiler itself; the message names the pass and the file that repeats it."""


@dataclass(frozen=True)
class PipelineOptions:
    """How to run a pipeline, beside what it is. Names of passes are those of the command line."""

    verify_each: bool = False
    """Verify the module before the first pass and after each."""
    print_after_all: bool = False
    print_after: frozenset[str] = frozenset()
    print_after_change: bool = False
    """Print after each pass that changed the module's text."""
    locations: bool = False
    """Print locations where IR is printed."""
    dump_directory: Path | None = None
    """Write `000-input.sir`, `001-inline.sir`, … there; it is made where missing."""
    timing: bool = False
    """Print the time of each pass at the end."""
    reproducer: Path | None = None
    """Where to write the IR before a pass that failed, with the command that repeats the failure."""
    allow: frozenset[str] = frozenset()
    """What may be given up beside nothing: `distribution`, `text`."""


@dataclass(frozen=True)
class PassRun:
    """One pass that ran: its text with options, its report, wall time of the pass and of verifying after it."""

    name: str
    text: str
    report: Report
    seconds: float
    verify_seconds: float = 0.0


@dataclass
class PipelineResult:
    """The transformed module (the one that was given) and what each pass did."""

    module: Module
    runs: list[PassRun] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Wall time of all passes and verifications."""
        return sum(run.seconds + run.verify_seconds for run in self.runs)


def run_pipeline(module: Module, passes: Sequence[Pass], target: Target,
                 options: PipelineOptions = PipelineOptions(), stream: TextIO | None = None) -> PipelineResult:
    """Run `passes` on `module`, in place.

    Raises InputError when a pass does not preserve tokens and was not allowed, when it does not take modules of
    this level, or when it finds the input wrong; InternalError when a pass breaks. Instruments write to `stream`
    (standard error unless given).
    """
    _check_allowed(passes, options)
    run = _Run(module, list(passes), target, options, stream or sys.stderr)
    with _deep_recursion(), garbage_collection.paused():
        return run.run()


def timing_report(result: PipelineResult) -> str:
    """A table of seconds and shares, one line per pass, verification apart."""
    total = result.seconds or 1.0
    rows = [(run.seconds, run.text) for run in result.runs]
    verifying = sum(run.verify_seconds for run in result.runs)
    if verifying:
        rows.append((verifying, "(verify)"))
    lines = [f"  {seconds:9.4f} s  {100 * seconds / total:5.1f} %  {name}" for seconds, name in rows]
    return "\n".join(["pipeline", *lines, f"  {result.seconds:9.4f} s  100.0 %  total"]) + "\n"


def _check_allowed(passes: Sequence[Pass], options: PipelineOptions) -> None:
    for p in passes:
        if p.preserves != "tokens" and p.preserves not in options.allow:
            raise InputError.of("E0924", f"the pass `{p.name}` preserves {p.preserves} only, so outputs may change",
                                fix=f"allow it with --allow {p.preserves}")


@contextmanager
def _deep_recursion() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, RECURSION_LIMIT))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@dataclass
class _Run:
    module: Module
    passes: list[Pass]
    target: Target
    options: PipelineOptions
    stream: TextIO

    def run(self) -> PipelineResult:
        options = self.options
        if options.verify_each:
            verify(self.module, None)
        # Passes change the module in place: what a reproducer shows is rebuilt from this copy.
        original = clone_module(self.module) if options.reproducer else None
        result = PipelineResult(self.module)
        self._dump(0, "input")
        with keeping(self.module, self.target) as kept:
            for number, p in enumerate(self.passes):
                self._run_pass(number, p, original, result, kept)
        if options.timing:
            self.stream.write(timing_report(result))
        return result

    def _run_pass(self, number: int, p: Pass, original: Module | None, result: PipelineResult, kept: Kept) -> None:
        options = self.options
        kept.forget_all_but(p.keeps)
        self._check_level(p)
        before = self._text() if options.print_after_change else ""
        start = time.perf_counter()
        try:
            report = p.run(self.module, self.target)
            end = time.perf_counter()
            if options.verify_each:
                verify(self.module, p.gives)
        except InputError:
            raise
        except Exception as error:
            raise self._crash(number, error, original) from error
        run = PassRun(p.name, pass_text(p), report, end - start,
                      time.perf_counter() - end if options.verify_each else 0.0)
        result.runs.append(run)
        self._dump(number + 1, p.name)
        self._print_after(p, before)

    def _check_level(self, p: Pass) -> None:
        levels = levels_of(self.module)
        if not levels & p.levels:
            takes = " or ".join(sorted(level.value for level in p.levels))
            has = " or ".join(sorted(level.value for level in levels)) or "mixed"
            raise InputError.of("E0925", f"the pass `{p.name}` takes a module of level {takes}; this one is {has}",
                                fix="`semc passes` lists the passes of each level in the order in which they belong")

    def _text(self) -> str:
        return print_module(self.module, locations=self.options.locations)

    def _dump(self, number: int, name: str) -> None:
        if self.options.dump_directory:
            self.options.dump_directory.mkdir(parents=True, exist_ok=True)
            path = self.options.dump_directory / f"{number:03}-{name}.sir"
            path.write_text(self._text(), encoding="utf-8")

    def _print_after(self, p: Pass, before: str) -> None:
        options = self.options
        if options.print_after_all or p.name in options.print_after:
            self.stream.write(f"// after {pass_text(p)}\n{self._text()}")
        elif options.print_after_change:
            after = self._text()
            if after == before:
                self.stream.write(f"// after {pass_text(p)}: no change\n")
            else:
                self.stream.write(f"// after {pass_text(p)}\n{after}")

    def _crash(self, number: int, error: Exception, original: Module | None) -> InternalError:
        """The error for a pass that broke, after writing the reproducer."""
        p = self.passes[number]
        what = (f"the module is wrong after the pass `{p.name}`" if isinstance(error, VerificationError)
                else f"the pass `{p.name}` failed: {type(error).__name__}")
        path = self.options.reproducer
        if path is None or original is None:
            return InternalError(f"{what}: {error}")
        skip = number if self._replay(original, number) else 0
        command = f'// RUN: semc opt %s --passes "{_quoted(pipeline_text(self.passes[skip:]))}" --verify-each\n'
        try:
            path.write_text(command + print_module(original), encoding="utf-8")
        except OSError as unwritable:
            return InternalError(f"{what}: {error}\nno file to repeat it with: {unwritable}")
        return InternalError(f"{what}: {error}\n`semc opt` on {path} repeats it; please report it with that file")

    def _replay(self, module: Module, count: int) -> bool:
        """Whether the first `count` passes ran again on `module`; it is left alone when they did not."""
        trial = clone_module(module)
        try:
            for p in self.passes[:count]:
                p.run(trial, self.target)
        except Exception:
            return False
        module.ops = trial.ops
        return True


def _quoted(text: str) -> str:
    """`text` inside double quotes as a shell reads them."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
