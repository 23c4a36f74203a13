"""One engine of a group: its load as the placement policy sees it, and which tokens it is believed to have."""

from __future__ import annotations

from collections import OrderedDict

from ..passes.cost_model import CostModel
from ..passes.engine_load import Demand, EngineLoad, WaitingCall
from .engine import Engine

UNKNOWN_KV_SLOTS = 1 << 20
"""Tokens that an engine is believed to keep cached where it does not say how many it can."""


class Member:
    """An engine and what the group has given it. `keeps_freed`: whether its prefix cache keeps what was freed.

    What it keeps is a guess: least recently used tokens beyond its KV slots are taken to be gone.
    """

    def __init__(self, engine: Engine, number: int, costs: CostModel, *, keeps_freed: bool) -> None:
        slots = getattr(engine, "kv_slots", None)
        self.engine = engine
        self.number = number
        self.alive = True
        self.running = 0
        self.load = EngineLoad(costs, slots if isinstance(slots, int) else None)
        self._keeps_freed = keeps_freed
        self._capacity = self.load.kv_slots or UNKNOWN_KV_SLOTS
        self._held: dict[bytes, tuple[int, int]] = {}
        """Contexts and running calls with these tokens; the number of tokens."""
        self._cached: OrderedDict[bytes, int] = OrderedDict()
        self._cached_tokens = 0
        self._readers: dict[bytes, int] = {}

    def retain(self, key: bytes, tokens: int) -> None:
        """A context with the tokens `key` is there now."""
        self._cached_tokens -= self._cached.pop(key, 0)
        count, _ = self._held.get(key, (0, 0))
        self._held[key] = count + 1, tokens
        self.load.runs.setdefault(key, 0.0)

    def release(self, key: bytes) -> None:
        """A context with the tokens `key` is gone; they may stay cached."""
        count, tokens = self._held[key]
        if count > 1:
            self._held[key] = count - 1, tokens
            return
        del self._held[key]
        if not self._keeps_freed:
            self.load.runs.pop(key, None)
            return
        self._cached[key] = tokens
        self._cached_tokens += tokens
        while self._cached_tokens > self._capacity:
            oldest, size = self._cached.popitem(last=False)
            self._cached_tokens -= size
            self.load.runs.pop(oldest, None)

    def lose(self) -> None:
        """The engine has failed: nothing is there any more. Calls that it ran have still to `end`."""
        self.alive = False
        self._held.clear()
        self._cached.clear()
        self._cached_tokens = 0
        self.load.runs.clear()

    def begin(self, call: WaitingCall) -> Demand:
        """A call is sent to the engine. Returns what `end` takes."""
        self.running += 1
        for key, _ in call.prompt:
            assert isinstance(key, bytes)
            self._readers[key] = self._readers.get(key, 0) + 1
        return self.load.add(call)

    def end(self, call: WaitingCall, demand: Demand) -> None:
        """A call has ended."""
        self.running -= 1
        self.load.remove(demand)
        for key, _ in call.prompt:
            assert isinstance(key, bytes)
            count = self._readers.pop(key) - 1
            if count:
                self._readers[key] = count
            elif key in self._held or key in self._cached:
                self.load.runs[key] = 0.0
            else:
                self.load.runs.pop(key, None)
