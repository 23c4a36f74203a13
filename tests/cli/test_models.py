"""Which model an alias is: flags, environment, configuration, source; and models that cannot be had."""

import sys
from pathlib import Path

import pytest
from semlang.backend.embedded import embedded_model_directory
from semlang.backend.torch_engine.errors import ModelLoadError
from semlang.cli.main import main

GREETING = """
semantic Greet(name: text) -> greeting: text {
  \"\"\"Greet {{input:name}}: {{output:greeting max_tokens=8}}\"\"\"
}

program Main(name: text = "Ada") -> greeting: text { return Greet(name) }
"""


@pytest.fixture(autouse=True)
def inside_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEMC_MODEL", raising=False)


def write(name: str, text: str) -> None:
    """Write a file into the current folder."""
    Path(name).write_text(text, encoding="utf-8")


def test_aliases_are_bound_by_flag_then_environment_then_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                              capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", 'model small = "someone/tiny"\n' + GREETING.replace("text {\n", "text using small {\n"))
    assert main(["run", "main.sem", "--engine", "reference"]) == 0  # computes without any model
    capsys.readouterr()
    for arguments, settings, message in [
        (["--model", "small=./nowhere"], "", "there is no directory ./nowhere"),
        ([], '[models]\nsmall = "./elsewhere"', "there is no directory ./elsewhere"),
        (["--model", "small=./nowhere"], '[models]\nsmall = "./elsewhere"', "there is no directory ./nowhere"),
        (["--model", "smal=./nowhere"], "", "did you mean `small`?"),
        (["--model", "small=a", "--model", "small=b"], "", "`--model` is given twice for `small`"),
        (["--model", "small="], "", "names no model"),
        (["--config", "nowhere.toml"], "", "cannot read nowhere.toml"),
        ([], "engin = 'torch'", "unknown key `engin`"),
        ([], "engine = ", "is not valid TOML"),
        ([], "engine = 3", "`engine` must be text"),
        ([], "models = 3", "must be a table"),
        ([], 'dtype = "int3"', "unknown dtype `int3`"),
        (["--dtype", "int3"], "", "invalid choice: 'int3'"),
        ([], 'weights = "int3"', "unknown weights `int3`"),
        (["--weights", "int3"], "", "invalid choice: 'int3'"),
    ]:
        write("semc.toml", settings)
        assert main(["run", "main.sem", "--engine", "reference", *arguments]) == 2, (arguments, settings)
        assert message in capsys.readouterr().err


def test_the_default_model_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", GREETING)
    monkeypatch.setenv("SEMC_MODEL", "./from-environment")
    assert main(["run", "main.sem"]) == 2
    assert "there is no directory ./from-environment" in capsys.readouterr().err
    assert main(["run", "main.sem", "--model", "./from-flag"]) == 2
    assert "there is no directory ./from-flag" in capsys.readouterr().err


def test_the_engine_of_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", GREETING)
    write("semc.toml", 'engine = "reference"')
    assert main(["run", "main.sem"]) == 0
    assert "embedded" not in capsys.readouterr().err
    write("semc.toml", 'engine = "abacus"')
    assert main(["run", "main.sem"]) == 2
    assert "there is no engine `abacus`" in capsys.readouterr().err


def test_the_dtype_is_that_of_the_flag_then_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def engine(model: str | None, device: str, dtype: str, **others: object) -> object:
        asked.append(dtype)
        raise ModelLoadError("none here")

    monkeypatch.setattr("semlang.backend.torch_engine.engine.torch_engine", engine)
    write("main.sem", GREETING)
    for arguments, settings in [([], ""), ([], 'dtype = "float16"'), (["--dtype", "float32"], 'dtype = "float16"')]:
        write("semc.toml", settings)
        assert main(["run", "main.sem", *arguments]) == 2
    assert asked == ["auto", "float16", "float32"]


def test_weights_in_8_bits_are_asked_for_by_flag_or_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def engine(*model: object, **options: object) -> object:
        asked.append(options["weights"])
        raise ModelLoadError("none here")

    monkeypatch.setattr("semlang.backend.torch_engine.engine.torch_engine", engine)
    write("main.sem", GREETING)
    for arguments, settings in [([], ""), ([], 'weights = "int8"'), (["--weights", "int8"], ""),
                                (["--weights", "stored"], 'weights = "int8"')]:
        write("semc.toml", settings)
        assert main(["run", "main.sem", *arguments]) == 2
    assert asked == [None, "int8", "int8", None]


def test_the_embedded_model_says_that_it_writes_noise(capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", GREETING)
    assert main(["run", "main.sem"]) == 0
    captured = capsys.readouterr()
    assert "semc: the embedded default model writes noise; name a real one with --model DIR|ID\n" in captured.err
    assert "semc: 1 call, " in captured.err


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write("main.sem", GREETING)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["run", "main.sem"]) == 2
    shown = capsys.readouterr().err
    assert "the torch engine needs a package that is not installed: torch" in shown
    assert "pip install 'semlang[torch]'" in shown


def test_an_alias_runs_on_the_model_that_it_is_bound_to(capsys: pytest.CaptureFixture[str]) -> None:
    directory = embedded_model_directory()
    Path(directory.name).symlink_to(directory)
    outputs = []
    write("main.sem", GREETING)
    assert main(["run", "main.sem"]) == 0
    outputs.append(capsys.readouterr().out)
    write("main.sem", 'model small = "someone/tiny"\n' + GREETING.replace("text {\n", "text using small {\n"))
    for arguments, settings in [
        (["--model", f"small={directory}"], ""),
        ([], f'[models]\nsmall = "{directory}"'),
        ([], f'device = "cpu"\nengine = "torch"\n[models]\nsmall = "{directory.name}"'),
    ]:
        write("semc.toml", settings)
        assert main(["run", "main.sem", *arguments]) == 0
        captured = capsys.readouterr()
        assert "noise" not in captured.err
        outputs.append(captured.out)
    assert len(set(outputs)) == 1
