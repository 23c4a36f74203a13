"""A Markdown file of results, one section for each table, so that each can be measured anew by itself."""

from __future__ import annotations

import re
from pathlib import Path

HEAD = """# Engines on a CPU, side by side

Written by `benchmarks/engine/run.py`; docs/engine-benchmark.md says how, and what the columns mean.
"""


def replace_section(path: Path, title: str, text: str) -> None:
    """Write `text` below `## title`, in place of what was there; other sections stay."""
    old = path.read_text(encoding="utf-8") if path.exists() else HEAD
    parts = re.split(r"^(?=## )", old, flags=re.MULTILINE)
    section = f"## {title}\n\n{text}\n"
    sections = [part for part in parts[1:] if part.partition("\n")[0] != f"## {title}"]
    path.write_text("\n".join(part.rstrip("\n") + "\n" for part in (parts[0], *sections, section)), encoding="utf-8")
