"""Everything that `semc explain` says of a program, as data; `explain_text` prints it, `to_json` is `--json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..ir.core import Op, Word, walk
from ..ir.printer import print_literal
from ..ir.source import Site
from .call_rows import DEFAULT_OBJECTIVE, CallRow, call_rows
from .measurement import Measurement
from .prediction import Analysis, Prediction
from .stages import Stage


@dataclass(frozen=True)
class GroupRow:
    """A task group. `size`: calls of one instance, None where the run decides; `batch` likewise."""

    identifier: str
    size: int | None
    objective: str
    batch: int | None
    depth: int | None
    calls: tuple[str, ...]
    """Identifiers of its call sites."""

    def to_json(self) -> dict[str, Any]:
        """The entry of `groups`."""
        return {"id": self.identifier, "size": self.size, "objective": self.objective, "batch": self.batch,
                "depth": self.depth, "calls": list(self.calls)}


@dataclass
class Explanation:
    """A compiled program. `measurement`: of a run, where there was one; `assumed`: what predictions rest on."""

    program: str
    level: int
    engine: str
    calls: list[CallRow]
    groups: list[GroupRow]
    stages: list[Stage]
    analysis: Analysis
    assumed: list[str] = field(default_factory=list)
    measurement: Measurement | None = None

    @property
    def prediction(self) -> Prediction:
        """Of the program as it was compiled."""
        return self.analysis.prediction

    @property
    def baseline(self) -> Prediction:
        """Of the program as -O0 compiles it."""
        return next((s.prediction for s in self.stages if s.prediction is not None), self.prediction)

    def to_json(self) -> dict[str, Any]:
        """The object of `semc explain --json`."""
        measured = self.measurement
        calls = []
        for row in self.calls:
            entry = row.to_json()
            if measured is not None:
                entry["measured"] = measured.call_json(row.op)
            calls.append(entry)
        return {
            "program": self.program, "level": self.level, "engine": self.engine, "calls": calls,
            "groups": [group.to_json() for group in self.groups],
            "passes": [stage.to_json() for stage in self.stages if stage.report is not None],
            "before": self.baseline.to_json(), "predicted": self.prediction.to_json(), "assumed": self.assumed,
            "measured": None if measured is None else measured.to_json(),
        }


def explain(analysis: Analysis, stages: list[Stage], functions: Mapping[Site, str], level: int) -> Explanation:
    """The explanation of a module that has been through all passes."""
    rows = call_rows(analysis, functions)
    return Explanation(analysis.program.symbol, level, analysis.target.engine, rows, group_rows(analysis, rows),
                       stages, analysis, list(dict.fromkeys(map(_assumed, analysis.assumptions))))


def group_rows(analysis: Analysis, rows: list[CallRow]) -> list[GroupRow]:
    """The groups that the program declares and those that its calls name, in order."""
    members: dict[str, list[CallRow]] = {}
    declared: dict[str, Op] = {}
    for op in walk([analysis.program]):
        if op.name == "engine.group":
            declared[op.symbol] = op
            members[op.symbol] = []
    for row in rows:
        if row.group is not None:
            members.setdefault(row.group, []).append(row)
    return [_group(name, declared.get(name), calls) for name, calls in members.items()]


def _group(name: str, op: Op | None, rows: list[CallRow]) -> GroupRow:
    attributes = op.attributes if op is not None else {}
    objective = attributes.get("objective")
    words = print_literal(objective) if isinstance(objective, Word) else (
        rows[0].objective if rows else DEFAULT_OBJECTIVE)
    size, batch, depth = (attributes.get(key) for key in ("size", "batch", "depth"))
    return GroupRow(name, size if isinstance(size, int) else None, words, batch if isinstance(batch, int) else None,
                    depth if isinstance(depth, int) else None, tuple(row.identifier for row in rows))


def _assumed(assumption: Any) -> str:
    op: Op = assumption.op
    if assumption.what == "turns":
        return f"{assumption.value} turns of the loop at {op.location}"
    return f"{assumption.value} tokens for a text inserted at {op.location}"


