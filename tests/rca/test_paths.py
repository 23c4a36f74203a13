"""A path beside those of past incidents: what lacks, what speaks for a category and against it."""

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from investigating import SAMPLES, TRUTH, investigate, sample, valid
from running import collect
from semlang.programs.rca import history
from semlang.programs.rca.past import ask_history
from semlang.programs.rca.paths import compare_paths, kept, next_check, usual_of
from semlang.programs.rca.samples.past import diagnoses
from semlang.programs.rca.store import Entry, Store, StoreError

POOL = {"connections in use": "high", "latency": "high", "events": "ok"}
DISK = {"connections in use": "normal", "volume": "full", "scope: the pod": "cart-1", "logs": "unreadable"}
INCIDENT = {"id": "now", "time": "2026-03-01T00:00:00Z"}
CANDIDATES = [{"category": "pool"}, {"category": "disk"}, {"category": "never seen"}]


def entry(id: str, category: str, path: Mapping[str, str], time: str = "2026-01-01T00:00:00Z") -> Entry:
    return Entry(id, time, category, "text", confirmed=True, steps=tuple(path.items()))


def steps(**path: str) -> list[dict[str, Any]]:
    return [{"action": check.replace("_", " "), "result": result, "evidence": [f"E{number}"]}
            for number, (check, result) in enumerate(path.items(), 1)]


@pytest.fixture
def store(tmp_path: Path) -> str:
    path = tmp_path / "history.db"
    with Store(path) as store:
        store.add([entry("p1", "pool", POOL), entry("p2", "pool", POOL), entry("d1", "disk", DISK),
                   entry("d2", "disk", DISK), entry("now", "pool", {"itself": "x"}),
                   entry("later", "pool", {"the future": "x"}, "2026-04-01T00:00:00Z")])
    return str(path)


def test_checks_that_past_incidents_made_and_this_one_did_not(store: str) -> None:
    found = compare_paths(store, INCIDENT, "pool", CANDIDATES, steps(connections_in_use="high"))
    assert found["unchecked"] == [{"check": "latency", "showed": "high", "incidents": ["p2", "p1"]},
                                  {"check": "events", "showed": "ok", "incidents": ["p2", "p1"]}]
    found = compare_paths(store, INCIDENT, "disk", CANDIDATES, steps(connections_in_use="error"))
    assert [one["check"] for one in found["unchecked"]] == ["volume"]  # neither the scope nor what told nothing
    assert compare_paths(store, INCIDENT, "new", CANDIDATES, [])["unchecked"][0]["incidents"] == ["p2", "p1"]


def test_hypotheses_are_supported_or_refuted_by_what_tells_them_apart(store: str) -> None:
    def status(**path: str) -> dict[str, str]:
        found = compare_paths(store, INCIDENT, "pool", CANDIDATES, steps(**path))
        return {one["category"]: one["status"] for one in found["hypotheses"]}

    assert status(connections_in_use="high") == {"pool": "supported", "disk": "refuted"}
    assert status(connections_in_use="normal") == {"pool": "refuted", "disk": "supported"}
    assert status(connections_in_use="unknown", latency="high") == {"pool": "open", "disk": "open"}
    found = compare_paths(store, INCIDENT, "pool", CANDIDATES, steps(connections_in_use="high"))["hypotheses"]
    told = {"action": "connections in use", "evidence": ["E1"]}
    assert found[0]["agree"] == [told | {"result": "high"}]
    assert found[1]["differ"] == [told | {"result": "high, was normal"}]


def test_the_next_check_tells_two_categories_apart(store: str) -> None:
    found = compare_paths(store, INCIDENT, "pool", CANDIDATES, steps(connections_in_use="timeout"))
    assert found["next_check"] == "connections in use: high speaks for pool, normal for disk"
    usual = {"a": {"x": "1"}, "b": {"y": "2"}}
    assert next_check(["a", "b"], usual, []) == "x: 1 speaks for a more than for b"
    assert next_check(["a", "b"], usual, [("x", "2")]) == next_check(["a"], usual, []) == ""


def test_one_incident_or_two_that_differ_have_nothing_usual() -> None:
    assert usual_of([{"a": "high"}]) == usual_of([{"a": "high"}, {"a": "normal"}]) == {}
    assert usual_of([{"a": "high"}, {"a": "high"}, {"a": "error"}, {}]) == {"a": "high"}


def test_a_history_without_paths_tells_nothing(store: str, tmp_path: Path) -> None:
    nothing = {"unchecked": [], "hypotheses": [], "next_check": ""}
    database = sqlite3.connect(store)
    database.execute("DROP TABLE steps")  # as earlier programs wrote them
    database.close()
    assert compare_paths(store, INCIDENT, "pool", CANDIDATES, steps(a="b")) == nothing
    assert compare_paths(str(tmp_path / "none.db"), INCIDENT, "pool", CANDIDATES, []) == nothing
    Store(store).close()  # a writer makes the table
    with Store(store, read_only=True) as again:
        assert again.paths(None, "", ["pool"]) == {}


def test_paths_are_imported_listed_and_learnt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"id": "1", "time": "2026-01-01", "category": "pool", "text": "pool full",
           "steps": [{"action": "look at\n10.1.2.3", "result": "password=hunter2hunter2"}]}
    (tmp_path / "past.jsonl").write_text(json.dumps(row))
    path = str(tmp_path / "history.db")
    assert history.main([str(tmp_path / "past.jsonl"), "--store", path, "--embedding", "tfidf"]) == 0
    capsys.readouterr()
    assert history.main(["list", "--json", "--store", path]) == 0
    listed = json.loads(capsys.readouterr().out)["steps"]
    assert listed == [{"action": "look at ip", "result": "password=secret"}]
    assert kept({"action": listed[0]["action"], "result": "x" * 999}) == ("look at ip", "x" * 120)
    investigate(sample("0001.json"), history=path)
    with Store(path) as store:
        assert ("connections in use", "high") in store.entries()[-1].steps


@pytest.mark.parametrize("wrong", ["x", [1], [{"action": 1, "result": "y"}], [{"action": "x"}], {"a": "b"}])
def test_wrong_paths_are_told_with_their_line(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="past:1: "):
        history.read_entries([json.dumps({"id": "1", "time": "2026-01-01", "text": "x", "steps": wrong})], "past")


def test_no_right_category_of_a_sample_is_refuted() -> None:
    truths = TRUTH[::4]
    alerts = [(SAMPLES / truth["alert"]).read_text(encoding="utf-8") for truth in truths]
    standing: Counter[tuple[bool, str]] = Counter()
    for truth, result, case in zip(truths, collect(alerts, [""] * len(alerts)), diagnoses(alerts, ""), strict=True):
        past = ask_history("", result["incident"], case["text"], 5)
        found = compare_paths(past["store"], result["incident"], "", past["candidates"], result["steps"])
        standing.update((one["category"] == truth["category"], one["status"]) for one in found["hypotheses"])
    assert standing[True, "refuted"] == 0 and standing[True, "supported"] >= 20
    assert standing[False, "refuted"] >= 55 and standing[False, "supported"] <= 5


def test_a_report_tells_it() -> None:
    report = valid(investigate(sample("0001.json")))
    standing = {one["category"]: one["status"] for one in report["hypotheses"]}
    assert standing["connection pool exhausted"] == "supported" and standing["expired certificate"] == "refuted"
    assert set(standing) <= {one["category"] for one in report["similar"]}
