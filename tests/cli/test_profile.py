"""`semc profile`: what it prints, where it stores, and that other commands use what is stored."""

import json
import os
from pathlib import Path

import pytest
from semlang.backend import profiling
from semlang.backend.cost_fit import PARAMETERS
from semlang.backend.profile_store import Profile, ProfileKey, find_profile, save_profile
from semlang.cli import profiles
from semlang.cli.main import main
from semlang.cli.profile import UNITS
from semlang.passes.cost_model import CostModel

SOURCE = '''
semantic Greet(name: text) -> greeting: text {
  """Greet {{input:name}}: {{output:greeting max_tokens=8}}"""
}

program Main(name: text = "Ada") -> greeting: text { return Greet(name) }
'''


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEMC_MODEL", raising=False)
    monkeypatch.setenv("SEMC_PROFILES", str(tmp_path / "profiles"))
    profiles.stored_profile.cache_clear()
    (tmp_path / "main.sem").write_text(SOURCE, encoding="utf-8")
    return tmp_path / "profiles"


def predicted(capsys: pytest.CaptureFixture[str]) -> tuple[float, str]:
    """The predicted makespan of a run, and what it wrote to stderr."""
    profiles.stored_profile.cache_clear()
    assert main(["run", "main.sem", "--engine", "reference", "--json"]) == 0
    captured = capsys.readouterr()
    return float(json.loads(captured.out)["stats"]["predicted_makespan_s"]), captured.err


def test_profile_measures_stores_and_is_used(capsys: pytest.CaptureFixture[str], store: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    shipped, _ = predicted(capsys)
    assert main(["profile", "--engine", "reference"]) == 0
    text = capsys.readouterr().out
    (path,) = store.iterdir()
    assert str(path) in text and "median" in text and "worst" in text and "one call on a prompt of 8 tokens" in text
    assert all(what in text for what in UNITS.values())

    stored = find_profile(profiles.key_of("reference", None, "cpu"))
    assert stored is not None and predicted(capsys)[0] != shipped
    data = json.loads(path.read_text())
    data["costs"].update({name: 0.0 for name in (*PARAMETERS, "call")}, step=1000.0)
    path.write_text(json.dumps(data))
    slow, error = predicted(capsys)
    assert slow >= 1000 and error == ""
    monkeypatch.setenv("SEMC_PROFILES", "none")
    assert predicted(capsys)[0] == shipped


def test_profile_as_json_and_to_a_file(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    assert main(["profile", "--engine", "reference", "--json", "-o", "mine.json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["path"] == "mine.json" and not store.exists()
    assert {*PARAMETERS, "call", "max_batch", "max_step_tokens"} == set(printed["costs"])
    assert printed["residuals"]["loads"] and printed["residuals"]["median"] <= printed["residuals"]["worst"]
    assert json.loads(Path("mine.json").read_text()) == {k: v for k, v in printed.items() if k != "path"}


def test_a_damaged_profile_is_a_notice(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    shipped, _ = predicted(capsys)
    store.mkdir()
    (store / profiles.key_of("reference", None, "cpu").file_name).write_text("{")
    seconds, error = predicted(capsys)
    assert seconds == shipped
    assert error.count("cannot be used") == 1 and "semc profile" in error and "Traceback" not in error


def test_wrong_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "--engine", "reference", "--model", "small=x"]) == 2
    assert "measures one model" in capsys.readouterr().err
    assert main(["profile", "--engine", "reference", "-o", "missing/folder/x.json"]) == 2
    assert "cannot write missing" in capsys.readouterr().err


def test_where_nothing_can_be_stored_nothing_is_measured(capsys: pytest.CaptureFixture[str], store: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: object) -> None:
        raise AssertionError("measured first")

    monkeypatch.setattr(profiling, "profile_engine", measure)
    for arguments in (["-o", str(store.parent)], ["-o", "/nonexistent/profile.json"], []):
        monkeypatch.setenv("SEMC_PROFILES", str(store.parent / "main.sem"))
        assert main(["profile", "--engine", "reference", *arguments]) == 2
        assert "error[E1104]: cannot write" in capsys.readouterr().err
    assert main(["profile", "--engine", "simulate"]) == 2
    assert "there is nothing to measure" in capsys.readouterr().err
    assert [path.name for path in store.parent.iterdir()] == ["main.sem"]


def test_a_device_is_written_to_and_stays(store: Path) -> None:
    pipe = store.parent / "pipe"
    os.mkfifo(pipe)
    key = ProfileKey("reference", "0" * 16, "cpu")
    profile = Profile(key, CostModel(), 100, {})
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert save_profile(profile, pipe) == pipe and os.read(reader, 1 << 16).startswith(b'{\n  "version"')
    finally:
        os.close(reader)
    assert pipe.is_fifo()
