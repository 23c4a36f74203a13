"""Questions about a finished investigation."""

import json

import pytest
from investigating import investigate, run, sample
from semlang.programs.rca.followup import check_answer, read_report
from semlang.programs.rca.report import ReportError

pytest.importorskip("sklearn", reason="the extra `rca` is not installed")


def test_a_question_is_answered_from_the_evidence_alone() -> None:
    report = investigate(sample("0001.json"))
    given = {"report": json.dumps({"outputs": {"report": report}}), "question": "Which pool?"}
    result = run("followup", given).to_json()
    assert result["errors"] == {} and result["stats"]["calls"] == 1
    answer = result["outputs"]["answer"]
    assert set(answer["evidence"]) <= {piece["id"] for piece in report["evidence"]}
    assert answer["shown"] == bool(answer["evidence"])


def test_what_was_unmasked_is_masked_again() -> None:
    report = investigate(sample("0001.json"))
    asked = read_report(json.dumps(report), "What runs on 10.3.1.9, and is hunter2 the password=hunter2hunter2?")
    told = json.dumps(asked | {"names": {}})
    assert "10.3.1.9" in json.dumps(report) and "10.3.1.9" not in told and "hunter2hunter2" not in told
    checked = check_answer(asked, {"evidence": [99, 1, 1], "answer": f"it is {next(iter(asked['names']))}"})
    assert checked["evidence"] == ["E1"] and checked["shown"] and "<" not in checked["claim"]
    assert not check_answer(asked, {"evidence": [98], "answer": "x"})["shown"]


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(ReportError):
        read_report("{}", "why?")
