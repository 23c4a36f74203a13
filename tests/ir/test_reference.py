"""docs/ops.md is what the definitions say, and the definitions say enough."""

from pathlib import Path

from semlang.ir.dialects import DEFINITIONS
from semlang.ir.reference import reference
from semlang.ir.rules.attributes import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "ops.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run python -m semlang.ir.reference > docs/ops.md"


def test_definitions_are_complete() -> None:
    for name, definition in DEFINITIONS.items():
        assert definition.name == name and definition.summary.endswith(".") and definition.levels
        names = [attribute.name for attribute in definition.attributes]
        assert len(names) == len(set(names))
        assert all(attribute.kind in KINDS and attribute.summary for attribute in definition.attributes)
        assert definition.regions or not definition.keywords
