"""confidence.sem: samples share their prompts, scores become probabilities, weak evidence is no answer."""

import json
from pathlib import Path
from typing import Any

import pytest
from doubles import compiled_for_models, reading_engine
from semlang.backend.executor import run_module
from semlang.cli.main import main
from semlang.programs.rca.calibrate import CalibrationError, fit_calibration
from semlang.programs.rca.confidence import probability_of_scores
from semlang.programs.rca.fit_confidence import main as fit

RCA = Path(__file__).parents[2] / "programs" / "rca"
PROGRAM = str(RCA / "confidence.sem")
EVIDENCE = "\n".join(f"E{n} logs ok: connection pool exhausted, {n} waiting" for n in range(30))
GIVEN = ("--arg", "incident=requests of cart fail", "--arg", f"evidence={EVIDENCE}", "--arg",
         "cause=the pool is used up")


def command(capsys: pytest.CaptureFixture[str], *arguments: str, word: str = "run") -> Any:
    code = main([word, *arguments[:1], PROGRAM, *arguments[1:]] if arguments[:1] in (("-O0",), ("-O2",)) else
                [word, PROGRAM, *arguments])
    printed = capsys.readouterr()
    assert code == 0, printed
    return json.loads(printed.out)


def test_ten_samples_share_one_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    naive = command(capsys, "-O0", *GIVEN, "--engine", "reference", "--json")
    shared = command(capsys, "-O2", *GIVEN, "--engine", "reference", "--json")
    assert naive["outputs"] == shared["outputs"]
    assert shared["outputs"]["confidence"]["samples"] == 10 and shared["stats"]["calls"] == 30
    # Each request by itself would fill its whole prompt; -O0 already lets ratings go on where judgements ended.
    assert shared["stats"]["prompt_tokens"] == naive["stats"]["prompt_tokens"] > 10 * shared["stats"]["filled_tokens"]
    assert naive["stats"]["filled_tokens"] > 3 * shared["stats"]["filled_tokens"]


def test_what_is_shared_is_known_before_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    plan = command(capsys, *GIVEN, "--json", word="explain")
    judgement, answer, rating = plan["calls"]
    assert (judgement["function"], answer["function"], rating["function"]) == ("Judge", "Judge", "Rate")
    assert judgement["shared_tokens"] == judgement["predicted"]["prompt_tokens"]  # nothing of it is filled twice
    assert "loops start" in str(plan["passes"]) and next(p for p in plan["passes"] if p["name"] == "licm")["fired"]


def estimate(sufficient: str, rating: str, **given: Any) -> dict[str, Any]:
    wanted = {"Analysis": "it shows enough", "Answer": sufficient, "Rating": rating}

    def read(text: str) -> str:
        label, _, written = text.rpartition("\n")[2].partition(":")
        return f" {wanted[label]}"[len(written):]

    engine = reading_engine(read)
    arguments = {"incident": "i", "evidence": "e", "cause": "c", "n": 4, **given}
    result = run_module(compiled_for_models(RCA / "confidence.sem"), {"": engine}, arguments, timeout=60).to_json()
    engine.close()
    assert result["errors"] == {}
    found: dict[str, Any] = result["outputs"]["confidence"]
    return found


def test_weak_evidence_is_no_answer() -> None:
    assert estimate("no", "9") == {"probability": 0.0, "sufficient": 0.0, "rating": 0.9, "abstain": True,
                                   "calibrated": False, "samples": 4}
    strong = estimate("yes", "8", n=0)
    assert (strong["probability"], strong["abstain"], strong["samples"]) == (0.8, False, 1)
    assert estimate("yes", "8", threshold=0.9)["abstain"]


def scores(count: int) -> list[dict[str, Any]]:
    return [{"sufficient": (n % 11) / 10, "rating": (n % 7) / 6, "right": (n % 11) * (n % 7) > 18 + n % 13}
            for n in range(count)]


def test_a_map_is_fitted_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    rows = scores(240)
    (tmp_path / "labelled.jsonl").write_text("\n".join(map(json.dumps, rows)))
    path = tmp_path / "calibration.json"
    assert fit([str(tmp_path / "labelled.jsonl"), "--out", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["incidents"] == 240 and report["ece"] < 0.12 and report["ece"] < report["ece_raw"]
    assert report["risk_coverage"][-1][0] == 1.0 and 0 < report["coverage"] < 1
    assert report["risk"] < sum(not row["right"] for row in rows) / 240
    fitted = fit_calibration([(r["sufficient"], r["rating"]) for r in rows], [r["right"] for r in rows])
    assert probability_of_scores(1.0, 0.8, str(path)) == pytest.approx(fitted.probability((1.0, 0.8)))
    calibrated = estimate("yes", "8", calibration=str(path))
    assert calibrated["calibrated"] and calibrated["probability"] == pytest.approx(fitted.probability((1.0, 0.8)))


def test_a_model_is_asked_for_what_is_not_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    rows = [{"incident": f"incident {n}", "evidence": "logs", "cause": "a full disk", "right": n % 3 == 0}
            for n in range(14)]
    (tmp_path / "labelled.jsonl").write_text("\n".join(map(json.dumps, [*rows, *scores(4)])))
    assert fit([str(tmp_path / "labelled.jsonl"), "--out", str(tmp_path / "c.json"), "-n", "2", "--engine",
                "reference"]) == 0
    assert "18 incidents" in capsys.readouterr().out and (tmp_path / "c.json").exists()


def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CalibrationError, match="cannot be read"):
        probability_of_scores(0.5, 0.5, str(tmp_path / "none.json"))
    (tmp_path / "bad.jsonl").write_text('{"right": true, "sufficient": 2, "rating": 0}')
    assert fit([str(tmp_path / "bad.jsonl"), "--out", str(tmp_path / "c.json")]) == 2
    assert "bad.jsonl:1 needs `right`" in capsys.readouterr().err
    (tmp_path / "few.jsonl").write_text(json.dumps(scores(1)[0]))
    assert fit([str(tmp_path / "few.jsonl"), "--out", str(tmp_path / "c.json")]) == 2
    assert "too few" in capsys.readouterr().err
    (tmp_path / "bytes.jsonl").write_bytes(b"\x80\xff")
    assert fit([str(tmp_path / "bytes.jsonl"), "--out", str(tmp_path / "c.json")]) == 2
    assert "bytes.jsonl is not UTF-8" in capsys.readouterr().err
    with pytest.raises(CalibrationError, match="is not UTF-8"):
        probability_of_scores(0.5, 0.5, str(tmp_path / "bytes.jsonl"))


def test_the_programs_own_tests_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", PROGRAM, str(RCA / "confidences.sem")]) == 0, capsys.readouterr()
