"""`--engine simulate`: the texts of the reference engine, in virtual time."""

import json
from pathlib import Path
from typing import Any

import pytest
from semlang.cli.main import main

ROOT = Path(__file__).parents[2]
MAP_REDUCE = str(ROOT / "programs" / "map_reduce_summary.sem")
VIRTUAL = """
host word() -> text from "hosts:word" (pure)

semantic Tell(word: text) -> line: text {
  \"\"\"A line about {{input:word}}: {{output:line max_tokens=8}}\"\"\"
}

program Lines() -> (line: text, word: text) {
  let word = word()
  return Tell(word) @ deadline(1s), word
}
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What `semc run --json` prints."""
    assert main(["run", *arguments, "--json"]) == 0, capsys.readouterr().err
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def counted(stats: dict[str, Any]) -> dict[str, Any]:
    """Everything but what the compiler's own time is."""
    return {name: value for name, value in stats.items() if name != "compile_s"}


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("program", ["map_reduce_summary", "multi_agent_coding", "tree_of_thought", "self_consistency"])
def test_texts_are_those_of_the_reference_engine(program: str, level: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(ROOT / "programs" / f"{program}.sem")
    reference = run(capsys, path, "--engine", "reference", level)
    simulated = run(capsys, path, "--engine", "simulate", level)
    assert simulated["outputs"] == reference["outputs"]
    for name in ("calls", "prompt_tokens", "generated_tokens"):
        assert simulated["stats"][name] == reference["stats"][name]


def test_virtual_seconds_are_the_same_every_time(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    configuration = tmp_path / "semc.toml"
    configuration.write_text("[simulate]\nhost_seconds = 2.5\n")
    flags = (MAP_REDUCE, "--engine", "simulate", "--config", str(configuration))
    first, second = run(capsys, *flags), run(capsys, *flags)
    assert counted(first["stats"]) == counted(second["stats"])
    assert 2.5 < first["stats"]["makespan_s"] < 3.5


def test_more_engines_give_the_same_texts(capsys: pytest.CaptureFixture[str]) -> None:
    one = run(capsys, MAP_REDUCE, "--engine", "simulate")
    four = run(capsys, MAP_REDUCE, "--engine", "simulate:4")
    assert four["outputs"] == one["outputs"]
    assert four["stats"]["generated_tokens"] == one["stats"]["generated_tokens"]


def test_deadlines_count_in_virtual_time(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "hosts.py").write_text("def word():\n    return 'sea'\n")
    (tmp_path / "lines.sem").write_text(VIRTUAL)
    (tmp_path / "semc.toml").write_text("[simulate]\nhost_seconds = 100.0\n")
    result = run(capsys, str(tmp_path / "lines.sem"), "--engine", "simulate")
    assert result["outputs"]["word"] == "sea"
    assert 99.0 < result["stats"]["missed_deadlines"]["line"] < 101


def test_costs_of_another_device(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    texts, seconds = [], []
    for costs in ("a100-13b", "a6000-7b"):
        (tmp_path / "semc.toml").write_text(f'engine = "simulate"\n[simulate]\nhost_seconds = 0\ncosts = "{costs}"\n')
        result = run(capsys, MAP_REDUCE, "--config", str(tmp_path / "semc.toml"))
        texts.append(result["outputs"])
        seconds.append(result["stats"]["makespan_s"])
    assert texts[0] == texts[1]
    assert seconds[0] != seconds[1]


def test_a_run_may_time_out_in_virtual_time(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "semc.toml").write_text("[simulate]\nhost_seconds = 1e6\n")
    code = main(["run", MAP_REDUCE, "--engine", "simulate", "--config", str(tmp_path / "semc.toml"), "--timeout", "9"])
    assert code == 1
    assert "did not end within 9 s" in capsys.readouterr().err


@pytest.mark.parametrize(("table", "message"), [
    ("[simulate]\nengines = 0", "`simulate` has the wrong entry `engines = 0`"),
    ("[simulate]\nhost_seconds = -1", "`simulate` has the wrong entry `host_seconds = -1`"),
    ("[simulate]\nspeed = 1", "`simulate` has the wrong entry `speed = 1`"),
    ("[simulate]\ncosts = 'a100-13'", "there are no costs `a100-13`"),
    ("simulate = 1", "`simulate` must be a table"),
])
def test_wrong_settings(table: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "semc.toml").write_text(table)
    assert main(["run", MAP_REDUCE, "--engine", "simulate", "--config", str(tmp_path / "semc.toml")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["simulate:0", "simulate:x", "simulate:"])
def test_wrong_numbers_of_engines(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", MAP_REDUCE, "--engine", engine]) == 2
    assert "after `simulate:` comes how many engines there are" in capsys.readouterr().err
