"""Runs the collection stage in this process: it is compiled once for all tests of a worker."""

import atexit
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from semlang.backend.executor import run_module
from semlang.frontend.compile import compile_file
from semlang.ir.core import Module
from semlang.ir.target import Target
from semlang.passes.manager import run_pipeline
from semlang.passes.pipelines import pipeline

ROOT = Path(__file__).parents[2]
BATCH = f"""
use "{ROOT / 'programs' / 'rca' / 'collect.sem'}" as rca

program Batch(alerts: list[text], sources: list[text], deadline: float) -> results: list[text] {{
  return for alert, source in zip(alerts, sources) {{
    let result = rca.Collect(alert, source, deadline)
    yield "${{result}}"
  }}
}}
"""


@lru_cache(maxsize=4)
def compiled(file: Path) -> Module:
    """The program in `file`, at the level that only lowers; the tests of the command line run the default one."""
    module = compile_file(str(file)).module
    run_pipeline(module, pipeline(0), Target())
    return module


def run(file: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of a program that calls no model; it must not fail."""
    result = run_module(compiled(file), {}, dict(arguments), timeout=120).to_json()
    assert result["errors"] == {}, result["errors"]
    assert result["stats"]["calls"] == 0
    outputs: dict[str, Any] = json.loads(json.dumps(result["outputs"]))
    return outputs


@lru_cache(maxsize=1)
def batch_file() -> Path:
    """A program that collects for many alerts in one run."""
    file = Path(tempfile.mkdtemp(prefix="semlang-rca-")) / "batch.sem"
    file.write_text(BATCH, encoding="utf-8")
    atexit.register(shutil.rmtree, file.parent)
    return file


def collect(alerts: Sequence[str], sources: Sequence[str], deadline: float = 20.0) -> list[dict[str, Any]]:
    """What collect.sem gives for each alert with its sources."""
    given = {"alerts": list(alerts), "sources": list(sources), "deadline": deadline}
    return [json.loads(result) for result in run(batch_file(), given)["results"]]
