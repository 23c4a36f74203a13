"""Every `lowering/*.sem` gives exactly the IR in the `.sir` beside it; `UPDATE_EXPECTED=1` writes those files.

The file's own comment says what it shows. Files that others use lie in `lowering/used/`.
"""

import os
from pathlib import Path

import pytest
from semlang.frontend.compile import check_file, compile_file
from semlang.ir.definition import Level
from semlang.ir.parser import parse_module
from semlang.ir.printer import print_module
from semlang.ir.source import SourceFile
from semlang.ir.verifier import verify

FOLDER = Path(__file__).with_name("lowering")
CASES = sorted(path.name for path in FOLDER.glob("*.sem"))


@pytest.fixture(autouse=True)
def in_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)


@pytest.mark.parametrize("name", CASES)
def test_lowering(name: str) -> None:
    unit = compile_file(name)
    verify(unit.module, Level.SEM)
    expected = Path(name).with_suffix(".sir")
    found = print_module(unit.module)
    if os.environ.get("UPDATE_EXPECTED"):
        expected.write_text(found, encoding="utf-8")
    assert expected.exists(), f"no {expected}: run with UPDATE_EXPECTED=1 and read what it writes"
    assert found == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_the_examples_have_no_warnings(name: str) -> None:
    assert [d.message for d in check_file(name).diagnostics] == []


@pytest.mark.parametrize("name", CASES)
def test_the_text_parses_back_with_its_locations(name: str) -> None:
    text = print_module(compile_file(name).module, locations=True)
    assert print_module(parse_module(SourceFile("x.sir", text)), locations=True) == text


def test_no_expectation_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.sir")} == {Path(name).stem for name in CASES}
