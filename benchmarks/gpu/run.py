"""Attention over context trees on a GPU: correctness, tiles, times beside other libraries, the roofline, whole engines.

    python benchmarks/gpu/run.py [--only correctness tuning attention decoding engine] [--sides ours …]
                                 [--output FOLDER] [--limit SECONDS] [--dry-run]

Needs torch with CUDA, triton, transformers (for `engine`) and numpy, no network and no installed semlang; FlashInfer
and vLLM's FlashAttention 3 are measured where they can be imported. Every result is checked against float64 before it
is timed. Each section runs by itself and ends in `--limit` seconds; report.md and results.json in the folder ($OUT
unless given) are complete up to now at any time. `--dry-run` does all of it on small sizes in Triton's interpreter,
where times mean nothing.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = {"correctness": "sections", "tuning": "tuning", "attention": "sections", "decoding": "sections",
            "engine": "engine_speed"}
"""Each section and the module with the function of its name."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--sides", nargs="+", metavar="NAME", help="compare only these; see sides.SIDES")
    parser.add_argument("--output", type=Path, default=os.environ.get("OUT"), help="folder for report and results")
    parser.add_argument("--limit", type=float, default=420.0, help="seconds for each section")
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
    import sections
    from findings import Report

    report = Report(Path(options.output) if options.output else None, options.limit)
    describe(report, device)
    report.sides = [side for side in sections.SIDES if not options.sides or side in options.sides]
    for section in options.only:
        report.begin(section)
        getattr(importlib.import_module(SECTIONS[section]), section)(report, device)
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


def describe(report: Any, device: object) -> None:
    import torch
    import triton

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()}, interpreted"
    today = datetime.date.today().isoformat()
    report.line(f"# Attention over context trees: {name}, {today}")
    report.line(f"\ntorch {torch.__version__}, triton {triton.__version__}, Python {platform.python_version()}")


if __name__ == "__main__":
    sys.exit(main())
