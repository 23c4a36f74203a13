"""The example programs give the same outputs at every optimization level, on every engine."""

import json
from pathlib import Path

import pytest
from semlang.cli.main import main

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(ROOT.glob("programs/*.sem"))


def run(program: Path, level: int, engine: str, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    """The object that `semc run --json` prints."""
    assert main(["run", str(program), f"-O{level}", "--engine", engine, "--seed", "3", "--json"]) == 0
    found: dict[str, dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("engine", ["reference", "torch"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_outputs_are_equal_at_every_level(program: Path, engine: str, monkeypatch: pytest.MonkeyPatch,
                                          capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("SEMC_MODEL", raising=False)
    plain, optimized, fully = (run(program, level, engine, capsys) for level in (0, 1, 2))
    assert plain["outputs"] == optimized["outputs"] == fully["outputs"]
    if engine == "torch":
        return  # which fills run ahead of their use depends on time
    assert plain["stats"]["prompt_tokens"] >= fully["stats"]["prompt_tokens"]  # type: ignore[operator]
    assert plain["stats"]["filled_tokens"] >= optimized["stats"]["filled_tokens"]  # type: ignore[operator]
    assert optimized["stats"]["filled_tokens"] >= fully["stats"]["filled_tokens"]  # type: ignore[operator]


def test_a_shared_preamble_is_computed_once(capsys: pytest.CaptureFixture[str]) -> None:
    stats = run(ROOT / "programs" / "copilot.sem", 2, "reference", capsys)["stats"]
    assert isinstance(stats["filled_tokens"], int) and isinstance(stats["prompt_tokens"], int)
    assert stats["filled_tokens"] < stats["prompt_tokens"] / 2


@pytest.mark.parametrize("level", ["sem", "prompt", "engine"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_printed_programs_run(program: Path, level: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """IR of any level runs as the source does; hosts are found in the folder that the declaration names."""
    file = tmp_path / "printed.sir"
    assert main(["compile", str(program), "--emit", level, "--engine", "reference", "-o", str(file)]) == 0
    assert run(file, 2, "reference", capsys)["outputs"] == run(program, 2, "reference", capsys)["outputs"]
