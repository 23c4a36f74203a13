"""The results as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from comparison import Cell, Outputs, Run, identical
from peers import OURS
from workloads import Shape

DISTURBED = 0.1
"""Part of the cores that others may use before a number is marked."""


@dataclass(frozen=True)
class Results:
    """`cells[workload][engine]`; `titles`: engines by name, in the order of the rows; `floors`: seconds; `missing`:
    engines that did not take part, and why; `reference`: outputs to compare tokens with, by workload.
    """

    shapes: Sequence[Shape]
    cells: Mapping[str, Mapping[str, Cell]]
    titles: Mapping[str, str]
    floors: Mapping[str, float]
    missing: Mapping[str, str]
    reference: Mapping[str, Outputs] | None = None


def median(cell: Cell) -> float | None:
    """Seconds; None where there is no valid number."""
    return statistics.median(run.seconds for run in cell.measured) if cell.measured and not cell.error else None


def best_peer(cells: Mapping[str, Cell]) -> tuple[str, float] | None:
    """The fastest engine that is not ours, and its seconds."""
    found = {name: value for name, cell in cells.items() if name != OURS and (value := median(cell)) is not None}
    return min(found.items(), key=lambda item: item[1]) if found else None


def summary(results: Results) -> list[str]:
    """Seconds and the part of the limit reached, a row for each engine; then the best peer's seconds over ours."""
    names = [shape.name for shape in results.shapes]
    lines = [f"| median seconds (part of the limit) | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|",
             f"| the machine's limit | {' | '.join(f'{results.floors[name]:.3f}' for name in names)} |"]
    for engine, title in results.titles.items():
        texts = [text_of(results.cells[name][engine], results.floors[name]) for name in names]
        lines.append(f"| {title} | {' | '.join(texts)} |")
    for engine, reason in results.missing.items():
        lines.append(f"| {engine} | {' | '.join([reason] + [''] * (len(names) - 1))} |")
    ratios = []
    for name in names:
        ours, best = results.cells[name].get(OURS), best_peer(results.cells[name])
        own = median(ours) if ours else None
        ratios.append(f"**{best[1] / own:.2f}** ({best[0]})" if own and best else "–")
    return [*lines, f"| **best peer / {OURS}** | {' | '.join(ratios)} |"]


def text_of(cell: Cell, floor: float) -> str:
    """One number of the summary."""
    value = median(cell)
    if cell.error:
        return f"error: {cell.error}".replace("|", "/")
    if value is None:
        return f"more than {cell.too_slow:.0f}" if cell.too_slow else "–"
    disturbed = "*" if any(run.others > DISTURBED for run in cell.measured) else ""
    return f"{value:.3f}{disturbed} ({floor / value:.0%})"


def details(results: Results) -> list[str]:
    """A row for each engine and workload."""
    compared = " identical to transformers |" if results.reference is not None else ""
    lines = ["| | engine | driven | n | median s | lowest … highest | tokens/s | cpu/wall | others "
             f"| × {OURS} | of the limit |{compared}", "|---" * (11 + (results.reference is not None)) + "|"]
    for shape in results.shapes:
        cells = results.cells[shape.name]
        ours = median(cells[OURS]) if OURS in cells else None
        for engine in results.titles:
            cell, value = cells[engine], median(cells[engine])
            if value is None:
                continue
            times = [run.seconds for run in cell.measured]
            fields = [
                shape.name, engine, driven(cell), str(len(times)), f"{value:.3f}",
                f"{min(times):.3f} … {max(times):.3f}", f"{shape.output_count / value:.0f}",
                f"{middle(cell.measured, lambda run: run.cpu_seconds / run.seconds):.2f}",
                f"{max(run.others for run in cell.measured):.0%}",
                f"{value / ours:.2f}" if ours else "–", f"{results.floors[shape.name] / value:.0%}"]
            if results.reference is not None:
                fields.append(same(cell, results.reference.get(shape.name)))
            lines.append(f"| {' | '.join(fields)} |")
    return lines


def middle(runs: Sequence[Run], figure: Callable[[Run], float]) -> float:
    return statistics.median(map(figure, runs))


def driven(cell: Cell) -> str:
    """The way that was chosen, and what the others took."""
    chosen = cell.measured[0].variant
    repeated = {name: [run.seconds for run in cell.runs if run.variant == name] for name in cell.trials}
    others = [f"{name} {statistics.median(repeated[name] or [run.seconds]):.2f}"
              for name, run in cell.trials.items() if name != chosen]
    return f"{chosen} ({', '.join(others)})" if others else chosen


def same(cell: Cell, reference: Outputs | None) -> str:
    """How many sequences of the first trial are the reference's."""
    if reference is None or cell.outputs is None:
        return "–"
    return "{} of {}".format(*identical(cell.outputs, reference))


def notes(results: Results) -> list[str]:
    """What the workloads are, what the marks mean, and what waiting engines used."""
    runs = [run for cells in results.cells.values() for cell in cells.values() for run in cell.measured]
    lines = [f"* {shape.name}: {shape.title}" for shape in results.shapes]
    if any(run.others > DISTURBED for run in runs):
        lines.append(f"* \\*: other processes used more than {DISTURBED:.0%} of the cores during a run; not to be "
                     "quoted.")
    if runs:
        lines.append(f"* Engines that waited for their turn used at most {max(run.idle for run in runs):.1%} of the "
                     "cores.")
    return lines
