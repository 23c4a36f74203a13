"""Predictions by a model, through predict.sem: with retrieval, and from the names of categories alone."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from .clean import clean
from .labelled import first_occurrences
from .metrics import UNSEEN, Prediction
from .prediction import LETTERS, shown
from .retrieval import Distances, distinct_rows

PROGRAM = Path(__file__).with_name("predict.sem")
COSTS = ("calls", "prompt_tokens", "filled_tokens", "generated_tokens", "makespan_s")


class ModelError(Exception):
    """A run of a program failed; one line."""


@dataclass
class ModelRuns:
    """Runs programs of a file on the engine that the command line names, and adds up what they cost."""

    flags: argparse.Namespace
    file: Path = PROGRAM
    costs: dict[str, float] = field(default_factory=lambda: dict.fromkeys(COSTS, 0.0))

    def run(self, program: str, output: str, **arguments: Any) -> Any:
        """The value of one output. Raises ModelError where it failed."""
        from ...cli.loading import load_unit
        from ...cli.run import compile_and_run

        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "arguments.json")
            path.write_text(json.dumps(arguments), encoding="utf-8")
            unit = load_unit(str(self.file), program)
            flags = argparse.Namespace(**{**vars(self.flags), "file": str(self.file), "arg": [], "args": str(path),
                                          "trace": None, "timeout": None, "level": 2, "allow": []})
            result = compile_and_run(unit, flags, 0.0)
        if output in result.errors:
            raise ModelError(f"{program}: {result.errors[output].location}: {result.errors[output].message}")
        for name in COSTS:
            self.costs[name] += getattr(result.stats, name)
        return result.outputs[output]


def summaries(runs: ModelRuns, texts: Sequence[str]) -> list[str]:
    """One for each text, 120 to 140 words, or the cleaned text."""
    found: list[str] = runs.run("Summaries", "summaries", diagnoses=[clean(text) for text in texts])
    return found


def choose_retrieved(runs: ModelRuns, texts: Sequence[str], distances: Sequence[Distances], categories: Sequence[str],
                     alphas: Sequence[float], k: int = 5) -> list[Prediction]:
    """The model chooses among the nearest of `k` distinct categories and `Unseen incident`. `texts`: summaries."""
    questions = []
    for one, alpha in zip(distances, alphas, strict=True):
        similar = one.similarities(alpha)
        candidates = [
            {"letter": letter, "id": str(row), "category": categories[row], "summary": shown(texts[row]),
             "similarity": float(similar[row])}
            for letter, row in zip(LETTERS, distinct_rows(one.order(alpha), categories, k), strict=False)]
        questions.append({"summary": shown(texts[one.row]), "candidates": candidates})
    return _predictions(runs.run("Decisions", "answers", questions=questions), distances, categories)


def choose_at_random(distances: Sequence[Distances], categories: Sequence[str], alphas: Sequence[float], seed: int,
                     k: int = 5) -> list[Prediction]:
    """Any of the options that the model has, `Unseen incident` among them: what a choice is worth by itself."""
    random, new, found = Random(seed), first_occurrences(categories), []
    for one, alpha in zip(distances, alphas, strict=True):
        options = [UNSEEN, *(categories[row] for row in distinct_rows(one.order(alpha), categories, k))]
        found.append(Prediction(categories[one.row], random.choice(options), 1 / len(options), new[one.row]))
    return found


def choose_names(runs: ModelRuns, texts: Sequence[str], distances: Sequence[Distances],
                 categories: Sequence[str]) -> list[Prediction]:
    """The model chooses among all categories so far, without examples."""
    questions = [{"summary": shown(texts[one.row]), "known": sorted(set(categories[:one.row]))} for one in distances]
    return _predictions(runs.run("Names", "answers", questions=questions), distances, categories)


def _predictions(answers: Sequence[dict[str, Any]], distances: Sequence[Distances],
                 categories: Sequence[str]) -> list[Prediction]:
    new = first_occurrences(categories)
    return [Prediction(categories[one.row], answer["category"] or UNSEEN, answer["confidence"], new[one.row])
            for one, answer in zip(distances, answers, strict=True)]
