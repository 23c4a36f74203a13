"""Verdicts of a model beside the findings of handlers."""

import pytest
from investigating import SAMPLES, TRUTH
from running import collect
from semlang.programs.rca.report import write_report
from semlang.programs.rca.verdicts import settle_verdict
from test_report import case, said


def test_findings_of_the_samples_bound_what_a_model_may_say() -> None:
    chosen = [truth for number, truth in enumerate(TRUTH) if number % 4 == 0 or truth["category"] == "false alarm"]
    alerts = [(SAMPLES / truth["alert"]).read_text(encoding="utf-8") for truth in chosen]
    for truth, result in zip(chosen, collect(alerts, [""] * len(alerts)), strict=True):
        alarm, fault = (settle_verdict(said, result["steps"])[0] for said in ("false alarm", "fault"))
        if truth["category"] != "false alarm":
            assert (alarm, fault) == ("unclear", "fault"), truth
        elif result["steps"]:
            assert (alarm, fault) == ("false alarm", "unclear"), truth
    assert sum(truth["category"] == "false alarm" and truth["handler"] != "no handler" for truth in chosen) == 1


@pytest.mark.parametrize(("result", "verdict", "stands"), [
    ("high", "false alarm", False), ("high", "fault", True), ("normal", "false alarm", True),
    ("normal", "fault", False), ("unknown", "fault", True), ("unknown", "false alarm", True),
    ("error", "false alarm", True), ("yes", "fault", True), ("yes", "false alarm", True), ("high", "unclear", True)])
def test_what_stands(result: str, verdict: str, stands: bool) -> None:
    steps = [{"action": "memory", "result": result, "evidence": ["E1"]},
             {"action": "scope: the pod", "result": "cart-1", "evidence": ["E1"]},
             {"action": "runbook x, step 1: ask", "result": "left to a person", "evidence": []}]
    found, why = settle_verdict(verdict, steps)
    assert (found == verdict) == stands == (not why)
    assert stands or found == "unclear"


def test_a_report_says_why() -> None:
    report = write_report(case(), said([], verdict="false alarm"))
    assert report["verdict"] == "unclear"
    assert report["missing"][-1] == "the verdict: the model says false alarm, but logs: pool [E1]"
    assert write_report(case(), said([], verdict="fault"))["verdict"] == "fault"
