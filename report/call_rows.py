"""One row for each call site of a compiled program: where it is, what the passes said of it, its sizes and costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..ir.core import Module, Op, Symbol, Word, walk
from ..ir.printer import print_literal
from ..ir.source import Site
from ..passes.effects import GENERATES
from ..passes.intervals import Interval
from .executions import LOOPS
from .prediction import Analysis, tidy

DEFAULT_OBJECTIVE = "throughput"


@dataclass(frozen=True)
class Loop:
    """A loop or branch around a call: `words` such as `len(docs)`; bounds of the turns, and turns on average."""

    kind: str
    words: str
    turns: Interval
    expected: float

    def to_json(self) -> dict[str, Any]:
        """The entry of `times.loops`."""
        return {"kind": self.kind, "over": self.words, "turns": bounds_json(self.turns)}


@dataclass(frozen=True)
class CallRow:
    """A call site: one output that a model writes, after inlining.

    `site`: where the call stands in the source; `hole`: where its output stands in the prompt; `chain`: the calls
    around it, innermost first; `merged`: other sites that it serves too. Tokens are those of one execution;
    `shared_tokens`, `seconds`, `peak_kv_tokens` are expected, the rest are bounds.
    """

    op: Op
    identifier: str
    function: str
    output: str
    model: str
    site: str
    hole: str
    chain: tuple[str, ...]
    merged: tuple[str, ...]
    loops: tuple[Loop, ...]
    executions: Interval
    expected_executions: float
    samples: int | None
    objective: str
    group: str | None
    slack_s: float | None
    depth: int | None
    prompt_tokens: Interval
    expected_prompt_tokens: float
    shared_tokens: float
    output_tokens: Interval
    seconds: float
    peak_kv_tokens: int

    @property
    def name(self) -> str:
        """`Function.output`."""
        return f"{self.function}.{self.output}" if self.function else self.output

    @property
    def times(self) -> str:
        """How often it runs: `1`, `3 × len(parts)`, `0–1`."""
        words = [loop.words for loop in self.loops if loop.words != "1"]
        return " × ".join(words) or "1"

    def to_json(self) -> dict[str, Any]:
        """The entry of `calls`."""
        return {
            "id": self.identifier, "site": self.site, "function": self.function, "output": self.output,
            "hole": self.hole, "called_from": list(self.chain), "merged": list(self.merged), "model": self.model,
            "times": {"words": self.times, "bounds": bounds_json(self.executions),
                      "expected": tidy(self.expected_executions), "loops": [loop.to_json() for loop in self.loops]},
            "samples": self.samples, "objective": self.objective, "group": self.group, "slack_s": self.slack_s,
            "depth": self.depth, "prompt_tokens": bounds_json(self.prompt_tokens),
            "output_tokens": bounds_json(self.output_tokens), "shared_tokens": tidy(self.shared_tokens),
            "predicted": {"prompt_tokens": tidy(self.expected_prompt_tokens), "seconds": self.seconds,
                          "peak_kv_tokens": self.peak_kv_tokens},
        }


def bounds_json(interval: Interval) -> list[int | None]:
    """`[low, high]`; high is null where there is no bound."""
    return [interval.low, interval.high]


def functions_of(module: Module) -> dict[Site, str]:
    """The semantic function whose prompt holds each output, from a module at level sem."""
    return {op.location.chains[0][0]: top.symbol for top in module.ops if top.name == "sem.func"
            for op in walk([top]) if op.name in GENERATES and op.location.chains}


def call_rows(analysis: Analysis, functions: Mapping[Site, str]) -> list[CallRow]:
    """A row for every generate of the program, in textual order."""
    generates = [op for op in walk([analysis.program]) if op.name in GENERATES]
    return [_row(op, number, analysis, functions) for number, op in enumerate(generates, 1)]


def _row(op: Op, number: int, analysis: Analysis, functions: Mapping[Site, str]) -> CallRow:
    attributes = op.attributes
    chains = op.location.chains or ((),)
    chain = chains[0]
    loops = tuple(Loop(e.op.name.removeprefix("flow."), e.words, e.turns, e.expected)
                  for e in analysis.executions.around(op) if e.op.name in LOOPS or e.turns != Interval.exactly(1))
    size = analysis.tree.prompt(op)
    tokens = analysis.tree.node(op).tokens
    group, slack, depth, objective = (attributes.get(k) for k in ("group", "slack", "depth", "objective"))
    samples = attributes.get("n")
    return CallRow(
        op, f"c{number}", functions.get(chain[0], "") if chain else "", str(attributes.get("output", "")),
        analysis.lengths.model(op.operands[0]) or "", _site(chain), str(chain[0]) if chain else "",
        tuple(map(str, chain[1:])), tuple(dict.fromkeys(_site(c) for c in chains[1:])), loops,
        analysis.executions.bounds(op), analysis.executions.expected(op),
        samples if isinstance(samples, int) else None,
        print_literal(objective) if isinstance(objective, Word) else DEFAULT_OBJECTIVE,
        group.name if isinstance(group, Symbol) else None,
        float(slack) if isinstance(slack, int | float) else None,
        depth if isinstance(depth, int) else None,
        _prompt_bounds(analysis, op), size.tokens, min(size.shared, size.tokens),
        analysis.lengths.output(op).decoded, _seconds(analysis, size.tokens, size.shared, tokens),
        round(size.tokens + max(tokens - 1, 0)))


def _prompt_bounds(analysis: Analysis, op: Op) -> Interval:
    """Bounds of the tokens of a prompt, without BOS, as the counters of a run have it."""
    prompt = op.operands[0]
    tokens = analysis.lengths.context(prompt).tokens
    tokenizer = analysis.target.model(analysis.lengths.model(prompt) or "").tokenizer
    bos = 0 if tokenizer is None or tokenizer.bos_id is None else 1
    return Interval(tokens.low - bos, None if tokens.high is None else tokens.high - bos)


def _site(chain: tuple[Site, ...]) -> str:
    """The call of the function, or the output itself where there was none."""
    return str(chain[min(1, len(chain) - 1)]) if chain else "<unknown>"


def _seconds(analysis: Analysis, prompt: float, shared: float, output: float) -> float:
    """Seconds of one execution alone on the engine, with what it shares already there."""
    return analysis.costs.seconds(output, max(prompt - shared, 0.0), output, output * (prompt + output / 2))
