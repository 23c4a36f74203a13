"""The text of `semc explain`: aligned tables that fit in 100 columns, the same for 1 and for 10,000 call sites."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence

from ..passes.intervals import Interval
from .call_rows import CallRow
from .explanation import Explanation
from .prediction import Prediction, tidy
from .stages import Stage
from .text_table import Column, table

WIDTH = 100
MOST_ROWS = 40
"""Rows of a table unless all of them are asked for."""


def explanation_text(explanation: Explanation, *, every_row: bool = False) -> str:
    """The whole page. `every_row`: cut no table short."""
    most = len(explanation.calls) + len(explanation.stages) if every_row else MOST_ROWS
    parts = [_head(explanation), _calls(explanation, most)]
    if explanation.groups:
        parts.append(_groups(explanation, most))
    parts += [_passes(explanation), _totals(explanation)]
    if explanation.measurement is not None:
        parts.append(_measured_calls(explanation, most))
    if explanation.assumed:
        parts.append(_assumptions(explanation, most))
    return "\n\n".join(parts) + "\n"


def _head(explanation: Explanation) -> str:
    calls, groups = len(explanation.calls), len(explanation.groups)
    text = f"{explanation.program}: {plural(calls, 'call site')}"
    if groups:
        text += f" in {plural(groups, 'group')}"
    text += f", compiled with -O{explanation.level} for the engine {explanation.engine}"
    return text


def _calls(explanation: Explanation, most: int) -> str:
    columns = [Column("", right=True), Column("call", 30), Column("at", 24), Column("times", 18),
               Column("objective", 14), Column("slack", right=True), Column("group", 8),
               Column("prompt", right=True), Column("shared", right=True), Column("output", right=True),
               Column("time", right=True)]
    path = common_path(row.site for row in explanation.calls)
    rows = [[row.identifier, row.name, short_site(row.site, path), row.times, row.objective,
             "–" if row.slack_s is None else seconds(row.slack_s), row.group or "–", interval(row.prompt_tokens),
             number(row.shared_tokens), interval(row.output_tokens), seconds(row.seconds)]
            for row in explanation.calls[:most]]
    columns = [c for n, c in enumerate(columns) if c.title not in ("group", "slack") or any(r[n] != "–" for r in rows)]
    titles = {c.title for c in columns}
    kept = [n for n, title in enumerate(("", "call", "at", "times", "objective", "slack", "group", "prompt", "shared",
                                         "output", "time")) if title in titles]
    lines = table(columns, [[row[n] for n in kept] for row in rows], WIDTH)
    lines += _left_out(len(explanation.calls), most, "call sites")
    title = f"Calls in {path}" if path else "Calls"
    notes = "tokens of one execution: bounds of prompt and output, those shared with other calls; time: alone"
    return section(title, lines, notes)


def _groups(explanation: Explanation, most: int) -> str:
    columns = [Column("group"), Column("size", right=True), Column("objective"), Column("batch", right=True),
               Column("depth", right=True), Column("calls", 60)]
    rows = [[g.identifier, _or_run(g.size), g.objective, _or_run(g.batch), "–" if g.depth is None else str(g.depth),
             ranges(g.calls)] for g in explanation.groups[:most]]
    lines = table(columns, rows, WIDTH) + _left_out(len(explanation.groups), most, "groups")
    return section("Groups", lines, "calls that are wanted together; “run”: known when the run reaches them")


def ranges(identifiers: Sequence[str]) -> str:
    """`c1–c3, c7`: neighbours as one range."""
    runs: list[list[int]] = []
    for number in sorted(int(identifier[1:]) for identifier in identifiers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"c{a}" if a == b else f"c{a}–c{b}" for a, b in runs)


def _passes(explanation: Explanation) -> str:
    columns = [Column("pass"), Column("ms", right=True), Column("operations", right=True), Column("calls", right=True),
               Column("fills", right=True), Column("constant", right=True), Column("filled", right=True),
               Column("makespan", right=True)]
    stages = explanation.stages
    rows = [_pass_row(stage, before) for before, stage in zip([None, *stages], stages, strict=False)]
    lines = table(columns, rows, WIDTH)
    spaced = lines[:1]
    for line, stage in zip(lines[1:], stages, strict=True):
        spaced.append(line)
        if stage.fired and stage.report is not None:
            for text in filter(None, (stage.sentence, stage.saved)):
                spaced += textwrap.wrap(text, WIDTH - 8, initial_indent="      ", subsequent_indent="      ",
                                        break_on_hyphens=False)
    notes = ("after each pass: what the program holds, tokens of its constants, and what a run is predicted to "
             "compute and take if nothing but lowering followed; · is unchanged")
    return section("Passes", spaced, notes)


def _pass_row(stage: Stage, before: Stage | None) -> list[str]:
    numbers = [*_numbers(stage)]
    old = _numbers(before) if before is not None else [""] * len(numbers)
    same = ["·" if a == b and a != "–" else a for a, b in zip(numbers, old, strict=True)]
    return [stage.name, f"{stage.seconds * 1000:.1f}" if stage.report is not None else "", *same]


def _numbers(stage: Stage) -> list[str]:
    counts, found = stage.counts, stage.prediction
    tokens = str(counts.constant_tokens) if counts.constant_tokens else "–"
    return [str(counts.operations), str(counts.calls), str(counts.fills), tokens,
            "–" if found is None else number(found.filled_tokens),
            "–" if found is None else seconds(found.makespan_s)]


TOTALS: tuple[tuple[str, Callable[[Prediction], float], str, Callable[[float], str]], ...] = (
    ("calls", lambda p: p.calls, "calls", lambda x: number(x)),
    ("prompt tokens", lambda p: p.prompt_tokens, "prompt_tokens", lambda x: number(x)),
    ("filled tokens", lambda p: p.filled_tokens, "filled_tokens", lambda x: number(x)),
    ("generated tokens", lambda p: p.generated_tokens, "generated_tokens", lambda x: number(x)),
    ("peak KV tokens", lambda p: p.peak_kv_tokens, "peak_kv_tokens", lambda x: number(x)),
    ("makespan", lambda p: p.makespan_s, "makespan_s", lambda x: seconds(x)),
)


def _totals(explanation: Explanation) -> str:
    """What a run takes: at -O0, as compiled, and as measured."""
    measured = explanation.measurement.stats.to_json() if explanation.measurement is not None else None
    columns = [Column("of one run"), Column("at -O0", right=True), Column("compiled", right=True),
               Column("saved", right=True)]
    if measured is not None:
        columns += [Column("in the run", right=True), Column("measured", right=True), Column("ratio", right=True)]
    rows = []
    for title, of, key, shown in TOTALS:
        before, now = of(explanation.baseline), of(explanation.prediction)
        row = [title, shown(before), shown(now), percent(before, now)]
        if measured is not None:
            again = measured.get(f"predicted_{key}")
            row += ["" if again is None else shown(again), shown(measured[key]),
                    ratio(measured[key], now if again is None else again)]
        rows.append(row)
    notes = "predicted with every output at its longest"
    if measured is not None:
        notes += "; “in the run”: predicted with the loops and lengths that it had; ratio: measured / predicted"
    return section("Predicted and measured" if measured is not None else "Predicted", table(columns, rows, WIDTH),
                   notes)


def _measured_calls(explanation: Explanation, most: int) -> str:
    assert explanation.measurement is not None
    columns = [Column("", right=True), Column("call", 30), Column("runs", right=True), Column("of", right=True),
               Column("prompt", right=True), Column("of", right=True), Column("shared", right=True),
               Column("of", right=True), Column("output", right=True), Column("of", right=True),
               Column("time", right=True), Column("of", right=True)]
    rows = [_measured_row(explanation, row) for row in explanation.calls[:most]]
    lines = table(columns, rows, WIDTH) + _left_out(len(explanation.calls), most, "call sites")
    return section("Measured calls", lines, "means of one execution, each beside what was predicted; time: from the "
                                            "request to the last token, together with what ran beside it")


def _measured_row(explanation: Explanation, row: CallRow) -> list[str]:
    assert explanation.measurement is not None
    found = explanation.measurement.call_json(row.op)
    predicted = [number(row.expected_prompt_tokens), number(row.shared_tokens), interval(row.output_tokens),
                 seconds(row.seconds)]
    runs = number(row.expected_executions * (row.samples or 1))
    if found is None:
        measured = ["–"] * 4
    else:
        measured = [*(number(found[k]) for k in ("prompt_tokens", "shared_tokens", "generated_tokens")),
                    seconds(found["seconds"])]
    pairs = [cell for pair in zip(measured, predicted, strict=True) for cell in pair]
    return [row.identifier, row.name, str(found["runs"]) if found else "0", runs, *pairs]


def _assumptions(explanation: Explanation, most: int) -> str:
    lines = [f"  {text}" for text in explanation.assumed[:most]]
    lines += _left_out(len(explanation.assumed), most, "assumptions")
    return section("Assumed", lines, "nothing is known of these before the run; arguments (--arg) may tell")


def section(title: str, lines: Sequence[str], notes: str) -> str:
    """A heading, its explanation, and lines."""
    wrapped = textwrap.wrap(notes, WIDTH - 2, initial_indent="  ", subsequent_indent="  ")
    return "\n".join([title, *wrapped, "", *lines])


def _left_out(count: int, most: int, what: str) -> list[str]:
    return [f"  … and {count - most} more {what} (--all shows them)"] if count > most else []


def _or_run(value: int | None) -> str:
    return "run" if value is None else str(value)


def common_path(sites: Iterable[str]) -> str:
    """The file that most sites are in."""
    counts: dict[str, int] = {}
    for site in sites:
        path = site.rsplit(":", 2)[0]
        counts[path] = counts.get(path, 0) + 1
    return max(counts, key=lambda path: counts[path]) if counts else ""


def short_site(site: str, path: str) -> str:
    """`line:column` in `path`, the whole site elsewhere."""
    return site[len(path) + 1 :] if path and site.startswith(path + ":") else site


def interval(bounds: Interval) -> str:
    """`12`, `1–256`, `≥ 12`."""
    if bounds.high is None:
        return f"≥{bounds.low}"
    return str(bounds.low) if bounds.low == bounds.high else f"{bounds.low}–{bounds.high}"


def number(value: float) -> str:
    """A count, with one digit where it is a mean and small."""
    return f"{value:.0f}" if value >= 100 else str(tidy(round(value, 1)))


def seconds(value: float) -> str:
    """A time with three digits: `1.42 s`, `83 ms`."""
    if value >= 0.9995 or value == 0:  # what is rounded to three digits must not become 1e+03
        return f"{value:.3g} s" if value < 999.5 else f"{value:.0f} s"
    return f"{value * 1e3:.3g} ms" if value >= 0.9995e-3 else f"{value * 1e6:.3g} µs"


def percent(before: float, now: float) -> str:
    """How much less `now` is."""
    return "–" if before <= 0 or now == before else f"{100 * (before - now) / before:.0f} %"


def ratio(measured: float, predicted: float) -> str:
    """`measured / predicted`."""
    return "–" if predicted <= 0 else f"{measured / predicted:.2f}"


def plural(count: int, noun: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
