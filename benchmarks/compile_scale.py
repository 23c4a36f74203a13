"""How the time and memory of compiling grow with the program.

For each kind of program (a straight line of distinct calls; maps, branches and folds around distinct calls) and each
size the whole command `semc compile -O2` runs in a fresh process. Printed are the processor seconds of the passes
alone and of the whole command (parse, check, passes, print), the peak memory, and the exponents of their growth
between neighbouring sizes and over all (1.0 is linear). Last, the whole command for a `for` over 10 and over
1,000,000 elements.

    python benchmarks/compile_scale.py [--calls 1000 10000 100000] [--repeats 1]
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

COMMAND = """
import sys, time
from semlang.cli.main import main
from semlang.passes import manager

run, spent = manager._Run.run, []

def timed(self):
    start = time.process_time()
    try:
        return run(self)
    finally:
        spent.append(time.process_time() - start)

manager._Run.run = timed
status = main(sys.argv[1:])
print(sum(spent), time.process_time())
raise SystemExit(status)
"""
"""The command, with the processor time of its pipeline and of all of it printed at the end."""


@dataclass(frozen=True)
class Cost:
    """What one compile took: processor seconds of the passes and of the command, peak memory in MiB."""

    passes: float
    command: float
    peak: int


def straight_line(calls: int) -> str:
    """Distinct calls, so that none merge; one in four continues an earlier result."""
    lines = [f"  let v{n} = F{n % 3}({f'v{n - 3}' if n % 4 == 3 else _quoted(n)})" for n in range(calls)]
    return _program(lines, [f"v{n}" for n in range(calls)])


def nested(calls: int) -> str:
    """Distinct calls in maps, in maps inside maps, in branches and one after the other."""
    lines, results = [], []
    for n in range(0, calls, 5):
        lines.append(f"  let v{n} = F{n % 3}({f'v{n - 5}' if n else 'a'} + {_quoted(n)})")
        lines.append(f"  let m{n} = for x in xs {{ F{(n + 1) % 3}(x + {_quoted(n + 1)}) }}")
        lines.append(f"  let b{n} = if c {{ F{(n + 2) % 3}({_quoted(n + 2)}) }} else {{ F0({_quoted(n + 3)}) }}")
        lines.append(f"  let k{n} = for x in xs {{ for y in m{n} {{ F{(n + 1) % 3}(x + y + b{n}) }} }}")
        results += [f"v{n}", f"b{n}", f"join(m{n})", f"join(flatten(k{n}))"]
    return _program(lines, results)


def _quoted(number: int) -> str:
    return f'"item {number}"'


def _program(lines: list[str], results: list[str]) -> str:
    functions = "\n".join(
        f'semantic F{i}(x: text) -> y: text {{\n  """\n  You are expert number {i}.\n  Input: {{{{input:x}}}}\n'
        f'  Output: {{{{output:y max_tokens=8}}}}\n  """\n}}\n'
        for i in range(3)
    )
    body = "\n".join(lines)
    return (f"{functions}\nprogram Main(a: text, c: bool, xs: list[text]) -> all: list[text] {{\n{body}\n"
            f"  return [{', '.join(results)}]\n}}\n")


def mapped(elements: int) -> str:
    """A program with one map over `elements` elements."""
    return (
        'semantic F(x: int) -> y: text {\n  """\n  Number {{input:x}}: {{output:y max_tokens=8}}\n  """\n}\n'
        f"program Main() -> all: list[text] {{\n  return for i in range({elements}) {{ F(i) }}\n}}\n"
    )


def measure(source: str, repeats: int) -> Cost:
    """Medians over fresh processes; the peak of all."""
    with tempfile.TemporaryDirectory() as folder:
        path, output = Path(folder, "program.sem"), Path(folder, "out.txt")
        path.write_text(source)
        command = [sys.executable, "-c", COMMAND, "compile", str(path), "--emit", "engine", "-O2",
                   "-o", str(Path(folder, "out.sir"))]
        passes, whole, peak = [], [], 0
        for _ in range(repeats):
            with output.open("w") as stream:
                process = subprocess.Popen(command, env={**os.environ, "PYTHONSAFEPATH": "1"}, stdout=stream,
                                           stderr=subprocess.DEVNULL)
                _, status, usage = os.wait4(process.pid, 0)
            if os.waitstatus_to_exitcode(status) != 0:
                raise SystemExit(f"semc compile failed with status {status}")
            spent, total = map(float, output.read_text().split())
            passes.append(spent)
            whole.append(total)
            peak = max(peak, usage.ru_maxrss // 1024)
        return Cost(statistics.median(passes), statistics.median(whole), peak)


def exponent(first: float, second: float, sizes: tuple[int, int]) -> float:
    """The power of the size with which a cost grows."""
    return math.log(second / first) / math.log(sizes[1] / sizes[0])


def table(name: str, make: Callable[[int], str], sizes: list[int], repeats: int) -> None:
    """Measure one kind of program and print its rows and exponents."""
    print(f"{name}\n{'calls':>9}  {'passes s':>9}  {'command s':>9}  {'peak MiB':>9}  {'exponents':>12}", flush=True)
    start_up = measure(make(5), repeats)
    costs: list[Cost] = []
    for number, calls in enumerate(sizes):
        found = measure(make(calls), repeats)
        growth = ""
        if number:
            pair = sizes[number - 1], calls
            growth = (f"{exponent(costs[-1].passes, found.passes, pair):.2f}, "
                      f"{exponent(costs[-1].command - start_up.command, found.command - start_up.command, pair):.2f}")
        costs.append(found)
        print(f"{calls:>9}  {found.passes:>9.2f}  {found.command:>9.2f}  {found.peak:>9}  {growth:>12}", flush=True)
    if len(sizes) > 1:
        ends = sizes[0], sizes[-1]
        passes = exponent(costs[0].passes, costs[-1].passes, ends)
        command = exponent(costs[0].command - start_up.command, costs[-1].command - start_up.command, ends)
        print(f"from {ends[0]:,} to {ends[1]:,} calls: exponent {passes:.2f} of the passes, {command:.2f} of the "
              f"command (start-up of {start_up.command:.2f} s taken off)")


def main() -> None:
    """Run all sizes and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    table("straight line of distinct calls", straight_line, arguments.calls, arguments.repeats)
    table("maps, maps in maps, branches and a chain", nested, arguments.calls, arguments.repeats)
    few, many = (measure(mapped(n), arguments.repeats).command for n in (10, 1_000_000))
    print(f"for over 10 elements {few:.2f} s, over 1,000,000 elements {many:.2f} s: ratio {many / few:.2f}")


if __name__ == "__main__":
    main()
