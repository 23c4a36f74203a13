"""Every `diagnostics/*.sem` gives exactly the text in the `.txt` beside it; `UPDATE_EXPECTED=1` writes those files.

Files that others use lie in `diagnostics/used/`.
"""

import importlib.util
import os
from pathlib import Path

import pytest
from semlang.frontend.parser import parse_file
from semlang.ir.diagnostics import Diagnostics
from semlang.ir.render_diagnostics import render_all

FOLDER = Path(__file__).with_name("diagnostics")
CASES = sorted(path.name for path in FOLDER.glob("*.sem"))


def diagnose(name: str) -> str:
    """The rendered diagnostics of a file in the current folder."""
    diagnostics = Diagnostics()
    if importlib.util.find_spec("semlang.frontend.compile") is not None:
        from semlang.frontend.compile import check_path

        check_path(name, diagnostics)
    else:
        parse_file(name, diagnostics)
    return render_all(diagnostics)


@pytest.mark.parametrize("name", CASES)
def test_diagnostics(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    expected = Path(name).with_suffix(".txt")
    found = diagnose(name)
    if os.environ.get("UPDATE_EXPECTED"):
        expected.write_text(found, encoding="utf-8")
    assert expected.exists(), f"no {expected}: run with UPDATE_EXPECTED=1 and read what it writes"
    assert found == expected.read_text(encoding="utf-8")


def test_no_expectation_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {Path(name).stem for name in CASES}
