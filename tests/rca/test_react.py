"""react.sem with models that read: tools, budgets, refusals, repeated calls, long answers, abstention, masking."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from doubles import Door, compiled_for_models, last_output, reading_engine
from semlang.backend.executor import run_module
from semlang.programs.rca import agent_history, collect, observations
from semlang.programs.rca.admission import admit
from semlang.programs.rca.agent_pages import passages, read_page
from semlang.programs.rca.connectors.configuration import connector_of
from semlang.programs.rca.connectors.interface import Connector
from semlang.programs.rca.snapshots import keep
from semlang.programs.rca.store import Entry, Store

RCA = Path(__file__).parents[2] / "programs" / "rca"
REACT = RCA / "react.sem"
ALERT = (RCA / "samples" / "alerts" / "0001.json").read_text(encoding="utf-8")

Step = tuple[str, object]
"""A tool and its arguments: a record, or a text of offered ones."""
POOL: Step = ("metric", {"metric": "connections_of_service", "namespace": "", "name": "cart"})


def finish(*evidence: str, cause: str = "the pool of cart is used up", sufficient: str = "yes") -> Step:
    return "finish", {"cause": cause, "evidence": list(evidence), "sufficient": sufficient}


def reader(steps: Sequence[Step], answer: str = "The pool is full.") -> Callable[[str], str]:
    """A model that does the steps one after another, whatever it reads, and the last one again and again."""
    def read(text: str) -> str:
        label, written = last_output(text)
        tool, arguments = steps[min(text.count("\nThought:") - 1, len(steps) - 1)]
        page = {"Words and page": json.dumps({"words": "needle", "page": 0}, separators=(",", ":"))}
        asked = arguments if isinstance(arguments, str) else json.dumps(arguments, separators=(",", ":"))
        wanted = " " + {"Thought": "what next", "Tool": tool, "Arguments": asked, "Answer": answer, **page}[label]
        return wanted[len(written):] if wanted.startswith(written) else wanted[len(written) + 1:]
    return read


def react(script: Sequence[Step], engine: Door | None = None, **arguments: Any) -> dict[str, Any]:
    engine = engine or reading_engine(reader(script))
    given = {"alert": ALERT, "sources": "", **arguments}
    result = run_module(compiled_for_models(REACT), {"": engine}, given, timeout=60).to_json()
    engine.close()
    assert result["errors"] == {}, result["errors"]
    outputs: dict[str, Any] = json.loads(json.dumps(result["outputs"]))
    return outputs


def test_a_cause_with_its_evidence() -> None:
    outputs = react([POOL, ("details", {"question": "who gives no connections back?"}), finish("E3", "E99")])
    assert outputs["found"] and outputs["cause"] == "the pool of cart is used up"
    assert outputs["supports"] == ["E3"]  # there is no E99
    assert outputs["spent"]["ending"] == "concluded" and outputs["spent"]["steps"] == 3
    metric, details, _ = outputs["turns"]
    assert metric["observation"].startswith("| E3 metrics ok: ") and "0.5 1 1" in metric["observation"]
    assert details["observation"] == "| The pool is full."
    assert [e["id"] for e in outputs["evidence"]] == [f"E{n + 1}" for n in range(len(outputs["evidence"]))]


def test_the_same_call_twice_is_told_so_and_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def note(sources: str, source: str) -> Connector:
        asked.append(source)
        return connector_of(sources, source)

    monkeypatch.setattr(collect, "connector_of", note)
    logs: Step = ("logs", {"namespace": "shop", "app": "cart", "words": "pool"})
    outputs = react([logs, logs, finish("E3")])
    first, second, _ = outputs["turns"]
    assert "no recording of logs" in first["observation"]
    assert second["observation"].startswith("| not done: this was asked before")
    collected = len(react([finish("E3")])["evidence"])
    assert asked.count("logs") == 1 and len(outputs["evidence"]) == collected + 1


@pytest.mark.parametrize(("budget", "ending", "steps"), [
    ({"steps": 3}, "out of steps", 3), ({"tokens": 150, "steps": 9}, "out of tokens", 2),
    ({"seconds": 1e-9}, "out of time", 1), ({"steps": 0}, "out of steps", 0)])
def test_budgets_end_in_abstention(budget: dict[str, Any], ending: str, steps: int) -> None:
    outputs = react([("kubernetes", {"object": "events", "namespace": "kube-system", "name": ""}), POOL,
                     ("probe", {"probe": "dns", "namespace": "", "name": "cart"})], **budget)
    assert outputs["spent"]["ending"] == ending
    assert not outputs["found"] and outputs["cause"] == "insufficient evidence" and outputs["supports"] == []
    assert outputs["spent"]["steps"] == len(outputs["turns"]) and abs(len(outputs["turns"]) - steps) <= 1


def test_a_cause_without_evidence_does_not_stand() -> None:
    outputs = react([finish("E99"), finish("E1", cause=" "), finish(sufficient="no")])
    assert "give numbers of evidence" in outputs["turns"][0]["observation"]
    assert "name a cause" in outputs["turns"][1]["observation"]
    assert outputs["spent"]["ending"] == "concluded"
    assert not outputs["found"] and outputs["cause"] == "insufficient evidence"


def test_the_past_is_searched_in_two_steps(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    store = Store(tmp_path / "history.db")
    store.add([Entry(f"past-{n}", f"2025-12-0{n + 1}T00:00:00Z", cause, f"{cause} of checkout " * 12, "Alert",
                     confirmed=True) for n, cause in enumerate(("pool exhausted", "disk full", "slow names"))])
    store.add([Entry("future", "2026-06-01T00:00:00Z", "pool exhausted", "pool exhausted", confirmed=True)])
    store.train("tfidf", 0.0)
    store.close()
    unknown = react([("past_incident", "past-0"), finish("E1")])
    assert "not done" in unknown["turns"][0]["observation"]  # nothing was found before
    outputs = react([("history", {"question": "pool exhausted"}), ("past_incident", "past-0"), finish("E6")],
                    history=str(tmp_path / "history.db"))
    search, one, _ = outputs["turns"]
    assert "| past-0 2025-12-01 pool exhausted: pool exhausted of" in search["observation"]
    assert "future" not in search["observation"]
    assert "category=pool exhausted; confirmed=yes" in one["observation"]
    assert agent_history.read_past(str(tmp_path / "history.db"), "future", "2026-01-01T00:00:00Z")["outcome"] == "error"
    assert "make one with" in agent_history.search_past(str(tmp_path / "no.db"), "x", "", "")["evidence"]["text"]


def test_a_long_answer_is_a_head_and_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMC_RCA_SNAPSHOTS", str(tmp_path / "kept"))
    lines = [f"line {n} password=hunter2-{n:06} of no interest" for n in range(20_000)]
    lines[10_000] = "here is the needle, token=abcdefghijklmnop"
    (tmp_path / "r.jsonl").write_text(json.dumps(
        {"source": "kubernetes", "query": "events -n kube-system", "text": "\n".join(lines)}))
    steps: list[Step] = [("kubernetes", {"object": "events", "namespace": "kube-system", "name": ""})]
    outputs = react(steps, steps=1, sources=str(tmp_path))
    long = outputs["evidence"][-1]
    key = long["table"]["snapshot"]
    engine = reading_engine(reader([*steps, ("snapshot", key), finish(long["id"])]))
    outputs = react([], engine, sources=str(tmp_path))
    first, second, _ = outputs["turns"]
    assert len(first["observation"]) < 2_000 and f"snapshot={key}" in first["observation"]
    assert "| page=0; pages=1" in second["observation"] and "here is the needle" in second["observation"]
    assert not any(secret in text for text in engine.texts() for secret in ("hunter2-", "abcdefghijklmnop"))


def test_values_are_masked_before_the_model_and_unmasked_after(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps(
        {"source": "probes", "query": "outbound n1", "text": "peer 10.9.8.7 refused password=hunter2hunter2"}))
    probe: Step = ("probe", {"probe": "outbound", "namespace": "", "name": "n1"})
    engine = reading_engine(reader([probe, finish("E1", cause="<ip-1> refuses <secret-1>")]))
    outputs = react([], engine, sources=str(tmp_path), alert=json.dumps({"name": "Unknown", "labels": {"a": "b"}}))
    assert outputs["cause"] == "10.9.8.7 refuses <secret-1>"
    assert outputs["names"] == {"<ip-1>": "10.9.8.7"}
    told = " ".join(engine.texts()) + json.dumps(outputs)
    assert "<ip-1> refused password=<secret-1>" in engine.texts()[-1] and "hunter2" not in told
    assert not any("10.9.8.7" in text for text in engine.texts())


PLACE = {"breadth": "workload", "namespace": "shop", "pod": "", "service": "cart", "node": "", "host": "", "start": "",
         "end": "", "sources": "", "deadline": 1.0}


def request(tool: str, what: str = "", namespace: str = "", name: str = "", words: str = "") -> dict[str, Any]:
    return {"tool": tool, "what": what, "namespace": namespace, "name": name, "words": words, "page": 0, "written": ""}


@pytest.mark.parametrize(("asked", "why"), [
    (request("metric", "memory_of_pod"), "no pod is named"),
    (request("metric", "latency_of_service", name='x"} or vector(1) #'), "is no name of a service"),
    (request("kubernetes", "pod", name="cart-1 --all-namespaces"), "is no name of a pod"),
    (request("kubernetes", "pod", name="../../etc/passwd"), "is no name of a pod"),
    (request("kubernetes", "node", name="secrets/x"), "is no name of a node"),
    (request("kubernetes", "pods", namespace="payroll"), "the namespace 'payroll' is not allowed"),
    (request("logs", namespace="shop -A", words="x"), "is not allowed, only shop, kube-system"),
    (request("logs", words="(a+)+$"), "are no words"),
    (request("past_incident", "7"), "none of those that were shown"),
    (request("snapshot", "0" * 16), "none of those that were shown"),
    (request("details", " \n"), "the question is empty"),
])
def test_what_is_not_allowed_is_refused(asked: dict[str, Any], why: str) -> None:
    admitted = admit(asked, PLACE, [], [], [])
    assert why in admitted["refusal"] and admitted["place"] == PLACE


def test_what_is_allowed_is_asked_about_its_own_place() -> None:
    admitted = admit(request("kubernetes", "pod", name="cart-7"), PLACE, [], [], [])
    assert not admitted["refusal"] and (admitted["place"]["pod"], admitted["place"]["breadth"]) == ("cart-7", "pod")
    assert not admit(request("logs", namespace="payroll", words="a|b c"), PLACE, ["payroll"], [], [])["refusal"]
    same = [admit(request("logs", namespace=n, words=w), PLACE, [], [], [])["key"]
            for n, w in (("", "Pool"), ("shop", "pool"), ("shop", " pool "))]
    assert len(set(same)) == 1


def test_passages_hold_what_is_asked_about() -> None:
    content = "\n".join(f"line {n} of a log with nothing in it" for n in range(400)) + "\nthe lease expired at noon"
    assert "lease expired" in passages(content, "When did the lease expire? expired")
    assert passages("short", "unrelated") == "short"


def test_a_page_never_cuts_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMC_RCA_SNAPSHOTS", str(tmp_path))
    key = keep(("x " * 1_494 + "password=hunter2hunter2 and on").encode())
    pages = [read_page(key, "", page) for page in range(3)]
    assert [page["outcome"] for page in pages] == ["ok", "ok", "empty"]
    assert "hunter2" not in "".join(page["text"] for page in pages)
    assert read_page("f" * 16, "", 0)["outcome"] == "error"


def test_a_model_that_fails_keeps_what_was_found() -> None:
    outputs = react([POOL], reading_engine(lambda text: 1 / 0))  # type: ignore[arg-type, return-value]
    assert outputs["spent"]["ending"] == "failed" and outputs["evidence"] and not outputs["found"]


def test_evidence_that_is_there_keeps_its_number() -> None:
    piece = {"id": "E1", "source": "s", "query": "q", "time": "", "outcome": "ok", "table": {}, "text": "t"}
    seen = observations.observe({"evidence": [piece | {"id": ""}], "told": "", "ids": []}, "", [piece], {})
    assert seen["evidence"] == [piece] and seen["text"].startswith("| E1 s ok: q")
