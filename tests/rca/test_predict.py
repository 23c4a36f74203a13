"""predict.sem from the command line, on the reference engine: retrieval, choice, new names, a history that grows."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from semlang.cli.main import main
from semlang.programs.rca.prediction import LETTERS, find_candidates, probability_of, settle_name, share_of
from semlang.programs.rca.store import Entry, Store

pytest.importorskip("sklearn")

PROGRAM = str(Path(__file__).parents[2] / "programs" / "rca" / "predict.sem")
CAUSES = ["disk full", "dns", "certificate expiry", "port exhaustion", "bad deployment", "memory leak"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Two incidents of each of six causes, and one of the future whose text is that of the test."""
    store = Store(tmp_path / "history.db")
    store.add([Entry(f"{row}", f"2026-01-{row + 1:02}T00:00:00Z", CAUSES[row % 6],
                     f"{CAUSES[row % 6]} seen on node", "Alert", confirmed=True) for row in range(12)])
    store.add([Entry("future", "2027-01-01T00:00:00Z", "told by the future", "queue grows without bound",
                     confirmed=True)])
    store.train("tfidf", 0.0)
    store.close()
    return str(tmp_path / "history.db")


def predict(path: str, capsys: pytest.CaptureFixture[str], *arguments: str, program: str = "Predict") -> Any:
    given = [f for argument in (f"store={path}", *arguments) for f in ("--arg", argument)]
    code = main(["run", PROGRAM, "--program", program, "--engine", "reference", "--json", *given])
    result = json.loads(capsys.readouterr().out)
    assert code == 0, result["errors"]
    return result


def test_a_prediction_and_what_becomes_of_the_history(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    incident = ("id=new", "time=2026-03-01T00:00:00Z", "text=queue grows without bound on node")
    outputs = predict(path, capsys, *incident)["outputs"]
    prediction = outputs["prediction"]
    options = {candidate["letter"]: candidate["category"] for candidate in prediction["candidates"]}
    assert len(options) == 5 == len(set(options.values())) and set(options.values()) <= set(CAUSES)
    assert "told by the future" not in options.values()
    assert prediction["letter"] in "ABCDEF" and 0 < prediction["confidence"] <= 1
    assert prediction["is_new"] == (prediction["letter"] == "A")
    assert prediction["is_new"] or prediction["category"] == options[prediction["letter"]]
    assert prediction["summary"] == "queue grows without bound on node"
    assert len(outputs["rationale"].split()) <= 60
    assert outputs["remembered"]
    with Store(path) as store:
        known = store.entry("new")
    assert known is not None and known.category == prediction["category"] and not known.confirmed
    again = predict(path, capsys, *incident)["outputs"]
    assert not again["remembered"]
    assert all(candidate["id"] != "new" for candidate in again["prediction"]["candidates"])


def test_the_second_occurrence_of_a_new_category_finds_the_first(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(path) as store:
        store.add([Entry("first", "2026-03-01T00:00:00Z", "queue overflow", "queue grows without bound")])
    outputs = predict(path, capsys, "id=second", "time=2026-03-02T00:00:00Z", "text=queue 4711 grows without bound",
                      "learn=false")["outputs"]
    assert outputs["prediction"]["candidates"][0] == {
        "letter": "B", "id": "first", "category": "queue overflow", "summary": "queue grows without bound",
        "similarity": pytest.approx(1.0)}
    assert not outputs["remembered"]
    with Store(path) as store:
        assert store.entry("second") is None


def test_secrets_reach_neither_the_model_nor_the_history(path: str, capsys: pytest.CaptureFixture[str],
                                                         tmp_path: Path) -> None:
    outputs = predict(path, capsys, "id=secret", "time=2026-03-01", "text=disk full, password=hunter-two rejected")
    assert "hunter" not in json.dumps(outputs)
    with Store(path) as store:
        known = store.entry("secret")
    assert known is not None and "disk full" in known.text and "hunter" not in known.text


def test_an_empty_history_makes_a_new_category(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "new.db")
    Store(path).close()
    prediction = predict(path, capsys, "id=1", "time=2026-01-01", "text=disk full")["outputs"]["prediction"]
    assert prediction["is_new"] and prediction["category"] and prediction["candidates"] == []


def test_each_incident_is_summarised_once(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(path) as store:
        store.add([Entry("long", "2026-03-01T00:00:00Z", "dns", "lookup failed " * 200)])
    first = predict(path, capsys, program="SummariseHistory")
    assert first["outputs"]["kept"] == 14 and first["stats"]["calls"] in (1, 2)  # the short ones need no model
    second = predict(path, capsys, program="SummariseHistory")
    assert second["outputs"]["kept"] == 0 and second["stats"]["calls"] == 0
    with Store(path) as store:
        long = store.entry("long")
    assert long is not None and (120 <= len(long.summary.split()) <= 140 or long.summary.startswith("lookup failed"))


def test_instructions_are_shared_and_unread_explanations_are_not_written(capsys: pytest.CaptureFixture[str],
                                                                        tmp_path: Path) -> None:
    candidate = {"letter": "B", "id": "1", "category": "dns", "summary": "names fail", "similarity": 0.5}
    questions = [{"summary": f"incident {word}", "candidates": [candidate]} for word in ("one", "two", "three", "four")]
    result = predict_questions(questions, capsys)
    stats = result["stats"]
    assert stats["calls"] == 4 and stats["generated_tokens"] <= 8
    assert stats["filled_tokens"] < stats["prompt_tokens"] / 2


def predict_questions(questions: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> Any:
    code = main(["run", PROGRAM, "--program", "Decisions", "--engine", "reference", "--json",
                 "--arg", f"questions={json.dumps(questions)}"])
    assert code == 0
    return json.loads(capsys.readouterr().out)


def test_names_of_categories() -> None:
    assert settle_name("DNS failures", ["failure DNS", "x"]) == "failure DNS"
    assert settle_name(" \n", ["disk"]) == "unnamed"
    assert settle_name("Disk\nis: full!", []) == "Disk is full"
    assert probability_of(0.5) == 1.0 and probability_of(-0.6931471805599453) == pytest.approx(0.5)


def test_a_confidence_is_a_share_of_the_options() -> None:
    log = math.log
    assert share_of("B", ["A", "B", "C"], log(0.2), ["x", "B", " A", "A"], [log(0.5), log(0.2), log(0.1), log(0.1)]
                    ) == pytest.approx(0.5)
    assert share_of("C", ["A", "B", "C"], log(0.01), ["A", "x"], [log(0.03), log(0.9)]) == pytest.approx(0.25)
    assert share_of("A", ["A", "B"], -2000.0, [], []) == 0.5


def test_there_are_letters_for_every_option(path: str) -> None:
    assert [c["letter"] for c in find_candidates(path, "", "2028-01-01", "", "disk", 25)] == list(LETTERS[:7])
    with pytest.raises(ValueError, match="letters for 1 to 25"):
        find_candidates(path, "", "2028-01-01", "", "disk", 26)
