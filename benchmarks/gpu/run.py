"""Attention over context trees on a GPU: correctness, times beside other libraries, the roofline, decoding speed.

    python benchmarks/gpu/run.py [--only correctness attention decoding] [--sides ours …] [--output FILE] [--dry-run]

Needs torch with CUDA, triton and numpy, no network and no installed semlang; FlashInfer and vLLM's FlashAttention 3
are measured where they can be imported. Every result is checked against float64 before it is timed. `--dry-run` does
all of it on small sizes in Triton's interpreter, where times mean nothing.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = ("correctness", "attention", "decoding")


class Report:
    """Writes lines to the terminal and to a file; `failed` counts wrong results. `sides`: what is compared."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file
        self.failed = 0
        self.sides: list[str] = []

    def line(self, text: str = "") -> None:
        for place in (sys.stdout, self._file):
            if place is not None:
                print(text, file=place, flush=True)

    def check(self, name: str, error: float, bound: float) -> None:
        """A NaN is too far as well."""
        good = error <= bound
        self.failed += not good
        self.line(f"| {name} | {error:.1e} | {'ok' if good else f'WRONG, more than {bound:.0e}'} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--sides", nargs="+", metavar="NAME", help="compare only these; see sides.SIDES")
    parser.add_argument("--output", type=Path, help="also write the report to this file")
    parser.add_argument("--dry-run", action="store_true", help="small sizes, in Triton's interpreter")
    options = parser.parse_args()
    if options.dry_run:
        os.environ["TRITON_INTERPRET"] = "1"
    make_importable()
    import torch

    if not options.dry_run and not torch.cuda.is_available():
        print("there is no CUDA device; --dry-run shows what would be measured", file=sys.stderr)
        return 2
    device = torch.device("cpu" if options.dry_run else "cuda")
    with open(options.output, "w") if options.output else open(os.devnull, "w") as file:
        report = Report(file)
        describe(report, device)
        import sections

        report.sides = [side for side in sections.SIDES if not options.sides or side in options.sides]
        for section in options.only:
            getattr(sections, section)(report, device)
        report.line(f"\n{report.failed} wrong results" if report.failed else "\nAll results are right.")
    return 1 if report.failed else 0


def make_importable() -> None:
    """The checkout is the package `semlang`; where it is not installed, a link of that name shows it to Python."""
    try:
        import semlang  # noqa: F401
    except ImportError:
        folder = tempfile.mkdtemp()
        os.symlink(ROOT, Path(folder, "semlang"))
        sys.path.insert(0, folder)


def describe(report: Report, device: object) -> None:
    import torch
    import triton

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()}, interpreted"
    today = datetime.date.today().isoformat()
    report.line(f"# Attention over context trees: {name}, {today}")
    report.line(f"\ntorch {torch.__version__}, triton {triton.__version__}, Python {platform.python_version()}")


if __name__ == "__main__":
    sys.exit(main())
