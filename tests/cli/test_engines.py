"""Several engines for one model on the command line."""

import json
from pathlib import Path

import pytest
from semlang.backend.torch_engine.engine import MOST_KV_SLOTS
from semlang.cli.engines import EnginePool
from semlang.cli.main import main
from semlang.cli.models import ModelChoice

PROGRAM = """
model big = "big-model"

semantic Note(x: text) -> note: text {
  \"\"\"Take a note of {{input:x}}: {{output:note max_tokens=8}}\"\"\"
}

semantic Judge(all: text) -> verdict: text using big {
  \"\"\"Judge {{input:all}}: {{output:verdict max_tokens=8}}\"\"\"
}

program Main(xs: list[text] = ["a", "b", "c", "d", "e", "f"]) -> (notes: list[text], verdict: text) {
  let notes = for x in xs { Note(x) }
  return notes, Judge(join(notes, " "))
}
"""


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEMC_MODEL", raising=False)
    Path("main.sem").write_text(PROGRAM, encoding="utf-8")


def run(capsys: pytest.CaptureFixture[str], engine: str, *arguments: str) -> dict[str, dict[str, object]]:
    """The object that `semc run --json` prints."""
    assert main(["run", "main.sem", "--engine", engine, "--json", *arguments]) == 0
    found: dict[str, dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_outputs_do_not_depend_on_the_number_of_engines(capsys: pytest.CaptureFixture[str], level: str) -> None:
    one, three = run(capsys, "reference", level), run(capsys, "reference:3", level)
    assert three["outputs"] == one["outputs"]
    for name in ("calls", "prompt_tokens", "generated_tokens"):
        assert three["stats"][name] == one["stats"][name], name


def test_traces_have_rows_for_each_engine(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "reference:2", "--trace", "t.json")
    events = json.loads(Path("t.json").read_text())["traceEvents"]
    names = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    # The default model and `big` are both the embedded tokenizer here, so they share their engines.
    assert sorted(names.values()) == ["engine reference 1", "engine reference 2", "program"]
    for process, name in names.items():
        generates = [event for event in events if event.get("cat") == "generate" and event["pid"] == process]
        assert len(generates) == 7 if name == "program" else generates, name


def test_configuration_may_ask_for_several(capsys: pytest.CaptureFixture[str]) -> None:
    Path("semc.toml").write_text('engine = "reference:2"\n', encoding="utf-8")
    assert main(["run", "main.sem", "--json", "--trace", "t.json"]) == 0
    assert "engine reference 2" in Path("t.json").read_text()
    capsys.readouterr()


def test_groups_are_placed_at_compile_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "main.sem", "--engine", "reference:3", "--reports"]) == 0
    captured = capsys.readouterr()
    assert "engines = 1" in captured.out
    assert "place: 0 groups stay together on fewer engines than there are, 1 are spread as far" in captured.err
    assert main(["compile", "main.sem", "--engine", "reference", "--reports"]) == 0
    assert "place: one engine for each model: nothing to place" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["reference:0", "reference:x", "torch:", "torch:-1", "reference:1_0", "simulate:²"])
def test_a_wrong_number_is_an_error(capsys: pytest.CaptureFixture[str], engine: str) -> None:
    assert main(["run", "main.sem", "--engine", engine]) == 2
    assert f"`{engine}` is no engine" in capsys.readouterr().err


def test_one_engine_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--engine", "reference:2"]) == 2
    assert "measures one engine" in capsys.readouterr().err


def test_torch_engines_share_their_weights(capsys: pytest.CaptureFixture[str]) -> None:
    with EnginePool(prefix_cache=True) as pool:
        group = pool.engines(ModelChoice("torch", "cpu", {"": None}, count=2))[""]
        first, second = group.members  # type: ignore[attr-defined]
        assert first._runner._model is second._runner._model
        assert max(first.kv_slots, second.kv_slots) <= MOST_KV_SLOTS / 2
    Path("main.sem").write_text(PROGRAM.replace(" using big", ""), encoding="utf-8")
    one, two = run(capsys, "torch"), run(capsys, "torch:2")
    assert two["outputs"] == one["outputs"]  # the same kernels on the same weights
