"""`python -m semlang.programs.rca.evaluate --data incidents.jsonl`: what methods are worth on labelled incidents.

The protocol is online: history grows in the order of time, labels join it after the prediction. Tables are Markdown;
`--json` prints the same as one object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...cli.options import add_models
from ...ir.diagnostics import InputError
from . import metrics, model_methods, retrieval
from .classifiers import BASELINES, Baseline
from .clean import clean
from .embedding import EmbeddingError
from .evaluation_tables import as_markdown
from .labelled import DataError, DataSet, first_occurrences, read_labelled
from .metrics import Prediction
from .prequential import first_judged, predict_offline, predict_online
from .similarity import ALPHAS

VERSION = 1
"""Of the JSON object."""


@dataclass(frozen=True)
class Setting:
    """What is evaluated: a view of a data set from `first` on."""

    data: DataSet
    view: str
    first: int
    protocol: str
    samples: int
    seed: int

    @property
    def categories(self) -> list[str]:
        """True categories in the order of time."""
        return [incident.category for incident in self.data.incidents]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    flags = argparse.ArgumentParser(prog="evaluate", description=(__doc__ or "").split("\n")[0])
    flags.add_argument("--data", required=True, metavar="FILE.jsonl", help="labelled incidents; see labelled.py")
    flags.add_argument("--view", help="a view of the data set, `all`, or parts joined by + (default: report, else all)")
    flags.add_argument("--protocol", choices=("online", "offline"), default="online",
                       help="offline: train once before the first judged incident")
    flags.add_argument("--first", type=int, metavar="N", help="incidents before the first judged one (default: those "
                       "before the test split; 100 of 200 or more; else half)")
    flags.add_argument("--limit", type=int, metavar="N", help="judge so many at most")
    flags.add_argument("--methods", default=",".join(BASELINES), metavar="NAME,…",
                       help=f"baselines (default: all): {', '.join(BASELINES)}; none: --methods=")
    flags.add_argument("--refit-every", type=int, metavar="N",
                       help="train FastText and XGBoost anew after so many incidents (default: 10 and 25); all other "
                            "methods learn from each")
    flags.add_argument("--retrieval", choices=("tfidf", "fasttext"), default="tfidf",
                       help="vectors of the grid, the ceilings and the model's options")
    flags.add_argument("--grid", action="store_true", help="retrieval alone for every K and decay")
    flags.add_argument("--ablation", action="store_true", help="the SVM on every combination of the parts")
    flags.add_argument("--no-summary", action="store_true", help="the model sees cleaned texts instead of summaries")
    flags.add_argument("--samples", type=int, default=metrics.SAMPLES, help="bootstrap samples")
    flags.add_argument("--seed", type=int, default=0, help="of the bootstrap and the run")
    flags.add_argument("--json", action="store_true", help="print one JSON object")
    add_models(flags)
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate and print; 2 where the input is wrong, 1 where the model's run failed."""
    flags = parser().parse_args(argv)
    try:
        report = evaluate(flags)
    except (DataError, EmbeddingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except model_methods.ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report, indent=2, ensure_ascii=False) if flags.json else as_markdown(report))
    return 0


def evaluate(flags: argparse.Namespace) -> dict[str, Any]:
    """Everything that the flags ask for, as the JSON object."""
    data = read_labelled(flags.data)
    first = first_judged(data.incidents) if flags.first is None else flags.first
    if not 0 < first < len(data.incidents):
        raise DataError(f"{flags.data} holds {len(data.incidents)} incidents: --first must leave some before and after")
    if flags.limit is not None:
        data = DataSet(data.incidents[:first + flags.limit], data.views)
    view = flags.view or ("report" if "report" in data.views else "all")
    setting = Setting(data, view, first, flags.protocol, flags.samples, flags.seed)
    texts = data.texts(view)
    new = first_occurrences(setting.categories)
    report: dict[str, Any] = {
        "version": VERSION, "data": flags.data, "view": view, "protocol": flags.protocol, "first": first,
        "incidents": len(data.incidents), "judged": len(data.incidents) - first,
        "categories": len(set(setting.categories)), "unseen": sum(new[first:]), "seed": flags.seed,
        "bootstrap_samples": flags.samples, "methods": {}, "missing": {}}
    for name in [name.strip() for name in flags.methods.split(",") if name.strip()]:
        if name not in BASELINES:
            raise DataError(f"there is no method `{name}`; there are {', '.join(BASELINES)}")
        try:
            report["methods"][name] = run_baseline(setting, BASELINES[name], texts, flags.refit_every)
        except EmbeddingError as error:
            report["missing"][name] = str(error)
    distances = distances_of(setting, texts, flags.retrieval, flags.refit_every)
    add_retrieval(report, setting, distances, flags.retrieval)
    if flags.grid:
        report["grid"] = grid(setting, distances)
    if flags.ablation:
        report["ablation"] = ablation(setting)
    if flags.engine or flags.model:
        add_model(report, setting, texts, distances, flags)
    return report


def run_baseline(setting: Setting, baseline: Baseline, texts: Sequence[str], refit_every: int | None) -> dict[str, Any]:
    """Scores and processor seconds of a baseline."""
    if refit_every is not None and baseline.refit_every > 1:
        baseline = Baseline(baseline.make, refit_every)
    predict = predict_online if setting.protocol == "online" else predict_offline
    outcome = predict(baseline, texts, setting.data.incidents, setting.first)
    every = baseline.refit_every if setting.protocol == "online" else 0
    return {**judge(setting, outcome.predictions), "refit_every": every, "training_s": round(outcome.training_s, 3),
            "predicting_ms": round(1000 * outcome.predicting_s / len(outcome.predictions), 3)}


def judge(setting: Setting, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """F1 under every convention, calibration, risk and coverage."""
    found: dict[str, Any] = {
        convention: {name: asdict(score) for name, score in metrics.f1_scores(
            metrics.under(predictions, convention), setting.seed, setting.samples).items()}
        for convention in metrics.CONVENTIONS}
    given = metrics.under(predictions, "class")
    return {**found, "ece": metrics.expected_calibration_error(given),
            "reliability": metrics.reliability(given), "area_under_risk": metrics.area_under_risk(given),
            "risk_at": {str(share): metrics.risk_at(given, share) for share in (0.2, 0.5, 0.8, 1.0)}}


def distances_of(setting: Setting, texts: Sequence[str], vectors: str,
                 refit_every: int | None) -> list[retrieval.Distances]:
    """Distances for retrieval, always online."""
    if vectors == "tfidf":
        return retrieval.tfidf_distances(texts, setting.data.incidents, setting.first)
    return retrieval.fasttext_distances(texts, setting.data.incidents, setting.first, refit_every or 10)


def add_retrieval(report: dict[str, Any], setting: Setting, distances: Sequence[retrieval.Distances],
                  vectors: str) -> None:
    """The ceilings, and retrieval whose decay is fitted on the past."""
    categories = setting.categories
    began = time.process_time()
    alphas = retrieval.fitted_alphas(distances, categories)
    predictions = retrieval.retrieve_fitted(distances, categories)
    spent = 1000 * (time.process_time() - began) / len(distances)
    plain, distinct = retrieval.ceilings(distances, categories)
    report["ceilings"] = {"vectors": vectors, "k": 5, "plain": plain, "distinct": distinct}
    report["fitted_alpha"] = {str(alpha): alphas.count(alpha) for alpha in ALPHAS}
    report["methods"][f"retrieval only ({vectors}, fitted α)"] = {
        **judge(setting, predictions), "refit_every": 1, "training_s": None, "predicting_ms": round(spent, 3)}


def grid(setting: Setting, distances: Sequence[retrieval.Distances]) -> list[dict[str, float]]:
    """Retrieval alone and its ceilings for each K and α; F1 by the convention `scored`."""
    rows = []
    for k in retrieval.NEIGHBOURS:
        for alpha in ALPHAS:
            scores = metrics.f1_scores(retrieval.retrieve(distances, setting.categories, k, alpha), samples=1)
            plain, distinct = retrieval.ceilings(distances, setting.categories, k, alpha)
            rows.append({"k": k, "alpha": alpha, "micro": scores["micro"].value, "macro": scores["macro"].value,
                         "plain": plain, "distinct": distinct})
    return rows


def ablation(setting: Setting) -> list[dict[str, Any]]:
    """The SVM on every combination of the parts that the data has."""
    rows = []
    for view in setting.data.ablations():
        scores = run_baseline(setting, BASELINES["TF-IDF linear SVM"], setting.data.texts(view), None)["scored"]
        rows.append({"view": view, "micro": scores["micro"], "macro": scores["macro"]})
    return rows


def add_model(report: dict[str, Any], setting: Setting, texts: Sequence[str], distances: Sequence[retrieval.Distances],
              flags: argparse.Namespace) -> None:
    """The model among retrieved options, and the model alone."""
    categories = setting.categories
    runs = model_methods.ModelRuns(flags)
    shown = [clean(text) for text in texts] if flags.no_summary else model_methods.summaries(runs, texts)
    report["summary_cost"] = None if flags.no_summary else {**runs.costs, "incidents": len(texts)}
    alphas = retrieval.fitted_alphas(distances, categories)
    chance = model_methods.choose_at_random(distances, categories, alphas, flags.seed)
    report["methods"]["random option"] = {**judge(setting, chance), "refit_every": 0, "training_s": None,
                                          "predicting_ms": None}
    for name in ("retrieval + model", "model only"):
        runs = model_methods.ModelRuns(flags)
        if name == "model only":
            predictions = model_methods.choose_names(runs, shown, distances, categories)
        else:
            predictions = model_methods.choose_retrieved(runs, shown, distances, categories, alphas)
        report["methods"][name] = {
            **judge(setting, predictions), "refit_every": 0, "training_s": None,
            "predicting_ms": round(1000 * runs.costs["makespan_s"] / len(predictions), 3),
            "cost": {cost: amount / len(predictions) for cost, amount in runs.costs.items()}}


if __name__ == "__main__":
    sys.exit(main())
