"""What an engine has before it, as far as the placement of further calls depends on it. Plain data."""

from __future__ import annotations

from collections.abc import Hashable, MutableMapping
from dataclasses import dataclass, field, replace

from .cost_model import CostModel


@dataclass(frozen=True)
class WaitingCall:
    """A generate without an engine.

    `prompt`: its runs of tokens from the begin on, each a key and a number of tokens. Equal keys stand for equal
    tokens after equal tokens, so calls share what their prompts have in common at the front. `output_tokens`: what
    it is expected to decode. `urgent`: whether its own latency counts, not only the end of all that were given
    together (objectives `latency`, `ttft` and `deadline`).
    """

    prompt: tuple[tuple[Hashable, int], ...]
    output_tokens: float
    urgent: bool = False

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt."""
        return sum(tokens for _, tokens in self.prompt)


@dataclass(frozen=True)
class Demand:
    """What a call asks of one engine beyond what is done there for others.

    `prefill_tokens`, `prefill_s`: prompt tokens to compute, and their seconds, those of the call itself included;
    `decode_s`: seconds of its row, steps apart; `slots`: KV tokens.
    """

    prefill_tokens: float
    prefill_s: float
    decode_s: float
    output_tokens: float
    slots: float
    urgent: bool


NOTHING = Demand(0.0, 0.0, 0.0, 0.0, 0.0, False)


@dataclass
class EngineLoad:
    """An engine with the calls that it has been given and that have not ended. `add` gives it one more.

    `runs`: the runs of prompts whose KV is there, or will be, by key, each with the number of steps for which calls
    read it (0 where it is cached only). `held_tokens`: KV tokens of its calls when all are done. `prefill_tokens`,
    `prefill_s`: of prompts still to compute; `decode_s`: seconds of rows still to decode, steps apart; `steps`: the
    most tokens that one call still decodes; `row_steps`: of all calls together; `slot_steps`: the same, each times
    the slots of its call. The `urgent_` ones are the part of urgent calls, which go first.
    """

    costs: CostModel
    kv_slots: int | None = None
    runs: MutableMapping[Hashable, float] = field(default_factory=dict)
    calls: int = 0
    held_tokens: float = 0.0
    prefill_tokens: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    steps: float = 0.0
    row_steps: float = 0.0
    slot_steps: float = 0.0
    urgent_calls: int = 0
    urgent_prefill_s: float = 0.0
    urgent_steps: float = 0.0

    def copy(self) -> EngineLoad:
        """The same load, to be changed apart from this one, which must not change meanwhile."""
        return replace(self, runs=_Layer(self.runs))

    def demand(self, call: WaitingCall) -> Demand:
        """What `call` would ask of this engine: its prompt costs nothing where it is resident.

        A run that decoding rows share is read once in each step.
        """
        costs, output = self.costs, call.output_tokens
        position, missing, prefill, read = 0, 0, costs.call, 0.0
        for key, tokens in call.prompt:
            steps = self.runs.get(key)
            if steps is None:
                missing += tokens
                prefill += tokens * (costs.prefill_token + costs.attention * (position + tokens / 2))
                steps = 0.0
            if steps < output:
                read += tokens * (output - steps)
            position += tokens
        decode = output * costs.decode_row + costs.kv_token * (read + output * output / 2)
        return Demand(missing, prefill, decode, output, missing + output, call.urgent)

    def has_room(self, demand: Demand) -> bool:
        """Whether the KV of a further call fits beside what the engine has promised already."""
        return self.kv_slots is None or self.held_tokens + demand.slots <= self.kv_slots

    def finish_s(self) -> float:
        """Seconds until all of its calls have ended."""
        steps = max(self.steps, self.row_steps / self.costs.max_batch)
        if self.kv_slots:
            steps = max(steps, self.slot_steps / self.kv_slots)
        steps += self.prefill_tokens / self.costs.max_step_tokens
        return self.prefill_s + self.decode_s + self.costs.step * steps

    def end_s(self, before: EngineLoad, longest: float, more: Demand = NOTHING) -> float:
        """Seconds until the calls given since `before`, and `more`, have ended; `longest`: the most tokens of one.

        Of what the calls before these still decode, as much comes first as they decode in so many steps.
        """
        costs, earlier = self.costs, before.row_steps
        part = min(1.0, longest * before.calls / earlier) if earlier else 0.0
        rows = part * earlier + self.row_steps - earlier + more.output_tokens
        steps = max(longest, rows / costs.max_batch)
        if self.kv_slots:
            slots = part * before.slot_steps + self.slot_steps - before.slot_steps + more.output_tokens * more.slots
            steps = max(steps, slots / self.kv_slots)
        steps += (self.prefill_tokens + more.prefill_tokens) / costs.max_step_tokens
        decode = part * before.decode_s + self.decode_s - before.decode_s + more.decode_s
        return self.prefill_s + more.prefill_s + decode + costs.step * steps

    def delay_s(self, before: EngineLoad, longest: float, more: Demand = NOTHING) -> float:
        """Seconds by which the calls of `before` end later, for those given since and `more`."""
        part = min(1.0, before.steps / longest) if longest else 1.0
        prefill = self.prefill_s - before.prefill_s + more.prefill_s
        chunks = (self.prefill_tokens - before.prefill_tokens + more.prefill_tokens) / self.costs.max_step_tokens
        return prefill + self.costs.step * chunks + part * (self.decode_s - before.decode_s + more.decode_s)

    def urgent_end_s(self, longest: float, more: Demand = NOTHING) -> float:
        """Seconds until urgent calls with `longest` tokens to decode have ended, `more` added.

        They go first, but what the others compute makes their steps longer.
        """
        costs = self.costs
        urgent, prefill = self.urgent_calls, self.urgent_prefill_s
        if more.urgent:
            urgent, prefill = urgent + 1, prefill + more.prefill_s
        row_steps = self.row_steps + more.output_tokens
        row_s = (self.decode_s + more.decode_s) / row_steps if row_steps else 0.0
        rows = min(self.calls + (1 if more is not NOTHING else 0), costs.max_batch)
        turns = max(1.0, urgent / costs.max_batch)
        chunk_s = costs.max_step_tokens * costs.prefill_token
        others = min(self.prefill_s + more.prefill_s - prefill, longest * chunk_s)
        return prefill + others + longest * turns * (costs.step + rows * row_s)

    def add(self, call: WaitingCall) -> Demand:
        """Give the engine `call`: its prompt is going to be resident. Returns what `remove` takes."""
        demand = self.demand(call)
        for key, _ in call.prompt:
            self.runs[key] = max(self.runs.get(key, 0.0), call.output_tokens)
        self._change(demand, 1)
        self.steps = max(self.steps, demand.output_tokens)
        if demand.urgent:
            self.urgent_steps = max(self.urgent_steps, demand.output_tokens)
        return demand

    def remove(self, demand: Demand) -> None:
        """A call has ended. `runs` is its owner's to keep: what is read no more, and what is dropped."""
        self._change(demand, -1)
        self.steps = min(self.steps, self.row_steps)  # which call was the longest is not kept
        if not self.urgent_calls:
            self.urgent_prefill_s = self.urgent_steps = 0.0
        if not self.calls:  # what additions and subtractions leave behind
            self.held_tokens = self.prefill_tokens = self.prefill_s = self.decode_s = 0.0
            self.steps = self.row_steps = self.slot_steps = 0.0

    def _change(self, demand: Demand, sign: int) -> None:
        self.calls += sign
        self.held_tokens += sign * demand.slots
        self.prefill_tokens += sign * demand.prefill_tokens
        self.prefill_s += sign * demand.prefill_s
        self.decode_s += sign * demand.decode_s
        self.row_steps += sign * demand.output_tokens
        self.slot_steps += sign * demand.output_tokens * demand.slots
        if demand.urgent:
            self.urgent_calls += sign
            self.urgent_prefill_s += sign * demand.prefill_s


class _Layer(dict[Hashable, float]):
    """A mapping over another one, which it leaves as it is. Only `get` and setting are layered."""

    __slots__ = ("below",)

    def __init__(self, below: MutableMapping[Hashable, float]) -> None:
        super().__init__()
        self.below = below

    def get(self, key: Hashable, default: float | None = None) -> float | None:  # type: ignore[override]
        """The value in the nearest layer."""
        found = dict.get(self, key)
        return self.below.get(key, default) if found is None else found
