"""docs/errors.md is what the source says."""

import importlib.util
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "error_reference.py"


def test_the_page_is_current() -> None:
    spec = importlib.util.spec_from_file_location("error_reference", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script  # dataclasses look their module up
    spec.loader.exec_module(script)
    page: str = script.page()
    assert SCRIPT.with_name("errors.md").read_text(encoding="utf-8") == page, "run docs/error_reference.py"
    sections = page.split("\n### ")[1:]
    assert all(section.partition("\n")[2].strip() for section in sections), "a code without a word about it"
