"""What a program is going to hold and to take: KV tokens at the peak, steps, seconds.

Every output is taken to use its budget (`osl`, else `max_tokens`). Loops take the turns and texts have the lengths
that are known of them: the mean, but where one execution decides the peak, the most. Time is counted in engine
steps: a call takes one for each token that it decodes. Each region is summed up once, inner regions first, and its
summary stands for it in the region around it; so the work is that of sorting the operations of each region.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..ir.core import Op, Region, Value
from ..ir.types import holds_context
from .cost_model import CostModel
from .effects import GENERATES
from .expected_lengths import ExpectedLengths
from .planner import Knowledge, Order
from .regions import body_of


@dataclass(frozen=True)
class Forecast:
    """Expectations of one run. `unknown`: operations of which a number or size is not known and was left out."""

    peak_kv_tokens: int
    makespan_s: float
    calls: float
    prompt_tokens: float
    generated_tokens: float
    unknown: int
    filled_tokens: int = 0


@dataclass
class _Summary:
    """One execution of a region or operation, or many.

    `steps`: engine steps from its begin to its end; `prefill`, `decoded`: tokens computed; `read`: KV tokens read by
    decoded tokens; `peak`: KV tokens held at most, of those that it makes; `kept`: of these, the ones in its results.
    """

    calls: float = 0.0
    steps: float = 0.0
    prompt: float = 0.0
    prefill: float = 0.0
    decoded: float = 0.0
    read: float = 0.0
    peak: float = 0.0
    kept: float = 0.0

    def add(self, other: _Summary, times: float = 1.0) -> None:
        """Add what is summed; steps, peak and kept tokens depend on the order."""
        self.calls += times * other.calls
        self.prompt += times * other.prompt
        self.prefill += times * other.prefill
        self.decoded += times * other.decoded
        self.read += times * other.read


def forecast(program: Op, order: Order, knowledge: Knowledge, model: CostModel) -> Forecast:
    """What one run of `program` (engine level) is going to take with what is known now."""
    mean = _Work(order, knowledge, model)
    mean.solve(program)
    longest = _Work(order, knowledge, model, mean.summaries)
    longest.solve(program)
    region = program.regions[0]
    total, peak = mean.summary(region), longest.summary(region).peak
    seconds = model.seconds(total.steps, total.prefill, total.decoded, total.read)
    return Forecast(math.ceil(peak), seconds, total.calls, total.prompt, total.decoded, len(mean.unknown),
                    round(total.prefill))


class _Work(ExpectedLengths):
    """The summaries of all regions. With `typical`, those by mean lengths, texts are as long as the longest."""

    def __init__(self, order: Order, knowledge: Knowledge, model: CostModel,
                 typical: dict[Region, _Summary] | None = None) -> None:
        super().__init__(order, knowledge, longest=typical is not None)
        self.typical = typical
        self.model = model
        self.summaries: dict[Region, _Summary] = {}

    def solve(self, program: Op) -> None:
        """Fill in everything."""
        self.measure(program)
        for region in self.order.regions():
            self.summaries[region] = self.region(region)

    def summary(self, region: Region) -> _Summary:
        """The summary of a region; nothing where it touches no engine."""
        return self.summaries.get(region) or _Summary()

    def region(self, region: Region) -> _Summary:
        """One execution of a region: every operation begins when the last of what it uses is there."""
        total = _Summary()
        items: dict[Op, _Summary] = {}
        times: dict[Op, tuple[float, float]] = {}
        ready: dict[Value, float] = {}
        for op in region.ops:
            item = items[op] = self._operation(op)
            if item.calls or item.prefill:
                total.add(item)
            begin = 0.0
            for value in self.order.uses(op):
                if value in ready and ready[value] > begin:
                    begin = ready[value]
            end = begin + item.steps
            times[op] = begin, end
            total.steps = max(total.steps, end)
            if end:
                ready.update(dict.fromkeys(op.results, end))
        total.steps = max(total.steps, total.decoded / self.model.max_batch)
        first, last = self._lifetimes(region, items, times)
        changes: list[tuple[float, float]] = []
        for op, item in items.items():
            if op.name != "engine.fill" and not item.calls and not item.kept:
                continue
            (begin, end), kept = times[op], item.kept
            holder = next((result for result in op.results if result in last), None)
            if op.name == "engine.fill" and holder is not None:
                kept, end = self.tokens[op], first[holder]
                total.prefill += kept
            changes += [(begin, item.peak), (end, -item.peak)]
            if kept and holder is not None:
                changes += [(end, kept), (last[holder], -kept)]
                total.kept += kept if last[holder] == math.inf else 0.0
        total.peak = max(_most(changes), total.kept)
        return total

    def _lifetimes(self, region: Region, items: dict[Op, _Summary],
                   times: dict[Op, tuple[float, float]]) -> tuple[dict[Value, float], dict[Value, float]]:
        """When the tokens of each context of a region are needed first and last; infinity is after its end."""
        first: dict[Value, float] = {}
        last: dict[Value, float] = {}
        for op in reversed(region.ops):
            begin, end = math.inf, -math.inf
            if op is region.terminator:
                end = math.inf
            elif items[op].calls or items[op].kept:
                begin, end = times[op]
            for result in op.results:
                begin = min(begin, first.get(result, math.inf))
                end = max(end, last.get(result, -math.inf))
            if end == -math.inf:
                continue
            for value in self.order.uses(op):
                if holds_context(value.type):
                    first[value] = min(first.get(value, math.inf), begin)
                    last[value] = max(last.get(value, -math.inf), end)
        return first, last

    def _operation(self, op: Op) -> _Summary:
        if op.name in GENERATES:
            samples, tokens, prompt = self.samples(op), self.tokens[op], self.parent_length(op)
            decoded = samples * tokens
            # The last token of an output has no KV until something continues it.
            return _Summary(samples, tokens, samples * prompt, 0.0, decoded, decoded * (prompt + tokens / 2),
                            samples * (tokens - 1), tokens if samples == 1 else 0.0)
        match op.name:
            case "flow.for":
                return self._parallel(op, self.trips(op))
            case "flow.fold" | "flow.loop":
                return self._serial(self.summary(op.regions[body_of(op)]), self.trips(op))
            case "flow.if" | "flow.try":
                return self._branches(op)
            case _:
                return _Summary()

    def _parallel(self, op: Op, count: float) -> _Summary:
        body = self.summary(op.regions[0])
        typical = body if self.typical is None else self.typical.get(op.regions[0], body)
        total = _Summary(steps=max(body.steps, count * body.decoded / self.model.max_batch), kept=count * body.kept)
        total.add(body, count)
        together = min(count, self.model.max_batch)
        if count:
            total.peak = body.peak + (together - 1) * typical.peak + (count - together) * typical.kept
        return total

    def _serial(self, body: _Summary, count: float) -> _Summary:
        total = _Summary(steps=count * body.steps, kept=count * body.kept)
        total.add(body, count)
        growth = body.kept * count * (count - 1) / 2
        total.prompt += body.calls * growth
        total.read += body.decoded * growth
        total.peak = body.peak + max(count - 1, 0.0) * body.kept if count else 0.0
        return total

    def _branches(self, op: Op) -> _Summary:
        total = _Summary()
        for number, region in enumerate(op.regions):
            body, share = self.summary(region), self.knowledge.share(op, number)
            if share is None:
                if body.calls:
                    self.unknown.add(op)
                share = 0.0
            total.add(body, share)
            total.steps += share * body.steps
            if share:
                total.peak, total.kept = max(total.peak, body.peak), max(total.kept, body.kept)
        return total


def _most(changes: list[tuple[float, float]]) -> float:
    """The largest sum of (time, change) pairs at any time before the end; changes of one time count together."""
    held = most = 0.0
    changes.sort()
    for number, (time, change) in enumerate(changes):
        held += change
        if time < math.inf and (number + 1 == len(changes) or changes[number + 1][0] > time):
            most = max(most, held)
    return most
