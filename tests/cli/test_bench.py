"""`semc bench`: every workload small, in virtual time; all sides give the same outputs."""

import json
from pathlib import Path
from typing import Any

import pytest
from semlang.backend.workloads.catalogue import WORKLOADS
from semlang.cli.main import main

SMALL = ("--scale", "0.05", "--width", "0.15", "--repeats", "2")


def bench(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What `semc bench --json` prints."""
    assert main(["bench", *arguments, "--json"]) == 0, capsys.readouterr().err
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 0
    printed = capsys.readouterr().out
    for name in (*WORKLOADS, "scale"):
        assert f"\n  {name} " in printed
    assert "--set rate=4.0 seconds=30.0" in printed


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_all_sides_give_the_same_outputs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = bench(capsys, name, *SMALL)
    assert result["equal_outputs"] is True
    assert list(result["sides"]) == ["compiled", "requests", "paged", "naive"]
    assert result["published"]
    compiled, naive = result["sides"]["compiled"], result["sides"]["naive"]
    assert compiled["prompt_tokens"] == naive["prompt_tokens"]
    assert compiled["generated_tokens"] == naive["generated_tokens"]
    assert naive["filled_tokens"] == naive["prompt_tokens"]
    assert compiled["filled_tokens"]["median"] < naive["filled_tokens"]["median"]
    for ratio in compiled["ratio"].values():
        assert ratio == {"median": 1.0, "lowest": 1.0, "highest": 1.0}
    for side in result["sides"].values():
        for ratio in side["ratio"].values():
            assert 0 < ratio["lowest"] <= ratio["median"] <= ratio["highest"]


def test_virtual_numbers_are_the_same_every_time(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (bench(capsys, "map-reduce", *SMALL) for _ in range(2))
    assert first == second
    assert bench(capsys, "map-reduce", *SMALL, "--seed", "9") != first


def test_the_round_trip_is_what_a_chain_saves(capsys: pytest.CaptureFixture[str]) -> None:
    near = bench(capsys, "chain", *SMALL, "--round-trip", "0")["sides"]
    far = bench(capsys, "chain", *SMALL, "--round-trip", "0.25")["sides"]
    steps = round(54 * 0.15)
    for side, waits in (("compiled", 1), ("requests", steps), ("naive", steps)):
        waited = far[side]["makespan s"]["median"] - near[side]["makespan s"]["median"]
        assert waited == pytest.approx(0.25 * waits)


@pytest.mark.parametrize("engine", ["reference", "torch"])
def test_real_engines(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = bench(capsys, "map-reduce", "--engine", engine, "--scale", "0.03", "--width", "0.06", "--repeats", "1",
                   "--round-trip", "0")
    assert result["equal_outputs"] is True
    assert list(result["sides"]) == ["compiled", "requests", "naive"]


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "copilot", *SMALL]) == 0
    printed = capsys.readouterr().out
    assert "outputs of all sides equal" in printed
    assert "Llama-7B on A100-80GB (from data sheets, not measured)" in printed
    assert "Parrot's own numbers (OSDI'24), for context:" in printed
    assert "\n  compiled " in printed and "1.00×" in printed


def test_sizes_can_be_set(capsys: pytest.CaptureFixture[str]) -> None:
    result = bench(capsys, "chain", *SMALL, "--set", "nominal=true", "--set", "output=100", "--engine", "simulate:2")
    assert "3 parts of 51 tokens, 5 out; nominal sizes" in result["sizes"]
    assert "2 × Llama-13B" in result["engine"]


@pytest.mark.parametrize(("arguments", "message"), [
    (["chian"], "did you mean `chain`?"),
    (["chain", "--set", "ouput=3"], "did you mean `output`?"),
    (["chain", "--set", "output=many"], "`many` is no int"),
    (["chain", "--set", "output=0"], "the number must be above 0"),
    (["chain", "--set", "nominal=1"], "`1` is no bool"),
    (["chain", "--repeats", "0"], "--repeats must be at least 1"),
    (["chain", "--scale", "0"], "--scale"),
    (["chain", "--round-trip", "-1"], "--round-trip"),
    (["chain", "--costs", "a100"], "there are no costs `a100`"),
    (["chain", "--trace", "x.csv"], "--trace is for `semc bench scale`"),
    (["scale", "--engine", "reference"], "runs on simulated engines only"),
    (["scale", "--trace", "missing.csv"], "cannot read missing.csv: No such file or directory"),
    (["scale", "--scale", "2"], "--scale is not for `semc bench scale`"),
    (["scale", "--set", "engines=1000000"], "must be from 0.0001 to 10000"),
    (["scale", "--set", "calls=1000000000000"], "must be from 0.0001 to 1000000000"),
    (["scale", "--set", "rate=1e-300"], "must be from 0.0001"),
    (["scale", "--set", "rate=nan"], "the number must be above 0"),
    (["scale", "--set", "cells=2", "--costs", "a100"], "there are no costs `a100`"),
    (["chain", "--scale", "1e300"], "at most 1000"),
    (["chain", "--scale", "nan"], "no number above 0"),
    (["chain", "--round-trip", "inf"], "no number of seconds"),
    (["chain", "--costs", "a100-13b", "--engine", "reference"], "--costs is for simulated engines"),
])
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err


AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.97,480,10\n"
MOONCAKE = '{"timestamp": 1, "input_length": 600, "output_length": 3, "hash_ids": [1, 2]}\n'


@pytest.mark.parametrize(("text", "message"), [
    ("", "x.trace holds no requests"),
    (AZURE.splitlines()[0], "x.trace holds no requests"),
    ("anything", "x.trace holds no requests"),
    (AZURE + "2023-11-16 18:17:01.97,1,1\n", "line 3: the request arrives before the one above it"),
    (AZURE + "noon,1,1\n", "line 3: Invalid isoformat string: 'noon'"),
    (AZURE + "2023-11-16 18:17:05.97,1\n", "line 3: a value is missing or of the wrong type"),
    (AZURE.replace("480", "4800000"), "a call needs KV for 4800011 tokens, the engine has 56152"),
    ("a,b\n1,2\n", "line 2: 'TIMESTAMP' is missing"),
    (MOONCAKE + "\n" + '{"timestamp": 2}\n', "line 3: 'input_length' is missing"),
    (MOONCAKE + "{\n", "line 2: Expecting property name"),
    (MOONCAKE + "[1]\n", "line 2: a value is missing or of the wrong type"),
    (MOONCAKE.replace('": 1', '": NaN'), "line 1: cannot convert float NaN to integer"),
])
def test_wrong_traces(text: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.trace").write_text(text)
    assert main(["bench", "scale", "--engine", "simulate:2", "--trace", "x.trace"]) == 2
    assert message in capsys.readouterr().err


def test_a_workload_that_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "copilot", "--scale", "4", "--width", "0.05", "--repeats", "1"]) == 2
    assert "the workload does not run on this engine" in capsys.readouterr().err


def test_scale(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ("scale", "--set", "calls=300", "--set", "engines=5", "--set", "requests=true")
    first, second = (bench(capsys, *flags)["sides"] for _ in range(2))
    for side in ("programs", "requests"):
        for name in first[side]:
            assert "wall" in name or first[side][name] == second[side][name], name
    assert first["programs"]["generated_tokens"] == first["requests"]["generated_tokens"]
    assert first["programs"]["calls"] >= 300
    (tmp_path / "trace.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,480,10\n")
    traced = bench(capsys, "scale", "--engine", "simulate:2", "--trace", str(tmp_path / "trace.csv"))
    assert (traced["engines"], traced["sides"]["programs"]["calls"]) == (2, 1)
    assert main(["bench", *flags]) == 0
    printed = capsys.readouterr().out
    assert "simulated in" in printed and "calls a second" in printed


def test_cells(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("scale", "--set", "calls=300", "--set", "engines=5")
    one = bench(capsys, *flags)["sides"]["programs"]
    two = bench(capsys, *flags, "--set", "cells=2")["sides"]["programs"]
    for name in ("applications", "calls", "prompt_tokens", "generated_tokens"):
        assert one[name] == two[name]
    assert 0 < two["busy"] <= 1
    again = bench(capsys, *flags, "--set", "cells=2")["sides"]["programs"]
    assert {n: v for n, v in again.items() if "wall" not in n} == {n: v for n, v in two.items() if "wall" not in n}
