"""The checklist names tests that there are."""

import re

from running import ROOT

PAGE = ROOT / "docs" / "rca-checklist.md"
ROWS = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\| \d+ \|", line)]


def test_every_feature_has_its_row_and_every_row_its_tests() -> None:
    assert [int(row.split("|")[1]) for row in ROWS] == list(range(1, 43))
    for row in ROWS:
        tests = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row)
        assert bool(tests) != ("*not done*" in row), row
        for file, name in tests:
            source = (ROOT / "tests" / "rca" / file).read_text(encoding="utf-8")
            assert f"def {name}(" in source, f"{file}::{name}"


def test_every_file_that_is_named_is_there() -> None:
    for name in re.findall(r"`((?:\w+/)*[\w*]+\.(?:py|sem|json))`", PAGE.read_text(encoding="utf-8")):
        folder = ROOT if name.startswith("benchmarks/") else ROOT / "programs" / "rca"
        assert name.startswith("test_") or list(folder.glob(name)), name
