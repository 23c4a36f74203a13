"""What a handler found beside what a model makes of it: a verdict that the findings contradict does not stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .paths import OUTCOMES, UNTOLD, is_check

HEALTHY = frozenset({"normal", "running", "resolves", "ready", "enough", "valid", "free", "it was renewed",
                     "none denies", "only this one", "no", "nothing that is known"})
"""Results of steps that say that something is well; `nothing that is known` of logs that were read."""
NEITHER = frozenset({"yes", "yes, but after the incident began"})
"""A release is no fault by itself."""


def settle_verdict(verdict: str, steps: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The verdict that stands, and why it is not that of the model, or "".

    `false alarm` does not stand beside a finding that is not well, `fault` not beside findings that are all well.
    """
    checks = [step for step in steps if is_check(step["action"]) and step["evidence"]]
    well = [step for step in checks if step["result"] in HEALTHY]
    other = [step for step in checks if step["result"] not in HEALTHY | NEITHER | OUTCOMES | UNTOLD]
    if verdict == "false alarm" and other:
        step = other[0]
        return "unclear", (f"the verdict: the model says false alarm, but {step['action']}: {step['result']} "
                           f"[{', '.join(step['evidence'])}]")
    if verdict == "fault" and well and not other:
        return "unclear", f"the verdict: the model says fault, but all {len(well)} readings are well"
    return verdict, ""
