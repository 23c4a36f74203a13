"""investigate.sem on the reference engine: samples, recorded investigations, stages that fail, budgets, learning."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from investigating import FIXTURES, SAMPLES, TRUTH, investigate, run, sample, valid
from semlang.cli.main import main
from semlang.programs.rca.masking import unmask
from semlang.programs.rca.past import elect, sample_store
from semlang.programs.rca.samples.past import past_incidents
from semlang.programs.rca.store import Store
from test_collect import INVESTIGATIONS

pytest.importorskip("sklearn", reason="the extra `rca` is not installed")

CALLS = 120
"""No investigation makes more with ten samples."""
GENERATED_TOKENS = 5 * 192 + 10 * (96 + 8 + 8) + 600


@pytest.mark.parametrize("truth", TRUTH[:15], ids=lambda truth: truth["alert"][7:11])
def test_a_sample_gets_a_report_that_its_evidence_backs(truth: dict[str, Any]) -> None:
    report = investigate((SAMPLES / truth["alert"]).read_text(encoding="utf-8"))
    assert report["handler"]["name"] == truth["handler"]
    assert report["conclusion"]["claim"] == truth["conclusion"]
    assert report["incident"]["time"] == truth["onset"]
    assert report["similar"][0]["category"] in {row["category"] for row in TRUTH}
    assert len({one["category"] for one in report["similar"]}) == len(report["similar"]) == 5
    assert report["confidence"]["samples"] == 2 and not report["confidence"]["calibrated"]
    assert (report["cause"] is None) == report["confidence"]["abstain"]
    assert report["spent"] is None


def test_a_past_incident_of_the_same_cause_is_an_option() -> None:
    reports = {truth["category"]: investigate(sample(truth["alert"][7:])) for truth in TRUTH[:6]}
    found = [category in {one["category"] for one in report["similar"]} for category, report in reports.items()]
    assert all(found)


@pytest.mark.parametrize("name", INVESTIGATIONS)
def test_a_recorded_investigation_gets_a_report_from_its_recordings_only(name: str) -> None:
    if not FIXTURES.is_dir():
        pytest.skip("the recorded investigations are not there")
    issue = FIXTURES / name / "issue_data.json"
    chosen = issue if len(issue.read_text()) > 10 else FIXTURES / name / "investigate_request.json"
    report = investigate(chosen.read_text(encoding="utf-8"), str(FIXTURES / name))
    assert (report["handler"]["name"], report["conclusion"]["claim"]) == INVESTIGATIONS[name]
    if report["handler"]["name"] == "no handler":
        assert report["ending"] == "no handler" and report["evidence"] == [] and report["cause"] is None
    recorded = "".join(f.read_text(encoding="utf-8") for f in (FIXTURES / name).glob("*.txt"))
    for evidence in report["evidence"]:
        if evidence["outcome"] == "ok" and "cut" not in evidence["table"]:
            for line in evidence["text"].split("\n"):
                assert line in recorded or "\x1b" in recorded, line


@pytest.mark.parametrize("name", ["0001.json", "0002.json", "0003.json", "0004.json", "0005.txt"])
def test_every_format_runs_from_the_command_line_within_its_budget(
        name: str, capsys: pytest.CaptureFixture[str]) -> None:
    embedded = name == "0001.json"
    options = ["--arg", "n=2"] if embedded else ["--engine", "reference"]
    alert = SAMPLES / "alerts" / name
    code = main(["run", str(SAMPLES.parent / "investigate.sem"), "--json", *options, "--arg", f"alert=@{alert}"])
    result = json.loads(capsys.readouterr().out)
    assert code == 0, result["errors"]
    report = valid(result["outputs"]["report"])
    assert report["confidence"]["samples"] == (2 if embedded else 10)
    assert result["stats"]["calls"] <= CALLS
    assert result["stats"]["generated_tokens"] <= GENERATED_TOKENS
    assert result["stats"]["filled_tokens"] * 4 < result["stats"]["prompt_tokens"]


def test_without_evidence_no_model_is_asked(tmp_path: Path) -> None:
    for alert, ending in ((sample("0004.json"), "nothing collected"), ('{"name": "Watchdog"}', "no handler")):
        result = run("investigate", {"alert": alert, "sources": str(tmp_path)}).to_json()
        report = valid(result["outputs"]["report"])
        assert result["stats"]["calls"] == 0
        assert (report["ending"], report["verdict"], report["cause"]) == (ending, "unclear", None)
        assert bool(report["missing"]) == (ending == "nothing collected")


def test_an_abstention_names_no_cause_and_a_low_threshold_names_one() -> None:
    sure = investigate(sample("0001.json"), threshold=0.0)
    unsure = investigate(sample("0001.json"), threshold=1.0)
    assert sure["ending"] == "cause" and not sure["confidence"]["abstain"]
    assert sure["cause"]["component"] == "service shop/cart" and sure["cause"]["onset"] == "2026-01-05T16:10:00Z"
    assert sure["cause"]["category"] and sure["cause"]["statement"]["evidence"]
    assert unsure["ending"] == "insufficient evidence" and unsure["cause"] is None
    assert unsure["conclusion"]["claim"] == "connections of a pool are used up" and unsure["conclusion"]["evidence"]


def test_a_model_that_fails_costs_only_what_it_would_have_said() -> None:
    report = investigate(sample("0001.json"), context=300)  # the prompts with evidence are longer
    assert report["ending"] == "insufficient evidence" and report["confidence"] is None
    assert report["conclusion"]["shown"] and report["findings"] and report["next_steps"]
    assert any(problem.startswith("the confidence: ") for problem in report["missing"])
    assert any(problem.startswith("the verdict: ") for problem in report["missing"])


def test_a_history_that_is_not_there_is_said() -> None:
    result = run("investigate", {"alert": sample("0001.json"), "history": "/nowhere/history.db", "n": 1}).to_json()
    assert list(result["errors"]) == ["remember_incident"]  # it could not join
    report = valid(result["outputs"]["report"])
    assert report["similar"] == []
    assert any("the history: there is no history /nowhere" in problem for problem in report["missing"])


def test_without_the_libraries_of_retrieval_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEMC_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    sample_store.cache_clear()
    try:
        report = investigate(sample("0001.json"))
    finally:
        sample_store.cache_clear()
    assert report["similar"] == [] and report["confidence"]["samples"] == 2
    assert any("pip install 'semlang[rca]'" in line for line in report["missing"])


def test_an_investigation_joins_the_history_with_its_cause_or_with_none(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    Store(path).close()
    for name, threshold in (("0001.json", 0.0), ("0004.json", 1.0)):
        investigate(sample(name), history=str(path), threshold=threshold)
    investigate(sample("0003.json"), history=str(path), learn=False)
    with Store(path) as store:
        entries = store.entries()
    assert [(entry.kind, bool(entry.category), entry.confirmed) for entry in entries] == [
        ("HighErrorRate", True, False), ("KubePodCrashLooping", False, False)]


def test_secrets_stay_masked_and_other_values_come_back() -> None:
    report = investigate(sample("0001.json"))
    told = json.dumps(report)
    assert "_rw:pw-" not in told and "<password-1>" in told
    assert "<ip-" not in told and unmask("10.3.1.9", {}) in told


def test_no_secret_reaches_a_prompt(tmp_path: Path) -> None:
    secrets = ["AKIAIOSFODNN7EXAMPLE", "hunter2hunter2", "ghp_0123456789abcdefghij0123456789abcdef", "10.77.66.55",
               "ada@shop.example"]
    said = f"ERROR key={secrets[0]} password={secrets[1]} token {secrets[2]} from {secrets[3]} for {secrets[4]}"
    (tmp_path / "r.jsonl").write_text(json.dumps({"source": "kubernetes", "query": "*", "text": said}))
    alert = json.dumps({"name": "KubePodCrashLooping", "title": said, "description": said, "labels": {
        "namespace": "shop", "pod": "cart-1", "app": "cart"}})
    pieces: list[str] = []
    result = run("investigate", {"alert": alert, "sources": str(tmp_path), "n": 2}, pieces=pieces).to_json()
    read, report = "".join(pieces), json.dumps(valid(result["outputs"]["report"]))
    assert "<aws-key-1>" in read and "<ip-1>" in read
    assert not [secret for secret in secrets if secret in read]
    assert not [secret for secret in secrets[:3] if secret in report] and secrets[3] in report


def test_votes_of_samples_decide_where_they_are_asked_for() -> None:
    report = investigate(sample("0001.json"), votes=9, threshold=0.0)
    categories = {one["category"]: one["chosen"] for one in report["similar"]} | {"Unseen incident": True}
    assert sum(report["votes"].values()) == 9 and set(report["votes"]) <= set(categories)
    most = max(report["votes"].values())
    assert any(count == most and categories[name] for name, count in report["votes"].items())
    assert investigate(sample("0001.json"))["votes"] == {}
    assert elect(["B", "C", "C"], "B") == "C" and elect(["B", "C"], "C") == "C" and elect([], "D") == "D"


def test_without_votes_the_nearest_past_incident_counts() -> None:
    report = investigate(sample("0001.json"), votes=0, threshold=0.0)
    nearest = max(report["similar"], key=lambda one: one["similarity"])
    assert nearest["chosen"] and [one["chosen"] for one in report["similar"]].count(True) == 1
    assert report["cause"]["category"] == nearest["category"] and report["votes"] == {}


def test_long_texts_fit_into_a_context_of_8192_tokens(tmp_path: Path) -> None:
    lines = "\n".join(f"ERROR {number} connection refused by {'x' * 300}{number:x}" for number in range(3000))
    record = {"source": "kubernetes", "query": "*", "text": lines}
    (tmp_path / "r.jsonl").write_text(json.dumps(record), encoding="utf-8")
    alert = json.dumps({"name": "KubePodCrashLooping", "description": lines, "title": lines[:5000], "labels": {
        "namespace": "shop", "pod": "cart-1", "app": "cart"}})
    report = investigate(alert, str(tmp_path))
    assert report["confidence"] is not None and report["conclusion"]["claim"] == "connection refused"
    assert not any("context overflow" in line for line in report["missing"])
    assert any("bytes were read" in line for line in report["missing"])


def test_the_history_of_the_samples_can_be_written_again() -> None:
    rows = [json.loads(line) for line in (SAMPLES / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    assert past_incidents(seed=11, incidents=78) == rows
    assert max(row["time"] for row in rows) < min(truth["onset"] for truth in TRUTH)
