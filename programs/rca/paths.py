"""What past investigations looked at: which of their checks this one lacks, and which causes its own speak against."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .clean import without_secrets
from .quoting import visible

AGREEING = 2
"""So many past incidents of a category, and all that made a check, say what its result usually is."""
MOST_UNCHECKED, MOST_INCIDENTS = 8, 5
CHARACTERS = 120
"""Of a check or a result that is kept."""

UNTOLD = frozenset({"error", "denied", "timeout", "unknown", "unreadable", "logs cannot be read", "no node was found",
                    "left to a person", "not possible", ""})
"""Results of checks that were tried and told nothing."""
OUTCOMES = frozenset({"ok", "empty"})
"""Results that say that there was an answer, not what it was."""

Path = Mapping[str, str]
"""Results by check."""


def compare_paths(store: str, incident: Mapping[str, Any], category: str, candidates: Sequence[Mapping[str, Any]],
                  steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`Compared` of report.sem: this path beside those of past incidents of the candidates' categories.

    What lacks is told of incidents of `category`, of the most similar one's where none of them has it. Without a
    history that knows paths, nothing is told.
    """
    from .store import Store, StoreError

    names = [candidate["category"] for candidate in candidates]
    try:
        with Store(store, read_only=True) as history:
            past = history.paths(incident["time"] or None, incident["id"], names)
    except (StoreError, ValueError, OSError, sqlite3.Error):
        past = {}
    here = [kept(step) for step in steps]
    usual = {name: usual_of([dict(path) for path in past.get(name, {}).values()]) for name in names}
    about = category if category in past else names[0] if names else ""
    hypotheses = [hypothesis(name, usual, here, steps) for name in names if usual[name]]
    return {"unchecked": unchecked(past.get(about, {}), {check for check, _ in here}), "hypotheses": hypotheses,
            "next_check": next_check([h["category"] for h in hypotheses if h["status"] != "refuted"], usual, here)}


def kept(step: Mapping[str, Any]) -> tuple[str, str]:
    """Check and result of a step as a history keeps them: one line each, without secrets and identifying values."""
    check, result = (visible(" ".join(without_secrets(step[name]).split()))[:CHARACTERS]
                     for name in ("action", "result"))
    return check, result


def is_check(check: str) -> bool:
    """Scope switches lead to checks and are none."""
    return not check.startswith("scope:")


def usual_of(paths: Sequence[Path]) -> dict[str, str]:
    """The result of each check that all of at least `AGREEING` paths agree on, where it is more than an outcome."""
    results: dict[str, Counter[str]] = {}
    for path in paths:
        for check, result in path.items():
            if is_check(check) and result not in UNTOLD | OUTCOMES:
                results.setdefault(check, Counter())[result] += 1
    return {check: next(iter(counts)) for check, counts in results.items()
            if len(counts) == 1 and counts.total() >= AGREEING}


def hypothesis(name: str, usual: Mapping[str, Path], here: Sequence[tuple[str, str]],
               steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A category and the checks of this path that speak for it and against it.

    For it speaks what is usual for it and not for some other; against it whatever is not as usual.
    """
    agree, differ = [], []
    for (check, result), step in zip(here, steps, strict=True):
        expected = usual[name].get(check)
        if expected is None or result in UNTOLD | OUTCOMES:
            continue
        told = {"action": check, "result": result, "evidence": list(step["evidence"])}
        if result != expected:
            differ.append(told | {"result": f"{result}, was {expected}"})
        elif any(other.get(check, result) != result for other in usual.values()):
            agree.append(told)
    status = "supported" if len(agree) > len(differ) else "refuted" if differ else "open"
    return {"category": name, "status": status, "agree": agree, "differ": differ}


def unchecked(past: Mapping[str, Sequence[tuple[str, str]]], made: set[str]) -> list[dict[str, Any]]:
    """Checks that past incidents made and learnt from and this one did not try, those that most made first."""
    lacking: dict[str, list[tuple[str, str]]] = {}
    for id, path in past.items():
        for check, result in path:
            if is_check(check) and check not in made and result not in UNTOLD:
                lacking.setdefault(check, []).append((id, result))
    ordered = sorted(lacking.items(), key=lambda item: -len(item[1]))[:MOST_UNCHECKED]
    return [{"check": check, "showed": Counter(result for _, result in found).most_common(1)[0][0],
             "incidents": [id for id, _ in found][:MOST_INCIDENTS]} for check, found in ordered]


def next_check(names: Sequence[str], usual: Mapping[str, Path], here: Sequence[tuple[str, str]]) -> str:
    """The check that tells the first two of `names` apart and has no result here; "" if there is none.

    One with a usual result for both comes before one that only the first has.
    """
    if len(names) < 2:
        return ""
    told = {check for check, result in here if result not in UNTOLD | OUTCOMES}
    first, second = usual[names[0]], usual[names[1]]
    telling = [check for check, result in first.items() if check not in told and second.get(check) != result]
    for check in sorted(telling, key=lambda check: check not in second):
        other = f", {second[check]} for {names[1]}" if check in second else f" more than for {names[1]}"
        return f"{check}: {first[check]} speaks for {names[0]}{other}"
    return ""
