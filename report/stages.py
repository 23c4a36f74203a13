"""Compiles a module pass by pass and keeps what is worth knowing of it after each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..ir.core import Module, TokenList, clone_module, walk
from ..ir.definition import Level
from ..ir.levels import levels_of
from ..ir.printer import print_module
from ..ir.target import Target
from ..ir.values import RuntimeValue
from ..passes.base import Pass, Report
from ..passes.effects import GENERATES
from ..passes.manager import PipelineOptions, run_pipeline
from .prediction import Analysis, Prediction, lowered

MOST_GENERATES = 500
"""Modules with more calls are predicted only before and after all passes: each prediction lowers a copy."""
MOST_SITES = 5
"""Places where a pass saved tokens that are named."""
_NOTHING = re.compile(r"0 (?!.*\b[1-9])")
PIECES = frozenset({"prompt.append", "prompt.role", "engine.fill"})


@dataclass(frozen=True)
class Counts:
    """What a module holds: operations, calls, pieces of prompts (fills, after lowering), tokens of constants."""

    operations: int = 0
    calls: int = 0
    fills: int = 0
    constant_tokens: int = 0

    def to_json(self) -> dict[str, int]:
        """The numbers by name."""
        return dict(vars(self))


@dataclass
class Stage:
    """A module after a pass (`report` is None for what the first pass was given), and what a run of it would take.

    `prediction`: of a run if nothing but lowering followed; None where it was not asked for. `module`: a copy, of
    the stage after the first pass where the text is kept too.
    """

    name: str
    text: str
    report: Report | None
    seconds: float
    counts: Counts
    prediction: Prediction | None = None
    ir: str = field(default="", repr=False)
    module: Module | None = field(default=None, repr=False)

    @property
    def fired(self) -> int:
        """How often the pass did something."""
        return self.report.fired if self.report is not None else 0

    @property
    def sentence(self) -> str:
        """What the pass did, without the parts that say that something was done 0 times."""
        if self.report is None:
            return ""
        said = [part for part in re.split(r"(?<=[,;]) ", self.report.sentence) if not _NOTHING.match(part)]
        return " ".join(said).rstrip(",;") if said else self.report.sentence

    @property
    def saved(self) -> str:
        """Where it saved tokens, most first: `28 tokens saved at x.sem:5:3, …`; empty where it tells of none."""
        sites = dict(self.report.sites) if self.report is not None else {}
        found = sorted(((site, tokens) for site, tokens in sites.items() if tokens), key=lambda item: -item[1])
        words = ", ".join(f"{tokens} at {site}" for site, tokens in found[:MOST_SITES])
        more = f" and at {len(found) - MOST_SITES} more places" if len(found) > MOST_SITES else ""
        return f"tokens saved: {words}{more}" if found else ""

    def to_json(self) -> dict[str, Any]:
        """The entry of `passes` in the JSON form."""
        assert self.report is not None
        return {"name": self.name, "fired": self.fired, "seconds": self.seconds, "pass": self.text,
                "sentence": self.report.sentence, "counters": dict(self.report.counters),
                "saved_tokens": dict(self.report.sites),
                "after": self.counts.to_json(),
                "predicted": self.prediction.to_json() if self.prediction is not None else None}


def run_stages(module: Module, passes: Sequence[Pass], target: Target, arguments: Mapping[str, RuntimeValue], *,
               options: PipelineOptions = PipelineOptions(), keep_ir: bool = False) -> list[Stage]:
    """Run `passes` on `module`, in place; the stage before them and one after each.

    `keep_ir`: keep the text of the module too. Raises what `run_pipeline` raises.
    """
    text = print_module(module) if keep_ir else ""
    stages = [Stage("as written", "", None, 0.0, counts_of(module), None, text)]
    generates = 0
    for number, p in enumerate(passes):
        run = run_pipeline(module, [p], target, options).runs[0]
        stage = Stage(run.name, run.text, run.report, run.seconds, counts_of(module))
        if number == 0:
            generates = stage.counts.calls
            stage.module = clone_module(module) if keep_ir else None
        last = stages[-1]
        is_border = number in (0, len(passes) - 1)
        if stage.fired == 0 and last.prediction is not None and not is_border:
            stage.prediction = last.prediction
        elif levels_of(module) & {Level.PROMPT, Level.ENGINE} and (is_border or generates <= MOST_GENERATES):
            stage.prediction = predict(module, target, arguments)
        if keep_ir:
            stage.ir = last.ir if stage.fired == 0 and last.ir else print_module(module)
        stages.append(stage)
    return stages


def predict(module: Module, target: Target, arguments: Mapping[str, RuntimeValue]) -> Prediction:
    """What a run of `module`, lowered as it is, would take; the module is left alone."""
    return Analysis(lowered(clone_module(module), target), target, arguments).prediction


def counts_of(module: Module) -> Counts:
    """What a module holds, without declarations."""
    operations = calls = fills = tokens = 0
    for op in walk(op for op in module.ops if op.regions):
        operations += 1
        calls += op.name in GENERATES
        if op.name in PIECES:
            fills += 1
            tokens += sum(len(piece.ids) for piece in op.args if isinstance(piece, TokenList))
    return Counts(operations, calls, fills, tokens)
