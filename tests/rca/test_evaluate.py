"""The evaluation: no label and no text from the future, one table from one command, shared data where it is there."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from semlang.programs.rca import evaluate, labelled, retrieval
from semlang.programs.rca.classifiers import BASELINES, Baseline
from semlang.programs.rca.labelled import DataError, Labelled, read_labelled
from semlang.programs.rca.metrics import f1_scores
from semlang.programs.rca.prequential import first_judged, predict_offline, predict_online

pytest.importorskip("sklearn")

SHARED = Path(__file__).parents[3] / "shared" / "data" / "incidents"
POSTMORTEMS = SHARED / "cloud-postmortems" / "incidents.jsonl"
GAIA = SHARED / "gaia" / "incidents.jsonl"
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"


def twins(pairs: int) -> list[Labelled]:
    """Each text occurs twice with a label of its own: the second can be known from the first, the first from nothing
    but the second. All first ones lie before all second ones."""
    texts = [f"alpha{n} beta{n} gamma{n}" for n in range(pairs)]
    return [Labelled(f"{half}-{n}", float(half * pairs + n), f"label {n}", {"alert": texts[n]})
            for half in range(2) for n in range(pairs)]


class Spy:
    """Notes what it is given; its answer is the last category that it learnt."""

    seen: ClassVar[list[tuple[int, int]]] = []

    def fit(self, texts: Sequence[str], categories: Sequence[str], days: NDArray[np.float64]) -> None:
        assert len(texts) == len(categories) == len(days)
        self.known = list(categories)

    def extend(self, text: str, category: str, day: float) -> None:
        self.known.append(category)

    def predict(self, text: str, day: float) -> tuple[str, float]:
        self.seen.append((len(self.known), int(day)))
        return self.known[-1], 1.0


@pytest.mark.parametrize("refit_every", [0, 1, 4])
def test_a_method_never_gets_anything_from_the_future(refit_every: int) -> None:
    incidents = twins(10)
    Spy.seen = []
    predict_online(Baseline(Spy, refit_every), [i.parts["alert"] for i in incidents], incidents, 3)
    assert Spy.seen == [(day, day) for day in range(3, 20)]


@pytest.mark.parametrize("name", ["TF-IDF 1-NN", "TF-IDF linear SVM"])
def test_a_leak_of_the_future_would_be_caught(name: str) -> None:
    """First twins cannot be known, second ones can: any look ahead would raise the first number above 0."""
    incidents = twins(9)
    texts = [incident.parts["alert"] for incident in incidents]
    right = [p.right for p in predict_online(BASELINES[name], texts, incidents, 2).predictions]
    assert not any(right[:7]) and all(right[7:])
    offline = [p.right for p in predict_offline(BASELINES[name], texts, incidents, 9).predictions]
    assert all(offline)


def test_retrieval_leaks_nothing_either() -> None:
    incidents = twins(9)
    texts = [incident.parts["alert"] for incident in incidents]
    distances = retrieval.tfidf_distances(texts, incidents, 2)
    categories = [incident.category for incident in incidents]
    assert [len(one.distances) for one in distances] == list(range(2, 18))
    right = [p.right for p in retrieval.retrieve(distances, categories, 1, 0.0)]
    assert not any(right[:7]) and all(right[7:])
    assert retrieval.ceilings(distances[:7], categories) == (0.0, 0.0)
    # What is fitted for an incident does not depend on its own label or on later ones.
    alphas = retrieval.fitted_alphas(distances, categories)
    changed = [*categories[:12], *["other"] * 6]
    assert retrieval.fitted_alphas(distances, changed)[:11] == alphas[:11]


def test_unseen_labels_are_noticed() -> None:
    incidents = twins(4)
    outcome = predict_online(BASELINES["majority"], ["a"] * 8, incidents, 2)
    assert [p.first for p in outcome.predictions] == [True, True, False, False, False, False]


@pytest.fixture
def data(tmp_path: Path) -> str:
    rows = [{"id": str(n), "time": f"2026-01-01T00:{n:02}:00Z", "category": "disk" if n % 2 else "dns",
             "parts": {"alert": "slow", "diagnostics": "no space left" if n % 2 else "lookup failed"}}
            for n in range(30)]
    path = tmp_path / "incidents.jsonl"
    path.write_text("\n".join(map(json.dumps, reversed(rows))))
    return str(path)


def test_one_command_one_object(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    methods = "majority,TF-IDF linear SVM"
    assert evaluate.main(["--data", data, "--methods", methods, "--grid", "--ablation", "--samples", "20", "--json",
                          "--engine", "reference"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["version"], report["view"], report["first"], report["judged"]) == (1, "all", 15, 15)
    assert list(report["methods"]) == ["majority", "TF-IDF linear SVM", "retrieval only (tfidf, fitted α)",
                                       "random option", "retrieval + model", "model only"]
    machine = report["methods"]["TF-IDF linear SVM"]
    for convention in ("scored", "dropped", "class"):
        assert machine[convention]["micro"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert report["ceilings"]["plain"] == report["ceilings"]["distinct"] == 1.0
    assert len(report["grid"]) == 30 and [row["view"] for row in report["ablation"]] == [
        "alert", "diagnostics", "alert+diagnostics"]
    assert report["ablation"][0]["micro"]["value"] < 0.7 < report["ablation"][1]["micro"]["value"]
    assert report["methods"]["retrieval + model"]["cost"]["calls"] == 1.0


def test_tables(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["--data", data, "--methods", "majority", "--samples", "20", "--view", "alert"]) == 0
    text = capsys.readouterr().out
    assert "| majority | 0." in text and "**Ceilings**" in text and "Convention `dropped`" in text


def test_a_library_that_is_missing_costs_its_own_row_only(data: str, monkeypatch: pytest.MonkeyPatch,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    assert evaluate.main(["--data", data, "--methods", "XGBoost,majority", "--samples", "5"]) == 0
    text = capsys.readouterr().out
    assert "No XGBoost: XGBoost needs xgboost; install it with: pip install 'semlang[rca-baselines]'." in text
    assert "| majority |" in text


@pytest.mark.parametrize(("arguments", "message"), [
    (["--view", "nothing"], "no incident has a part `nothing`; there are alert, diagnostics"),
    (["--methods", "guess"], "there is no method `guess`"),
    (["--first", "30"], "--first must leave some"),
])
def test_wrong_input(data: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["--data", data, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_wrong_files(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for content, message in (("", "holds no incident"), ("{", "x.jsonl:1: no JSON"), ("[]", "x.jsonl:1: a line"),
                             ('{"id": 1, "parts": {}}', "x.jsonl:1: the incident lacks `time`")):
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            read_labelled(str(path))


def test_texts_without_repeated_words_and_without_any() -> None:
    incidents = twins(15)
    texts = [incident.parts["alert"] if n < 25 else "" for n, incident in enumerate(incidents)]
    assert len(predict_online(BASELINES["TF-IDF 1-NN"], texts, incidents, 21).predictions) == 9
    assert len(predict_online(BASELINES["TF-IDF linear SVM"], [""] * 30, incidents, 27).predictions) == 3


@pytest.mark.skipif(not POSTMORTEMS.exists(), reason="the shared data is not here")
def test_what_no_pipeline_may_see_is_in_no_view() -> None:
    data = read_labelled(str(POSTMORTEMS))
    rows = sorted(map(json.loads, POSTMORTEMS.read_text().splitlines()), key=lambda row: str(row["time"]))
    details = [row["LEAKY_details"] for row in rows]
    shown = list(zip(data.texts("symptom"), data.texts("report"), details, strict=True))
    assert all(detail.strip() in report for _, report, detail in shown)
    assert sum(detail in symptom for symptom, _, detail in shown if len(detail) > 40) < 10  # said in the summary too
    assert all("cause" not in view.split("+") for view in data.ablations())
    assert [incident.day for incident in data.incidents] == sorted(incident.day for incident in data.incidents)


@pytest.mark.skipif(not GAIA.exists(), reason="the shared data is not here")
def test_gaia_offline_on_some_incidents() -> None:
    """A floor far below what the whole set gives and far above what the most frequent category does."""
    data = read_labelled(str(GAIA))
    first = first_judged(data.incidents)
    assert first == 160
    some = data.incidents[:first + 200]
    texts = labelled.DataSet(some, data.views).texts("report")
    machine = f1_scores(predict_offline(BASELINES["TF-IDF linear SVM"], texts, some, first).predictions, samples=2)
    majority = f1_scores(predict_offline(BASELINES["majority"], texts, some, first).predictions, samples=2)
    assert machine["micro"].value > 0.85 and majority["micro"].value < 0.6


@pytest.mark.skipif(not (NIGHTLY and POSTMORTEMS.exists()), reason="only in the nightly run, with the shared data")
@pytest.mark.parametrize(("view", "machine", "ceiling"), [("symptom", 0.193, 0.602), ("report", 0.367, 0.663),
                                                         ("truth", 0.476, 0.723)])
def test_the_results_page_can_be_repeated(view: str, machine: float, ceiling: float) -> None:
    data = read_labelled(str(POSTMORTEMS))
    texts, first = data.texts(view), first_judged(data.incidents)
    found = predict_online(BASELINES["TF-IDF linear SVM"], texts, data.incidents, first)
    assert f1_scores(found.predictions, samples=2)["micro"].value == pytest.approx(machine, abs=0.02)
    distances = retrieval.tfidf_distances(texts, data.incidents, first)
    categories = [incident.category for incident in data.incidents]
    assert retrieval.ceilings(distances, categories)[1] == pytest.approx(ceiling, abs=0.02)
