"""Everything that the page of a program shows, in the order in which it shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir.source import SourceFile
from ..passes.static_knowledge import static_knowledge
from .assumptions import Assumed
from .call_rows import CallRow
from .executions import Executions
from .explain_text import interval, number, plural, seconds
from .explanation import Explanation, GroupRow
from .graph import Graph, GraphBuilder
from .ir_diff import DiffLine, ir_diff, shortened
from .layout import Drawing, draw
from .names import colors_of, earlier_names, names_of
from .prefix_rows import PrefixRow, prefix_rows, served_calls
from .source_view import SourcePage, source_pages
from .stages import Stage
from .story import Fact, facts, story
from .timeline import Timeline, timeline

MOST_CALLS = 400
MOST_IR = 150_000
"""Characters of the final IR that the page shows."""


@dataclass(frozen=True)
class CallEntry:
    """A row of the table of calls, and what is told when something of the call is touched.

    `said`: objective, slack and group; `predicted` and, after a run, `measured`: runs, prompt, shared, answer, time.
    """

    row: CallRow
    color: int
    said: tuple[str, ...]
    predicted: tuple[str, ...]
    measured: tuple[str, ...]
    tip: str


@dataclass(frozen=True)
class PassEntry:
    """A row of the table of passes; `changed`: which of its numbers differ from the row before."""

    stage: Stage
    numbers: tuple[str, ...]
    changed: tuple[bool, ...]
    diff: tuple[DiffLine, ...]


@dataclass(frozen=True)
class GroupEntry:
    """A group with its calls."""

    row: GroupRow
    names: tuple[tuple[str, str], ...]


@dataclass
class PageData:
    """See the module's docstring."""

    explanation: Explanation
    story: list[str]
    facts: list[Fact]
    before: Drawing | None
    after: Drawing
    left_out: int
    timeline: Timeline | None
    prefixes: list[PrefixRow]
    groups: list[GroupEntry]
    calls: list[CallEntry]
    more_calls: int
    passes: list[PassEntry]
    ir: str
    sources: list[SourcePage]
    colors: dict[str, int]
    tips: dict[str, str]

    def color(self, identifiers: Sequence[str]) -> int:
        """The colour of what stands for these calls."""
        return next((self.colors[i] for i in identifiers if i in self.colors), 0)

    def tip(self, identifiers: Sequence[str]) -> str:
        """What is told of these calls."""
        return "\n\n".join(self.tips[i] for i in identifiers[:3] if i in self.tips)


def page_data(explanation: Explanation, sources: Iterable[SourceFile]) -> PageData:
    """What the page of `explanation` shows; its stages hold the IR."""
    rows, analysis, measured = explanation.calls, explanation.analysis, explanation.measurement
    names = names_of(rows)
    served = served_calls(analysis.tree, rows)
    built = GraphBuilder(analysis.program, names, analysis.executions, analysis.tree, served)
    before = _before(explanation)
    colors = colors_of(rows)
    entries = [_call(explanation, row, colors[row.identifier]) for row in rows]
    titles = {row.identifier: row.name for row in rows}
    stages = explanation.stages
    return PageData(
        explanation, story(explanation), facts(explanation), draw(before) if before is not None else None,
        draw(built.graph), built.left_out, timeline(measured, names) if measured is not None else None,
        prefix_rows(analysis.tree, served, measured),
        [GroupEntry(g, tuple((c, titles[c]) for c in g.calls[:40])) for g in explanation.groups],
        entries[:MOST_CALLS], max(0, len(entries) - MOST_CALLS),
        [_pass(old, new) for old, new in zip([None, *stages], stages, strict=False)],
        shortened(stages[-1].ir)[:MOST_IR], source_pages(sources, rows), colors,
        {entry.row.identifier: entry.tip for entry in entries})


def _before(explanation: Explanation) -> Graph | None:
    """The graph of the program as it was written: after inlining, before anything was optimized."""
    module = next((stage.module for stage in explanation.stages if stage.module is not None), None)
    if module is None:
        return None
    target = explanation.analysis.target
    known = static_knowledge(module, target, explanation.analysis.arguments)
    program = next(op for op in module.ops if op.name == "sem.program")
    executions = Executions(program, Assumed(known, target), known.lengths)
    return GraphBuilder(program, earlier_names(module, explanation.calls), executions).graph


def _call(explanation: Explanation, row: CallRow, color: int) -> CallEntry:
    measured = explanation.measurement
    found = measured.call_json(row.op) if measured is not None else None
    predicted = (row.times, number(row.expected_prompt_tokens), number(row.shared_tokens), interval(row.output_tokens),
                 seconds(row.seconds))
    said = (row.objective, "–" if row.slack_s is None else seconds(row.slack_s), row.group or "–")
    return CallEntry(row, color, said, predicted, () if measured is None else _measured_cells(found), _tip(row, found))


def _measured_cells(found: dict[str, Any] | None) -> tuple[str, ...]:
    if found is None:
        return ("0", *("–",) * 4)
    counts = (number(found[key]) for key in ("prompt_tokens", "shared_tokens", "generated_tokens"))
    return (str(found["runs"]), *counts, seconds(found["seconds"]))


def _tip(row: CallRow, found: dict[str, Any] | None) -> str:
    lines = [row.name, f"called at {row.site}" + (f" and {plural(len(row.merged), 'other place')}" * bool(row.merged)),
             f"runs: {row.times}; objective: {row.objective}"
             + (f"; group {row.group}" if row.group else "")
             + (f"; may be {seconds(row.slack_s)} late" if row.slack_s else ""),
             f"prompt: {interval(row.prompt_tokens)} tokens, {number(row.shared_tokens)} shared; "
             f"answer: {interval(row.output_tokens)} tokens"]
    if found is not None:
        lines.append(f"measured: {found['runs']} × {number(found['prompt_tokens'])} prompt tokens "
                     f"({number(found['shared_tokens'])} there already), "
                     f"{number(found['generated_tokens'])} generated, {seconds(found['seconds'])}")
    return "\n".join(lines)


def _pass(before: Stage | None, stage: Stage) -> PassEntry:
    numbers = _numbers(stage)
    old = _numbers(before) if before is not None else numbers
    diff = ir_diff(before.ir, stage.ir) if before is not None and stage.ir is not before.ir else []
    return PassEntry(stage, numbers, tuple(a != b for a, b in zip(numbers, old, strict=True)), tuple(diff))


def _numbers(stage: Stage) -> tuple[str, ...]:
    counts, found = stage.counts, stage.prediction
    return (str(counts.operations), str(counts.calls), str(counts.fills), str(counts.constant_tokens or "–"),
            "–" if found is None else number(found.filled_tokens),
            "–" if found is None else seconds(found.makespan_s))
