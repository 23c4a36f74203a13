"""Results as they come: a page for people and rows for programs, both complete up to now at any time."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


class Report:
    """Writes lines to the terminal and to `FOLDER/report.md`, rows to `FOLDER/results.json`.

    `failed` counts wrong results. `sides`: what is compared. `limit`: seconds that one section may take.
    """

    def __init__(self, folder: Path | None, limit: float = 420.0) -> None:
        self._folder = folder
        self._limit = limit
        self._begun = time.monotonic()
        self._section = ""
        self._lines: list[str] = []
        self._rows: list[dict[str, object]] = []
        self.failed = 0
        self.sides: list[str] = []
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def begin(self, section: str) -> None:
        """What follows belongs to `section`."""
        self._section = section
        self._begun = time.monotonic()

    @property
    def is_late(self) -> bool:
        """Whether the section has used up its time: it says so and ends."""
        return time.monotonic() - self._begun > self._limit

    def line(self, text: str = "") -> None:
        """One line of the page."""
        print(text, flush=True)
        self._lines.append(text)
        if self._folder is not None:
            with (self._folder / "report.md").open("w", encoding="utf-8") as file:
                file.write("\n".join(self._lines) + "\n")

    def row(self, **values: object) -> None:
        """One result, for programs; times in seconds."""
        self._rows.append({"section": self._section, **values})
        self.save("results.json", self._rows)

    def save(self, name: str, values: object) -> None:
        """A file of its own beside the page."""
        if self._folder is not None:
            (self._folder / name).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")

    def check(self, name: str, error: float, bound: float) -> None:
        """A NaN is too far as well."""
        good = error <= bound
        self.failed += not good
        self.line(f"| {name} | {error:.1e} | {'ok' if good else f'WRONG, more than {bound:.0e}'} |")
        self.row(case=name, error=error if error == error else None, bound=bound, good=good)


def stop_late(report: Report) -> bool:
    """Whether a section has to end here; the page says so."""
    if report.is_late:
        report.line("\nThe rest of this section is left out: its time is over.")
        print("a section ran out of time", file=sys.stderr)
    return report.is_late
