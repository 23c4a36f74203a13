"""Our engine beside its peers on one machine: the same weights, the same prompts, greedy, equal numbers of tokens.

    python benchmarks/engine/run.py [--table bfloat16|int8|float32] [--workloads abcde] [--engines semlang,vllm,…]
        [--repeats 5] [--output FILE.md] [--json FILE]

All engines are loaded at once, each in a process of its own, and take turns. Loading, compiling and warming up are not
timed; priming an engine with what prompts share is. The limits of the machine are measured before and after. What is
not installed is named; `install_peers.py` installs it. docs/engine-benchmark.md explains the tables.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from comparison import WARM_UP_SCALE, Comparison, Contestant, start
from floors import Machine, ModelShape, Storage, floor_seconds
from forms import FormError, forms_directory, make_form
from made_model import model_directory
from peers import OURS, PEERS, default_peers_directory
from report_file import replace_section
from table import Results, details, notes, summary
from workloads import SHAPES, VOCABULARY, Shape, make_shapes

FOLDER = Path(__file__).parent
TABLES = {"bfloat16": ("bfloat16", "same"), "int8": ("bfloat16", "int8"), "float32": ("float32", "same")}
"""Data type and kind of weights."""
TITLES = {"bfloat16": "bfloat16", "int8": "Weights of 8 bits", "float32": "float32"}
LIMITS = {"bfloat16": 30.0, "int8": 30.0, "float32": 120.0}
"""Seconds that a run may take; in float32 the slowest engine is the reference for tokens."""


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that engines are ended
    shapes = make_shapes(options.workloads, options.scale)
    tell(f"load of the machine before: {os.getloadavg()[0]:.1f}")
    before = limits(options.threads)
    logs = Path(tempfile.mkdtemp(prefix="semlang-engine-benchmark-"))
    tell(f"messages of the engines: {logs}")
    contestants, missing = gather(options, shapes, logs)
    comparison = Comparison(contestants, shapes, os.cpu_count() or 1, tell)
    try:
        comparison.load_all()
        comparison.trial(options.limit or LIMITS[options.table])
        comparison.repeat(options.repeats, options.slow_factor, options.limit or LIMITS[options.table])
    finally:
        comparison.end()
    after = limits(options.threads)
    results = collect(options, comparison, missing, best_of(before, after))
    text = "\n".join(render(options, results, before, after))
    print(text)
    if options.output:
        replace_section(options.output, TITLES[options.table], text)
    if options.json:
        options.json.write_text(json.dumps(as_json(results, before, after), indent=1))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--table", choices=TABLES, default="bfloat16")
    parser.add_argument("--workloads", default="".join(SHAPES), help="letters of " + "".join(SHAPES))
    parser.add_argument("--engines", default=",".join(PEERS), help="names, separated by commas")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--limit", type=float, help="seconds that one run may take")
    parser.add_argument("--slow-factor", type=float, default=3.0,
                        help="engines that took so many times the fastest one's time are not run again")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies all lengths, for a quick try")
    parser.add_argument("--output", type=Path, help="Markdown file whose section for this table is replaced")
    parser.add_argument("--json", type=Path, help="file for all measurements")
    parser.add_argument("--peers-directory", type=Path, default=default_peers_directory())
    options = parser.parse_args()
    options.engines = options.engines.split(",")
    for what, given, known in (("workload", options.workloads, SHAPES), ("engine", options.engines, PEERS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"there is no {what} {', '.join(unknown)}; known: {', '.join(known)}")
    return options


def gather(options: argparse.Namespace, shapes: list[Shape], logs: Path) -> tuple[list[Contestant], dict[str, str]]:
    """The engines that are installed and can do this table, and why the others are missing."""
    dtype, weights = TABLES[options.table]
    warm_up = make_shapes("a", WARM_UP_SCALE * options.scale, "warm-up ")
    every = {shape.name: shape for shape in shapes + warm_up}
    load = {"model": str(model_directory(dtype)), "dtype": dtype, "weights": weights, "threads": options.threads,
            "folder": str(forms_directory()), "vocabulary": VOCABULARY,
            "shapes": [asdict(shape) for shape in every.values()]}
    contestants, missing = [], {}
    for name in options.engines:
        peer = PEERS[name]
        python = peer.python(options.peers_directory)
        if weights == "int8" and not peer.int8:
            continue
        if python is None:
            missing[name] = "not installed"
            continue
        try:
            if form := peer.forms.get((dtype, weights)):
                make_form(form, options.peers_directory)
        except FormError as error:
            missing[name] = str(error)
            continue
        contestants.append(start(peer, python, options.peers_directory, load, every, logs))
    return contestants, missing


def limits(threads: int) -> dict[str, float]:
    """See limits.py."""
    done = subprocess.run([sys.executable, str(FOLDER / "limits.py"), "--threads", str(threads)], check=True,
                          capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    tell("limits: " + ", ".join(f"{name} {value / 1e9:.1f} G/s" for name, value in found.items()))
    return found


def best_of(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Limits are what has been reached."""
    return {name: max(value, after[name]) for name, value in before.items()}


def collect(options: argparse.Namespace, comparison: Comparison, missing: dict[str, str],
            measured: dict[str, float]) -> Results:
    dtype, weights = TABLES[options.table]
    machine = Machine(measured["bandwidth"], measured[dtype], measured[dtype])
    storage = Storage(4.0, 4.0) if dtype == "float32" else Storage(2.0, 2.0)
    if weights == "int8":
        machine = Machine(measured["bandwidth"], max(measured["int8"], measured[dtype]), measured[dtype])
        storage = Storage(1.0, 2.0)
    model = ModelShape.of(json.loads((model_directory(dtype) / "config.json").read_text()))
    floors = {shape.name: floor_seconds(shape, model, storage, machine) for shape in comparison.shapes}
    titles = {}
    for contestant in comparison.contestants:
        if contestant.unusable and not any(cells[contestant.peer.name].measured for cells in comparison.cells.values()):
            missing[contestant.peer.name] = contestant.unusable
        else:
            titles[contestant.peer.name] = contestant.title
    reference = None
    if options.table == "float32":
        reference = {name: outputs for name, cells in comparison.cells.items()
                     for engine in ("transformers-expanded", "transformers")
                     if engine in cells and (outputs := cells[engine].outputs) is not None}
    return Results(comparison.shapes, comparison.cells, titles, floors, missing, reference)


def render(options: argparse.Namespace, results: Results, before: dict[str, float],
           after: dict[str, float]) -> list[str]:
    """The section of this table."""
    dtype, weights = TABLES[options.table]
    pairs = [f"{name} {before[name] / 1e9:.1f} and {after[name] / 1e9:.1f}" for name in before]
    return [
        f"{datetime.datetime.now():%Y-%m-%d %H:%M}; {processor()}, {os.cpu_count()} cores, {options.threads} threads, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}; "
        f"{'weights of 8 bits, ' if weights == 'int8' else ''}{dtype}; at most {options.repeats} repeats in turns"
        f"{f'; lengths × {options.scale:g}' if options.scale != 1 else ''}.", "",
        f"Limits, measured before and after, GB/s and G operations/s: {'; '.join(pairs)}.", "",
        *summary(results), "", *notes(results), "", *details(results)]


def processor() -> str:
    """Its name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def as_json(results: Results, before: dict[str, float], after: dict[str, float]) -> dict[str, Any]:
    cells = {workload: {engine: {key: value for key, value in asdict(cell).items() if key != "outputs"}
                        for engine, cell in engines.items()} for workload, engines in results.cells.items()}
    return {"limits": [before, after], "floors": dict(results.floors), "engines": dict(results.titles),
            "missing": dict(results.missing), "cells": cells, "ours": OURS}


def tell(text: str) -> None:
    """Progress, not the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
