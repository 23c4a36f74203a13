"""The list of mutants stays true: each fault can still be made, and the test that is said to notice it exists.

Whether the tests do notice takes many minutes: `SEMC_MUTANTS=1 pytest tests/mutants`, or run.py.
"""

import ast
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from .run import HERE, ROOT, Mutant, mutants, table

ALL = mutants()


def test_there_are_many_with_names_of_their_own() -> None:
    assert len(ALL) >= 20
    assert [name for name, count in Counter(mutant.name for mutant in ALL).items() if count > 1] == []


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_the_fault_can_be_made(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    changed = mutant.mutated(text)
    assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_the_test_exists(mutant: Mutant) -> None:
    path, _, rest = mutant.test.partition("::")
    name, _, case = rest.partition("[")
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^def {name}\(", text, re.MULTILINE)
    case = case.removesuffix("]")
    assert case in text or (ROOT / path).with_name(case).is_file()


def test_the_table_is_that_of_the_list() -> None:
    written = (HERE / "README.md").read_text(encoding="utf-8")
    assert written.endswith(table()), "write it anew: python tests/mutants/run.py --readme"


@pytest.mark.skipif("SEMC_MUTANTS" not in os.environ, reason="takes many minutes; SEMC_MUTANTS=1 runs it")
def test_every_fault_is_noticed() -> None:
    done = subprocess.run([sys.executable, str(HERE / "run.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
