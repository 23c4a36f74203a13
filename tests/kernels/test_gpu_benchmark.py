"""The GPU benchmark runs: without a GPU in Triton's interpreter, on small sizes."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: pip install 'semlang[gpu]'")

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu" / "run.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("TRITON_INTERPRET", None)
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, env=environment,
                          timeout=600, check=False)


def test_dry_run(tmp_path: Path) -> None:
    done = run("--dry-run", "--output", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "report.md").read_text() == done.stdout
    lines = done.stdout.splitlines()
    assert lines[-1] == "All results are right."
    header = next(line for line in lines if line.startswith("| tree |")).split(" | ")
    row = next(line for line in lines if line.startswith("| three levels |")).split(" | ")
    cells = dict(zip(header, row, strict=True))
    for side in ("ours", "ours, batch-invariant", "torch SDPA, copies", "flex_attention"):
        assert float(cells[side]) > 0, done.stdout
    assert sum("| ok |" in line for line in lines) >= 7
    decoded = [line.split(" | ") for line in lines if " | shared | " in line or " | copied | " in line]
    assert len(decoded) == 2 and all(float(row[3].strip(" |")) > 0 for row in decoded)
    ways = [line.split(" | ") for line in lines if line.startswith("| 3 | 24 | ")]
    assert [row[4] for row in ways] == ["all on", "no CUDA graphs, no overlap", "copied prefix"]
    assert all(float(row[5]) > 0 for row in ways)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert {row["section"] for row in rows} == {"correctness", "tuning", "attention", "decoding", "engine"}
    assert all(row["seconds"]["ours"] > 0 for row in rows if row["section"] == "attention")
    assert "16/16/float16" in json.loads((tmp_path / "tuned.json").read_text())["interpreted"]


def test_a_section_ends_in_its_time() -> None:
    done = run("--dry-run", "--only", "attention", "--limit", "0")
    assert done.returncode == 0 and "its time is over" in done.stdout and "| three levels |" not in done.stdout


def test_wrong_results_are_failures() -> None:
    report = runpy.run_path(str(SCRIPT.with_name("findings.py")))["Report"](None)
    report.check("good", 1e-4, 1e-3)
    assert report.failed == 0
    report.check("far", 1e-2, 1e-3)
    report.check("not a number", float("nan"), 1e-3)
    assert report.failed == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_said() -> None:
    done = run("--only", "attention")
    assert done.returncode == 2 and "no CUDA device; --dry-run" in done.stderr
