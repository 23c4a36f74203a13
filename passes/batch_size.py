"""How many calls of a group to run together, and how many prompt tokens to compute in a step: the shortest makespan.

The makespan comes from a small simulation of engine steps under the cost model: calls begin in order as soon as the
batch has room, prompts are computed in chunks beside the rows that decode, and a call ends with its last token. With
few calls every batch that fits is tried; with many, those that divide the calls evenly into few waves, as others take
as many waves with less in each. The token budget is a power of two, or the engine's own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from heapq import heappop, heappush

from .cost_model import CostModel
from .step_latency import spare_seconds

FEW = 32
"""Calls up to which every batch is tried."""
WAVES = 6
"""Batches of the next so many numbers of waves are tried for larger groups."""
PAGE = 16
"""KV slots that come together: a call holds up to one page more than it needs."""
LEAST_BUDGET = 16


@dataclass(frozen=True)
class GroupShape:
    """The calls of a group: how many, and for each its own prompt tokens, those that all share, and its output's."""

    calls: int
    prompt: int
    shared: int
    output: int


@dataclass(frozen=True)
class Limits:
    """What a group has of its engine. `kv_slots`: None where not known; `urgent_rows`, `urgent_read`: rows of calls
    beside it whose latency counts, and the KV tokens that they read.
    """

    costs: CostModel
    kv_slots: int | None = None
    urgent_rows: int = 0
    urgent_read: int = 0


@dataclass(frozen=True)
class BatchPlan:
    """`batch` calls together, at most `step_tokens` prompt tokens in a step, done after `seconds`."""

    batch: int
    step_tokens: int
    seconds: float


@lru_cache(maxsize=4096)
def choose_batch(shape: GroupShape, limits: Limits) -> BatchPlan:
    """The batch and token budget with the shortest makespan; of equal ones the largest batch, then budget.

    The costs are those of an engine that is shared: each step is taken to have several tokens.
    """
    costs = shared_costs(limits.costs)
    best: BatchPlan | None = None
    for batch in candidates(shape, most_rows(shape, limits)):
        for budget in budgets(costs, most_step_tokens(shape, limits, batch)):
            seconds = makespan(shape, batch, budget, costs)
            if best is None or (seconds, -batch, -budget) < (best.seconds * (1 - 1e-9), -best.batch, -best.step_tokens):
                best = BatchPlan(batch, budget, seconds)
    assert best is not None
    return best


def shared_costs(costs: CostModel) -> CostModel:
    """`costs` where each step has several tokens."""
    return replace(costs, step=costs.step + costs.batch, batch=0.0)


def most_rows(shape: GroupShape, limits: Limits) -> int:
    """The largest batch that the engine takes, its KV memory holds and calls beside it can stand; at least one."""
    costs = limits.costs
    most = min(shape.calls, costs.max_batch)
    if limits.kv_slots is not None:
        held = _pages(shape.prompt + shape.output) + PAGE
        most = min(most, max(0, limits.kv_slots - _pages(shape.shared)) // held)
    if limits.urgent_rows:
        spare, token, row = _beside_urgent(shape, limits)
        # One of the batch may be computing its prompt while the others decode.
        left = spare - LEAST_BUDGET * token
        most = min(most, 1 + int(min(max(left, 0.0) / row, 1e9)) if row else most)
    return max(1, most)


def most_step_tokens(shape: GroupShape, limits: Limits, batch: int) -> int:
    """The most prompt tokens of a step in which the rest of the batch decodes."""
    costs = limits.costs
    if not limits.urgent_rows:
        return costs.max_step_tokens
    spare, token, row = _beside_urgent(shape, limits)
    left = spare - (batch - 1) * row
    return min(costs.max_step_tokens, max(LEAST_BUDGET, int(left / token) if token else costs.max_step_tokens))


def _beside_urgent(shape: GroupShape, limits: Limits) -> tuple[float, float, float]:
    """Seconds that a step beside urgent calls has to spare, and what a prompt token and a row of the group take."""
    costs = limits.costs
    token = costs.prefill_token + costs.attention * (shape.shared + shape.prompt)
    row = costs.decode_row + costs.kv_token * (shape.shared + shape.prompt + shape.output / 2)
    return spare_seconds(costs, limits.urgent_rows, limits.urgent_read) - costs.batch, token, row


def candidates(shape: GroupShape, most: int) -> list[int]:
    """The batches to try, up to `most`, the largest first."""
    if shape.calls <= FEW:
        return list(range(most, 0, -1))
    waves = -(-shape.calls // most)
    return sorted({most, *(-(-shape.calls // w) for w in range(waves, waves + WAVES))}, reverse=True)


def budgets(costs: CostModel, most: int) -> Iterator[int]:
    """The token budgets to try, up to `most`, the largest first."""
    yield most
    budget = 1 << ((most - 1).bit_length() - 1) if most > 1 else 0
    while budget >= LEAST_BUDGET:
        yield budget
        budget //= 2


def makespan(shape: GroupShape, batch: int, step_tokens: int, costs: CostModel) -> float:
    """Seconds until all calls have ended. Of many equal waves only some are simulated."""
    enough = 8 * batch + shape.calls % batch
    if shape.calls <= enough:
        return _simulate(shape, batch, step_tokens, costs)
    longer = _simulate(replace(shape, calls=enough), batch, step_tokens, costs)
    wave = longer - _simulate(replace(shape, calls=enough - batch), batch, step_tokens, costs)
    return longer + wave * ((shape.calls - enough) // batch)


def _simulate(shape: GroupShape, batch: int, step_tokens: int, costs: CostModel) -> float:
    """Steps of the group alone, those between two events at once."""
    waiting, step = shape.calls, 0
    prompts: deque[int] = deque()  # tokens that are left of each
    ends: list[int] = []  # steps after which rows have their last token
    held = 0  # KV tokens of rows
    seconds = 0.0
    while waiting or prompts or ends:
        while waiting and len(prompts) + len(ends) < batch:
            prompts.append(max(shape.prompt, 1))
            waiting -= 1
        rows = len(ends)
        read = held + shape.shared * (rows > 0)
        if not prompts:
            count = ends[0] - step
            seconds += costs.seconds(count, 0, count * rows, count * read + rows * count * (count + 1) / 2)
            held, step = held + count * rows, step + count
        else:
            left, computed, attended, begun = max(1, step_tokens - rows), 0, 0.0, 0
            while prompts and left:
                chunk = min(prompts[0], left)
                before = shape.shared + max(shape.prompt, 1) - prompts[0]
                attended += chunk * before + chunk * (chunk + 1) / 2
                left, computed, prompts[0] = left - chunk, computed + chunk, prompts[0] - chunk
                if not prompts[0]:
                    prompts.popleft()
                    begun += 1
            seconds += costs.step_seconds(computed, rows, read + rows, attended)
            held, step = held + rows + begun * max(shape.prompt, 1), step + 1
            for _ in range(begun):
                heappush(ends, step + shape.output - 1)
        while ends and ends[0] <= step:
            heappop(ends)
            held -= max(shape.prompt, 1) + shape.output - 1
    return seconds + costs.call * shape.calls


def _pages(tokens: int) -> int:
    return -(-tokens // PAGE) * PAGE
