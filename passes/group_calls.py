"""The calls of task groups one by one, as placement wants them: what their prompts hold, and what these share.

An element of a map is a call of its own. A context is named by the operation that makes it and by the elements of the
maps around that operation, so calls share what is made outside of the maps, and what a call wrote is known again in
the prompts that continue it. A context from anywhere else (a list, a turn of a loop) is taken to be new.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import product

from ..ir.core import Op, Region, Symbol, Value, walk
from .effects import GENERATES
from .engine_load import WaitingCall
from .expected_lengths import ExpectedLengths
from .objectives import Urgency
from .planner import Knowledge, Order

Run = tuple[Hashable, int]


@dataclass(frozen=True)
class GroupCall:
    """One call of a group. `makes`: the run of tokens that its context has beside its prompt."""

    waiting: WaitingCall
    makes: Run


class GroupCalls:
    """The calls of every group of a program whose size is known."""

    def __init__(self, program: Op, knowledge: Knowledge) -> None:
        order = Order(program, knowledge)
        self._lengths = ExpectedLengths(order, knowledge)
        self._lengths.measure(program)
        self._maker: dict[Value, Op] = {}
        self._maps: dict[Op, tuple[Op, ...]] = {}
        self._turns: dict[Op, int | None] = {}
        self.members: dict[str, list[Op]] = {}
        """The generates of each group, in textual order."""
        around: dict[Region, tuple[Op, ...]] = {region: () for region in program.regions}
        for op in walk([program]):
            for region in op.regions:
                maps = self._maps.get(op, ())
                around[region] = (*maps, op) if op.name == "flow.for" else maps
                for inner in region.ops:
                    self._maps[inner] = around[region]
            if op.name == "flow.for":
                turns, most = knowledge.trips(op), knowledge.most_trips(op)
                self._turns[op] = None if turns is None or turns != most else round(turns)
            for result in op.results:
                self._maker[result] = op
            group = op.attributes.get("group")
            if op.name in GENERATES and isinstance(group, Symbol):
                self.members.setdefault(group.name, []).append(op)

    def count(self, group: str) -> int | None:
        """How many calls the group has; None where only a run decides."""
        total = 0
        for op in self.members.get(group, ()):
            number = round(self._lengths.samples(op))
            for loop in self._maps[op]:
                turns = self._turns[loop]
                if turns is None:
                    return None
                number *= turns
            total += number
        return total

    def calls(self, group: str) -> Iterator[GroupCall]:
        """The calls of a group whose `count` is known."""
        for op in self.members.get(group, ()):
            maps = self._maps[op]
            runs = self._runs(op)
            output = self._lengths.tokens.get(op, 0.0)
            urgent = Urgency.of(op.attributes.get("objective")) is not Urgency.THROUGHPUT
            samples = round(self._lengths.samples(op))
            for turns in product(*(range(self._turns[loop] or 0) for loop in maps)):
                prompt = tuple(((maker, turns[:depth]), tokens) for maker, depth, tokens in runs)
                for sample in range(samples):
                    made = (op, turns) if samples == 1 else (op, turns, sample)
                    yield GroupCall(WaitingCall(prompt, output, urgent), (made, round(output)))

    def _runs(self, op: Op) -> list[tuple[Hashable, int, int]]:
        """What the prompt of a generate is made of, from its begin on: maker, maps around that, tokens."""
        runs: list[tuple[Hashable, int, int]] = []
        context = op.args[0]
        while isinstance(context, Value):
            maker = self._maker.get(context)
            if maker is None or maker.name not in ("engine.fill", *GENERATES):
                runs.append(((context, op), len(self._maps[op]), round(self._lengths.length.get(context, 0.0))))
                break
            continues = maker.name == "engine.fill" or context is maker.results[1]
            if continues and self._lengths.samples(maker) == 1:
                runs.append((maker, len(self._maps[maker]), round(self._lengths.tokens.get(maker, 0.0))))
            context = maker.args[0]
        return [run for run in reversed(runs) if run[2]]
