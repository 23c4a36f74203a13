"""How compile time grows with the program: parse, check, compile at -O2, verify and print.

Prints seconds and peak memory for straight-line programs of 1,250 to 20,000 calls, the exponent of the growth
(1.0 is linear), and the time for a `for` over 10 and over 1,000,000 elements.

    python benchmarks/compile_scale.py [--calls 20000] [--repeats 3]
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def straight_line(calls: int) -> str:
    """A program of `calls` calls over three functions; one in three continues an earlier result."""
    functions = "\n".join(
        f'semantic F{i}(x: text) -> y: text {{\n  """\n  You are expert number {i}.\n  Input: {{{{input:x}}}}\n'
        f'  Output: {{{{output:y max_tokens=8}}}}\n  """\n}}\n'
        for i in range(3)
    )
    lines = [f"  let v{n} = F{n % 3}({f'v{n - 3}' if n % 3 == 0 and n else 'a'})" for n in range(calls)]
    results = ", ".join(f"v{n}" for n in range(calls))
    body = "\n".join(lines)
    return f"{functions}\nprogram Main(a: text) -> all: list[text] {{\n{body}\n  return [{results}]\n}}\n"


def mapped(elements: int) -> str:
    """A program with one map over `elements` elements."""
    return (
        'semantic F(x: int) -> y: text {\n  """\n  Number {{input:x}}: {{output:y max_tokens=8}}\n  """\n}\n'
        f"program Main() -> all: list[text] {{\n  return for i in range({elements}) {{ F(i) }}\n}}\n"
    )


def measure(source: str, repeats: int) -> tuple[float, float, int]:
    """Median seconds, spread (max - min) and peak memory in MiB of `semc compile` in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "program.sem")
        path.write_text(source)
        command = [sys.executable, "-m", "semlang", "compile", str(path), "--emit", "engine", "-O2", "--verify-each",
                   "-o", str(Path(folder, "out.sir"))]
        seconds, peak = [], 0
        for _ in range(repeats):
            start = time.perf_counter()
            process = subprocess.Popen(command, env={**os.environ, "PYTHONSAFEPATH": "1"})
            _, status, usage = os.wait4(process.pid, 0)
            if os.waitstatus_to_exitcode(status) != 0:
                raise SystemExit(f"semc compile failed with status {status}")
            seconds.append(time.perf_counter() - start)
            peak = max(peak, usage.ru_maxrss // 1024)
        return statistics.median(seconds), max(seconds) - min(seconds), peak


def main() -> None:
    """Run all sizes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    sizes = [max(1, arguments.calls >> shift) for shift in (4, 2, 0)]
    times = []
    print(f"{'calls':>9}  {'median s':>9}  {'spread s':>9}  {'peak MiB':>9}")
    for calls in sizes:
        median, spread, peak = measure(straight_line(calls), arguments.repeats)
        times.append(median)
        print(f"{calls:>9}  {median:>9.2f}  {spread:>9.2f}  {peak:>9}")
    base = measure(straight_line(1), arguments.repeats)[0]
    exponent = math.log((times[-1] - base) / (times[0] - base)) / math.log(sizes[-1] / sizes[0])
    print(f"growth exponent {exponent:.2f} (start-up of {base:.2f} s taken off)")
    few, many = (measure(mapped(n), arguments.repeats)[0] for n in (10, 1_000_000))
    print(f"for over 10 elements {few:.2f} s, over 1,000,000 elements {many:.2f} s: ratio {many / few:.2f}")


if __name__ == "__main__":
    main()
