"""`propagate-objectives`: from what is wanted of the outputs to what that asks of each call."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from ..ir.core import Module
from ..ir.definition import Level
from ..ir.target import Target
from .base import Finding, Pass, Report
from .plan import plans_of


@dataclass(frozen=True)
class PropagateObjectives(Pass):
    """Each call learns what it is for: its objective, its depth and its slack.

    The objective of a call is the strictest one of all outputs that wait for it, wherever they stand in the `return`:
    `ttft`, then `latency`, then `deadline(seconds)` with fewer seconds before more, then `throughput`. An output waits
    for a call when its value, the branch that it comes from or the number of turns of a loop depends on it, through
    other calls, hosts and the effects between them. This is Parrot's deduction (OSDI'24, section 5.2), which makes the
    call that gives a latency output, and all that comes before it, latency sensitive; where several calls stand side
    by side on the way, `fuse-task-groups` makes them one group, of which the last call counts. Two objectives change
    on the way back: what a `ttft` output waits for must be complete, so it serves `latency`; and a call that serves a
    deadline has as its own the time that is left after all that follows it. Calls for which no output waits serve
    `throughput`.

    `depth` counts the calls that follow a call one after another up to an output; in a loop those of its last turn,
    and the run adds the other turns. `slack` is by how many seconds a call may end late without delaying the last
    output, from the cost model, with outputs that use up their budget: 0 on the critical path.

    Nothing but these three attributes changes.

    ```before
    sem.program(@Main) |%a: text| {
      %0 = engine.fill(engine.root, %a) : ctx
      %plan, %1 = engine.generate(%0) {output = "plan", max_tokens = 5} : text, ctx
      %2 = engine.fill(engine.root, %plan) : ctx
      %code, %3 = engine.generate(%2) {output = "code", max_tokens = 40} : text, ctx
      %4 = engine.fill(engine.root, %plan) : ctx
      %title, %5 = engine.generate(%4) {output = "title", max_tokens = 40} : text, ctx
      sem.return(%title, %code) {names = ["title", "code"], objective = [throughput, latency]}
    }
    ```

    ```after
    sem.program(@Main) |%a: text| {
      %0 = engine.fill(engine.root, %a) : ctx
      %plan, %1 = engine.generate(%0) {output = "plan", max_tokens = 5,
        objective = latency, depth = 1, slack = 0.0} : text, ctx
      %2 = engine.fill(engine.root, %plan) : ctx
      %code, %3 = engine.generate(%2) {output = "code", max_tokens = 40,
        objective = latency, depth = 0, slack = 0.0} : text, ctx
      %4 = engine.fill(engine.root, %plan) : ctx
      %title, %5 = engine.generate(%4) {output = "title", max_tokens = 40,
        objective = throughput, depth = 0, slack = 0.0} : text, ctx
      sem.return(%title, %code) {names = ["title", "code"], objective = [throughput, latency]}
    }
    ```

    A first token that waits for a host, and a map that an effect decides about:

    ```before
    sem.host(@ask) {target = "m:ask", parameters = {x = !text}, result = !bool}
    sem.program(@Main) |%xs: list<text>, %e: effect| {
      %0 = engine.fill(engine.root, "Is it late?") : ctx
      %hour, %1 = engine.generate(%0) {output = "hour", max_tokens = 5} : text, ctx
      %late, %e1 = flow.host(@ask, %hour, %e) : bool, effect
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %y = flow.if(%late) {
          %2 = engine.fill(engine.root, %x) : ctx
          %short, %3 = engine.generate(%2) {output = "short", max_tokens = 5} : text, ctx
          flow.yield(%short)
        } else {
          flow.yield(%x)
        } : text
        flow.yield(%y)
      } : list<text>
      sem.return(%ys, %e1) {names = ["ys"], objective = [ttft]}
    }
    ```

    ```after
    sem.host(@ask) {target = "m:ask", parameters = {x = !text}, result = !bool}
    sem.program(@Main) |%xs: list<text>, %e: effect| {
      %0 = engine.fill(engine.root, "Is it late?") : ctx
      %hour, %1 = engine.generate(%0) {output = "hour", max_tokens = 5,
        objective = latency, depth = 1, slack = 0.0} : text, ctx
      %late, %e1 = flow.host(@ask, %hour, %e) : bool, effect
      %ys = flow.for(%xs) |%i: int, %x: text| {
        %y = flow.if(%late) {
          %2 = engine.fill(engine.root, %x) : ctx
          %short, %3 = engine.generate(%2) {output = "short", max_tokens = 5,
        objective = ttft, depth = 0, slack = 0.0} : text, ctx
          flow.yield(%short)
        } else {
          flow.yield(%x)
        } : text
        flow.yield(%y)
      } : list<text>
      sem.return(%ys, %e1) {names = ["ys"], objective = [ttft]}
    }
    ```
    """

    name: ClassVar[str] = "propagate-objectives"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.PROMPT, Level.ENGINE})
    keeps: ClassVar[frozenset[Finding]] = frozenset({"lengths", "plans"})

    def run(self, module: Module, target: Target) -> Report:
        """Annotate every generate."""
        counts: Counter[str] = Counter()
        critical = 0
        for plan in plans_of(module, target).plans:
            for op, objective in plan.objectives().items():
                counts[objective.name] += 1
                slack = round(plan.slack(op), 6)
                critical += slack == 0
                op.attributes["objective"] = objective
                op.attributes["depth"] = plan.depth(op)
                op.attributes["slack"] = slack
        kinds = ", ".join(f"{counts[name]} {name}" for name in ("ttft", "latency", "deadline", "throughput")
                          if counts[name])
        total = sum(counts.values())
        return Report(f"{total} calls: {kinds or 'none'}; {critical} on the critical path",
                      {name: counts[name] for name in ("ttft", "latency", "deadline")})
