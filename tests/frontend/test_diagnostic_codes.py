"""Each code that the frontend raises is explained once, and each that is explained is raised."""

import re
from pathlib import Path

from semlang.frontend import diagnostic_codes
from semlang.frontend.diagnostic_codes import DIAGNOSTIC_CODES

FRONTEND = Path(diagnostic_codes.__file__).parent


def raised_codes() -> set[str]:
    modules = [path for path in FRONTEND.glob("**/*.py") if path.name != "diagnostic_codes.py"]
    return {code for path in modules for code in re.findall(r'"([EW]0\d{3})"', path.read_text(encoding="utf-8"))}


def test_codes_and_explanations_agree() -> None:
    assert raised_codes() == set(DIAGNOSTIC_CODES)


def test_explanations_are_sentences_in_order() -> None:
    assert all(text.endswith(".") and "\n" not in text for text in DIAGNOSTIC_CODES.values())
    assert [*DIAGNOSTIC_CODES] == sorted(DIAGNOSTIC_CODES)
