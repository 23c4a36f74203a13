"""`plan-prefill`: which prompts are filled before they are needed, and whose KV is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from ..ir.core import Module, Op, TokenList, Value, walk
from ..ir.definition import Level
from ..ir.target import Target
from .base import Finding, Pass, Report
from .next_uses import NextUses
from .plan import known_plans
from .prefill_window import EarlyFill, windows
from .streamed_values import StreamedValues
from .waits import Waits

ATTRIBUTES = ("early", "uses", "stream")


@dataclass(frozen=True)
class PlanPrefill(Pass):
    """Each `engine.fill` is told when its context is used, and whether to compute it before that.

    `uses` counts, in generates one after another from the beginning of the region, when the context is used. Where KV
    is short, the context that is used latest is dropped first and computed again later. `early = n` marks prefixes
    that are known while their call still waits for something else, a producer or a host: from `n` generates before
    the use on, spare tokens of a step compute them, the soonest used first. `n` is as large as the KV memory of the
    target leaves room for beside the peak that is predicted. `stream = k` marks prompts whose piece `k` is the output
    of one generate: they take its text over in chunks while it is being generated. Only what a call will certainly
    use is computed early, so nothing is computed in vain but tokens of a streamed text that its end changed.

    ```before
    sem.program(@Main) |%a: text| {
      %0 = engine.fill(engine.root, "Answer briefly: ", %a) : ctx
      %x, %1 = engine.generate(%0) {output = "x"} : text, ctx
      %2 = engine.fill(engine.root, tokens<20 : "You are a strict one" : [89, 111, 117, 32, 97, 114, 101, 32, 97, 32,
        115, 116, 114, 105, 99, 116, 32, 111, 110, 101]>) : ctx
      %3 = engine.fill(%2, %x, ".") : ctx
      %y, %4 = engine.generate(%3) {output = "y"} : text, ctx
      sem.return(%y) {names = ["y"]}
    }
    ```

    ```after
    sem.program(@Main) |%a: text| {
      %0 = engine.fill(engine.root, "Answer briefly: ", %a) : ctx
      %x, %1 = engine.generate(%0) {output = "x"} : text, ctx
      %2 = engine.fill(engine.root, tokens<20 : "You are a strict one" : [89, 111, 117, 32, 97, 114, 101, 32, 97, 32,
        115, 116, 114, 105, 99, 116, 32, 111, 110, 101]>) {early = 2, uses = [1]} : ctx
      %3 = engine.fill(%2, %x, ".") {stream = 0} : ctx
      %y, %4 = engine.generate(%3) {output = "y"} : text, ctx
      sem.return(%y) {names = ["y"]}
    }
    ```
    """

    name: ClassVar[str] = "plan-prefill"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.ENGINE})
    keeps: ClassVar[frozenset[Finding]] = frozenset({"lengths", "plans"})

    min_tokens: int = 8
    """Constant tokens below which a prefix is not worth filling early; one that holds values always is."""
    stream_tokens: int = 16
    """Longest output below which a text is not worth streaming into the prompt that uses it."""

    def run(self, module: Module, target: Target) -> Report:
        """Write the attributes of every fill anew."""
        fills = [op for op in walk(module.ops) if op.name == "engine.fill"]
        for op in fills:
            for name in ATTRIBUTES:
                op.attributes.pop(name, None)
        waits = Waits(module)
        planned = known_plans(module, target)
        orders = {} if planned is None else {p.program: p.order for p in planned.plans if not p.order.has_turns}
        uses = NextUses(module, waits, orders)
        late = [op for op in fills if _is_late(op, waits, uses)]
        candidates = [EarlyFill(op, constant_tokens(op), uses.steps(op)[0]) for op in late if self._pays(op)]
        early = {op: window for op, window in windows(module, target, uses, candidates).items() if window}
        for op, window in early.items():
            op.attributes["early"] = window
        for op in fills:
            if op in early or len(uses.steps(op)) > 1:
                op.attributes["uses"] = uses.steps(op)
        streamed = self._plan_streams(module, fills, waits)
        return Report(f"{len(early)} prompts filled early, {streamed} while their producers run",
                      {"early": len(early), "streamed": streamed, "early_tokens": sum(map(constant_tokens, early))})

    def _pays(self, op: Op) -> bool:
        return constant_tokens(op) >= self.min_tokens or any(isinstance(arg, Value) for arg in op.args[1:])

    def _plan_streams(self, module: Module, fills: Iterable[Op], waits: Waits) -> int:
        """Mark fills that wait longest for a text that is being generated."""
        streamed = StreamedValues(module)
        count = 0
        for op in fills:
            latest = waits.of(op)
            if not latest:
                continue
            for number, piece in enumerate(op.args[1:]):
                if isinstance(piece, Value) and waits[piece] == latest > 0:
                    if streamed[piece] >= self.stream_tokens:
                        op.attributes["stream"] = number
                        count += 1
                    break
        return count


def _is_late(fill: Op, waits: Waits, uses: NextUses) -> bool:
    """Whether the first use of a context waits for calls that the context does not wait for, and will come for sure."""
    first = uses.waits(fill)
    return first is not None and first > waits.of(fill) and bool(uses.steps(fill)) and uses.is_sure(fill)


def constant_tokens(fill: Op) -> int:
    """Tokens of the constant pieces of a fill; a text that has not been tokenized counts a quarter of its length."""
    return sum(len(arg.ids) if isinstance(arg, TokenList) else len(arg) // 4 if isinstance(arg, str) else 0
               for arg in fill.args[1:])
