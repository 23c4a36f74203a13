"""The model of the RCA programs: they find it by themselves, it fits into a prompt of theirs, and it compares texts."""

import argparse
import json
import random
from pathlib import Path
from typing import Any

import pytest
from semlang.cli.loading import load_unit
from semlang.cli.main import main
from semlang.cli.models import choose_models
from semlang.cli.options import add_models
from semlang.programs.rca.training.questions import choose

RCA = Path(__file__).parents[2] / "programs" / "rca"
MODEL = RCA / "model"
HELD_OUT = [choose(random.Random(f"held out {number}"), 0.1, 4) for number in range(24)]


@pytest.mark.parametrize("program", ["predict.sem", "confidence.sem", "investigate.sem", "react.sem", "batch.sem"])
def test_programs_find_the_model(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEMC_MODEL", raising=False)
    name = "Decisions" if program == "predict.sem" else None
    unit = load_unit(str(RCA / program), name)
    parser = argparse.ArgumentParser()
    add_models(parser)
    for given, expected in (([], MODEL), (["--model", "elsewhere"], Path("elsewhere"))):
        chosen = choose_models(unit.module, {}, parser.parse_args(given), str(RCA / program)).models
        assert {Path(str(model)) for model in chosen.values()} == {expected}


def test_the_model_is_small() -> None:
    config = json.loads((MODEL / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["LlamaForCausalLM"] and config["torch_dtype"] == "bfloat16"
    files = {file.name: file.stat().st_size for file in MODEL.iterdir()}
    assert sum(files.values()) < 8_500_000
    assert files["model.safetensors"] / 2 < 8_000_000  # parameters


def test_held_out_choices_are_better_than_chance(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    arguments = tmp_path / "arguments.json"
    arguments.write_text(json.dumps({"questions": [
        {name: asked.arguments[name] for name in ("summary", "candidates")} for asked in HELD_OUT]}), encoding="utf-8")
    assert main(["run", str(RCA / "predict.sem"), "--program", "Decisions", "--args", str(arguments), "--json"]) == 0
    answers: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["outputs"]["answers"]
    right, chance = 0, 0.0
    for asked, answer in zip(HELD_OUT, answers, strict=True):
        options = {one["letter"]: one["category"] for one in asked.arguments["candidates"]} | {"A": "Unseen incident"}
        assert answer["category"] in options.values()
        assert 1 / len(options) <= answer["confidence"] <= 1.0
        right += answer["category"] == options[asked.answers["letter"]]
        chance += 1 / len(options)
    assert right > 1.5 * chance
