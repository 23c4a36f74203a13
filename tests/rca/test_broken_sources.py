"""Every connector down, slow, empty, denied or pouring out 100 MB: a report still comes and says what is missing."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx2", reason="the extra `rca` is not installed")
pytest.importorskip("sklearn", reason="the extra `rca` is not installed")

from broken_sources import CONNECTORS, FAILURES, HUNDRED_MEGABYTES, OUTCOMES, SOURCES, BrokenServer, broken
from investigating import SAMPLES, investigate, sample

ALERTS = {"prometheus": "0002.json", "loki": "0035.txt", "elasticsearch": "0035.txt", "kubectl": "0004.json",
          "replay": "0035.txt"}
"""A sample whose handler asks the source that the connector serves."""
GROWTH = 64_000_000
"""Bytes by which the memory of an investigation may grow where its sources pour out 100 MB each."""


@pytest.fixture(autouse=True)
def snapshots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEMC_RCA_SNAPSHOTS", str(tmp_path / "snapshots"))


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server that fails as the test's parameters say."""
    connector, failure = (request.node.callspec.params[name] for name in ("connector", "failure"))
    if connector not in ("prometheus", "loki", "elasticsearch"):
        yield ""
        return
    server = BrokenServer(connector, failure)
    yield server.url
    server.close()


def sources_with(connector: str, options: dict[str, Any]) -> str:
    """The samples' recording, but for what one connector serves."""
    replay = {"connector": "replay", "directory": str(SAMPLES / "telemetry")}
    return json.dumps({SOURCES[connector]: options, "*": replay})


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("connector", CONNECTORS)
def test_a_report_comes_and_says_what_is_missing(connector: str, failure: str, server: str, tmp_path: Path) -> None:
    sources = sources_with(connector, broken(connector, failure, tmp_path, server))
    report = investigate(sample(ALERTS[connector]), sources, n=1, deadline=0.4 if failure == "slow" else 30.0)
    concerned = [piece for piece in report["evidence"] if piece["source"] == SOURCES[connector]]
    too_large = connector == "replay" and failure == "huge"  # a recording is read as a whole, or not at all
    expected = "error" if too_large else OUTCOMES[failure]
    assert concerned and {piece["outcome"] for piece in concerned} == {expected}
    for piece in concerned:
        (said,) = [line for line in report["missing"] if line.startswith(f"{piece['id']} ")]
        if expected == "ok":
            assert f"only the ends of {HUNDRED_MEGABYTES} bytes were read" in said
            assert len(piece["text"]) < 10_000
        else:
            assert f"{SOURCES[connector]}: {expected}, " in said
    assert report["conclusion"]["claim"] and report["findings"]
    assert (report["ending"] == "nothing collected") == all(e["outcome"] != "ok" for e in report["evidence"])


def test_all_sources_down_at_once() -> None:
    down = "http://127.0.0.1:9"
    sources = json.dumps({
        "metrics": {"connector": "prometheus", "url": down}, "logs": {"connector": "loki", "url": down},
        "kubernetes": {"connector": "kubectl", "command": "/nowhere/kubectl"},
        "*": {"connector": "elasticsearch", "url": down}})
    for name in ("0001.json", "0002.json", "0004.json", "0035.txt"):
        report = investigate(sample(name), sources, n=1)
        assert report["ending"] == "nothing collected" and report["cause"] is None
        assert len(report["missing"]) == len(report["evidence"]) > 3 and report["next_steps"]


CHILD = """
import json, resource, sys
from investigating import investigate, sample

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

runs = json.loads(sys.argv[1])
before = 0
for failure in ("empty", "huge"):
    for alert, sources in runs[failure]:
        report = investigate(sample(alert), sources, n=1, deadline=60.0)
        cut = [line for line in report["missing"] if "bytes" in line]
        assert bool(cut) == (failure == "huge"), (failure, report["missing"])
    before = before or peak()
print(peak() - before)
"""


def test_100_megabytes_take_little_memory(tmp_path: Path) -> None:
    kinds = ("prometheus", "loki", "elasticsearch")
    servers = {(kind, failure): BrokenServer(kind, failure) for kind in kinds for failure in ("empty", "huge")}
    try:
        runs = {failure: [
            (ALERTS[c], sources_with(c, broken(c, failure, tmp_path, servers[c, failure].url if c in kinds else "")))
            for c in CONNECTORS] for failure in ("empty", "huge")}
        done = subprocess.run([sys.executable, "-c", CHILD, json.dumps(runs)], capture_output=True, text=True,
                              cwd=Path(__file__).parent, check=False)
    finally:
        for server in servers.values():
            server.close()
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < GROWTH
