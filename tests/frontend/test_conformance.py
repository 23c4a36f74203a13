"""Programs that must check without a word, compile and verify: the language by example, and the example programs."""

from pathlib import Path

import pytest
from semlang.frontend.compile import check_file, compile_file, compile_tests
from semlang.ir.definition import Level
from semlang.ir.render_diagnostics import render_all
from semlang.ir.verifier import verify

HERE = Path(__file__).parent
FILES = sorted([*HERE.glob("conformance/*.sem"), *HERE.parents[1].glob("programs/*.sem")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_program(path: Path) -> None:
    assert render_all(check_file(str(path)).diagnostics) == ""
    verify(compile_file(str(path)).module, Level.SEM)
    for test in compile_tests(str(path)).tests:
        verify(test.module, Level.SEM)
        assert test.assertions
