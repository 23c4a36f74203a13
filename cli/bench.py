"""`semc bench`: workloads after those of Parrot, compiled beside request by request, in one run."""

from __future__ import annotations

import argparse
import inspect
import json
from collections import defaultdict
from collections.abc import Callable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import InputError
from . import messages
from .command import Command
from .options import ENGINES, MOST_ENGINES, USAGE, engine_name

if TYPE_CHECKING:
    from ..backend.workloads.sides import Side
    from ..backend.workloads.workload import Workload
    from .bench_report import Comparison

SCALE = "scale"
DEFAULT_COSTS = {"copilot": "a100-7b", "gpts": "a6000-7b", "mixed": "a6000-7b"}
"""Where the paper had a workload on other devices than an A100 with 13 billion parameters."""

MOST_TIMES, MOST_SECONDS = 1000, 86_400
LEAST = 0.0001
MOST = defaultdict(lambda: 1_000_000_000, engines=MOST_ENGINES, cells=64)
"""The largest number that `--set` takes for a size."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="the workload; without it, all are listed")
    parser.add_argument("--engine", type=engine_name, default="simulate",
                        help=f"{', '.join(ENGINES)} (default: simulate; simulate:N for another number of engines)")
    parser.add_argument("--costs", metavar="DEVICE",
                        help="what the steps of simulated engines cost: a100-13b, a100-7b, h100-8b, a6000-7b, embedded "
                             "(default: as in the paper)")
    parser.add_argument("--model", metavar="DIR|ID", help="the model (default: the embedded one)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where the torch engine computes")
    parser.add_argument("--scale", type=fraction, default=1.0, help="multiplies numbers of tokens (default: 1)")
    parser.add_argument("--width", type=fraction, default=1.0, help="multiplies numbers of calls (default: 1)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
                        help="a size of the workload; `semc bench` lists them")
    parser.add_argument("--round-trip", type=seconds, default=0.25, metavar="SECONDS",
                        help="network time of a request, or of a whole program (default: 0.25, about the paper's)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side, with other texts (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="of texts and arrivals (default: 0)")
    parser.add_argument("--trace", metavar="FILE", help="for `scale`: requests of a trace, as CSV of Azure's format "
                                                        "or JSON lines of Mooncake's")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def fraction(text: str) -> float:
    """A positive number, at most `MOST_TIMES`."""
    value = float(text)
    if not 0 < value <= MOST_TIMES:
        raise argparse.ArgumentTypeError(f"{text} is no number above 0 and at most {MOST_TIMES}")
    return value


def seconds(text: str) -> float:
    """A number of seconds, 0 too, at most `MOST_SECONDS`."""
    value = float(text)
    if not 0 <= value <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds from 0 to {MOST_SECONDS}")
    return value


def execute(arguments: argparse.Namespace) -> int:
    """List, or run and print."""
    from ..backend.workloads.catalogue import WORKLOADS

    if arguments.name is None:
        print(overview())
        return 0
    if arguments.repeats < 1:
        raise InputError.of(USAGE, "--repeats must be at least 1")
    if arguments.name == SCALE:
        from .bench_scale import execute_scale, simulate_scale

        return execute_scale(arguments, read_settings(simulate_scale, arguments.settings))
    if arguments.trace is not None:
        raise InputError.of(USAGE, "--trace is for `semc bench scale`")
    if arguments.name not in WORKLOADS:
        close = get_close_matches(arguments.name, [*WORKLOADS, SCALE], 1)
        raise InputError.of(USAGE, f"there is no workload `{arguments.name}`",
                            fix=f"did you mean `{close[0]}`?" if close else "`semc bench` lists them")
    compared = compare(arguments, WORKLOADS[arguments.name])
    print(json.dumps(compared.to_json(), indent=2) if arguments.json else compared.text())
    return 0


def compare(arguments: argparse.Namespace, make: Callable[..., Workload]) -> Comparison:
    """Run all sides of a workload in turns."""
    from ..backend.workloads.sides import COMPILED, NAIVE, PAGED, REQUESTS
    from .bench_report import Comparison
    from .bench_sites import BenchEngines, run_side

    kind, _, count = arguments.engine.partition(":")
    if arguments.costs is not None and kind != "simulate":
        raise InputError.of(USAGE, f"--costs is for simulated engines; those of {kind} are measured")
    site = BenchEngines(kind, arguments.model, arguments.device,
                        arguments.costs or DEFAULT_COSTS.get(arguments.name, "a100-13b"), 1)
    tokenizer, settings = site.tokenizer(), read_settings(make, arguments.settings)
    sides: list[Side] = [COMPILED, REQUESTS, *([PAGED] if site.is_simulated else []), NAIVE]
    comparison: Comparison | None = None
    for repeat in range(arguments.repeats):
        workload = make(tokenizer, scale=arguments.scale, width=arguments.width, seed=arguments.seed + repeat,
                        **settings)
        if comparison is None:
            site = BenchEngines(kind, site.model, site.device, site.costs, int(count) if count else workload.engines)
            comparison = Comparison(workload, site, arguments.round_trip, sides)
        results = {}
        for side in sides:
            messages.progress(f"{workload.name}: {side.name}, {repeat + 1} of {arguments.repeats} …")
            results[side] = run_side(workload, side, site, arguments.round_trip)
        messages.progress("")
        comparison.add(workload, results)
    assert comparison is not None
    return comparison


def read_settings(make: Callable[..., Any], given: list[str]) -> dict[str, Any]:
    """The sizes that `--set` gives, of the types that `make` has them in. Raises InputError."""
    known = sizes_of(make)
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if name not in known or not equals:
            close = get_close_matches(name, known, 1)
            raise InputError.of(USAGE, f"`--set {text}` sets nothing of this workload",
                                fix=f"did you mean `{close[0]}`?" if close else f"it has {', '.join(known)}")
        found[name] = _value(text, value, type(known[name]))
    return found


def _value(text: str, value: str, kind: type) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[value]
        number = kind(value)
    except (KeyError, ValueError):
        raise InputError.of(USAGE, f"`--set {text}`: `{value}` is no {kind.__name__}") from None
    most = MOST[text.partition("=")[0]]
    if not number > 0:
        raise InputError.of(USAGE, f"`--set {text}`: the number must be above 0")
    if not LEAST <= number <= most:
        raise InputError.of(USAGE, f"`--set {text}`: the number must be from {LEAST} to {most}")
    return number


def sizes_of(make: Callable[..., Any]) -> dict[str, Any]:
    """The sizes that a workload has beside `scale`, `width` and `seed`, with their defaults."""
    return {name: parameter.default for name, parameter in inspect.signature(make).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name not in ("scale", "width", "seed")}


def overview() -> str:
    """The workloads, and what `--set` may change in each."""
    from ..backend.workloads.catalogue import WORKLOADS
    from .bench_scale import simulate_scale

    rows = []
    makers: dict[str, Callable[..., Any]] = {**WORKLOADS, SCALE: simulate_scale}
    for name, make in makers.items():
        summary = (inspect.getdoc(make) or "").splitlines()[0]
        sizes = " ".join(f"{key}={str(value).lower()}" for key, value in sizes_of(make).items())
        rows.append(f"  {name:<17}{summary}" + (f"\n{'':19}--set {sizes}" if sizes else ""))
    return "\n".join(["workloads (figures are those of Parrot, OSDI'24):", *rows, "",
                      "`semc bench NAME` compares the compiled program with the same requests one by one."])


COMMAND = Command("bench", "Compare compiled programs with request-by-request clients on workloads after Parrot's.",
                  configure, execute)
