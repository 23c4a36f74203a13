"""What `semc bench` prints: medians, spread and ratios of all sides."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..backend.workloads.measure import Measurement
    from ..backend.workloads.sides import Side
    from ..backend.workloads.workload import Workload
    from .bench_sites import BenchEngines

COUNTERS = ("prompt_tokens", "filled_tokens", "generated_tokens", "engine_steps", "peak_kv_tokens")


@dataclass
class Comparison:
    """The repeats of a workload, side by side."""

    workload: Workload
    site: BenchEngines
    round_trip: float
    sides: list[Side]
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Figures and counters of each repeat, by side and name."""
    equal_outputs: bool = True
    repeats: int = 0

    def add(self, workload: Workload, results: dict[Side, Measurement]) -> None:
        """Take over one repeat."""
        from ..backend.workloads.sides import REQUESTS, figures

        self.repeats += 1
        generated = results[REQUESTS].generated
        self.equal_outputs &= all(result.outputs == results[REQUESTS].outputs for result in results.values())
        for side, result in results.items():
            row = self.values.setdefault(side.name, {})
            for figure in figures(workload, result, generated):
                row.setdefault(figure.name, []).append(figure.value)
            for name in COUNTERS:
                row.setdefault(name, []).append(getattr(result, name))

    @property
    def figure_names(self) -> list[str]:
        """The figures of merit, in order."""
        return [name for name in self.values[self.sides[0].name] if name not in COUNTERS]

    def ratios(self, side: str, figure: str) -> list[float]:
        """How many times the compiled program's value a side needed, in each repeat."""
        ours = self.values[self.sides[0].name][figure]
        return [value / own for value, own in zip(self.values[side][figure], ours, strict=True)]

    def to_json(self) -> dict[str, Any]:
        """The object of `--json`."""
        from ..backend.workloads.published import PUBLISHED

        return {
            "workload": self.workload.name, "sizes": self.workload.note, "engine": self.site.describe(),
            "round_trip_s": self.round_trip, "repeats": self.repeats, "equal_outputs": self.equal_outputs,
            "sides": {
                side.name: {name: spread(values) for name, values in self.values[side.name].items()}
                | {"ratio": {name: spread(self.ratios(side.name, name)) for name in self.figure_names}}
                for side in self.sides
            },
            "published": list(PUBLISHED.get(self.workload.name, ())),
        }

    def text(self) -> str:
        """For people."""
        from ..backend.workloads.published import PUBLISHED

        lines = [f"{self.workload.name}: {self.workload.note}", f"engine: {self.site.describe()}",
                 f"round trip {self.round_trip:g} s, {self.repeats} repeat{'s' * (self.repeats != 1)}, "
                 f"outputs of all sides {'equal' if self.equal_outputs else 'DIFFERENT'}", ""]
        for figure in self.figure_names:
            lines.append(f"{figure:<24}{'median':>10}  {'lowest … highest':<20}{'ratio':>7}"
                         f"{'filled':>10}{'steps':>8}{'peak KV':>9}")
            lines += [self._row(side.name, figure) for side in self.sides]
            lines.append("")
        lines += [f"{side.name:<10}{side.what}" for side in self.sides]
        published = PUBLISHED.get(self.workload.name)
        if published:
            lines += ["", "Parrot's own numbers (OSDI'24), for context:", *(f"  {line}" for line in published)]
        return "\n".join(lines)

    def _row(self, side: str, figure: str) -> str:
        values = self.values[side]
        found = spread(values[figure])
        ratio = median(self.ratios(side, figure))
        between = f"{found['lowest']:.3f} … {found['highest']:.3f}"
        counters = [round(median(values[name])) for name in ("filled_tokens", "engine_steps", "peak_kv_tokens")]
        return (f"  {side:<22}{found['median']:>10.3f}  {between:<20}{ratio:>6.2f}×"
                f"{counters[0]:>10}{counters[1]:>8}{counters[2]:>9}")


def spread(values: list[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": median(values), "lowest": min(values), "highest": max(values)}
