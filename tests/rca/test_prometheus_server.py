"""The connector of Prometheus against the real server, where one is installed."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("httpx2", reason="the extra `rca` is not installed")

from semlang.programs.rca.connectors.interface import iso
from semlang.programs.rca.connectors.prometheus import Prometheus
from semlang.programs.rca.outcomes import Answer, Outcome

PROGRAM = shutil.which("prometheus")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no `prometheus` is installed")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert PROGRAM is not None
    folder = tmp_path_factory.mktemp("prometheus")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: itself, static_configs: [{{targets: ['{address}']}}]}}]\n")
    process = subprocess.Popen([
        PROGRAM, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://{address}", folder)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(10)


def query(url: str, expression: str) -> Answer:
    now = time.time()
    return Prometheus(url).query("metrics", expression, iso(now - 60), iso(now + 1), 10.0)


def wait_for(url: str, folder: Path) -> None:
    """Until the server has scraped itself."""
    for _ in range(150):
        if query(url, "up == 1").outcome == Outcome.OK:
            return
        time.sleep(0.2)
    raise AssertionError("the server did not scrape itself within 30 s")


def test_a_real_server_answers(url: str) -> None:
    answer = query(url, 'up{job="itself"}')
    assert answer.outcome == Outcome.OK
    assert (answer.table["series"], answer.table["max"]) == ("1", "1")
    assert "job=itself" in answer.text


def test_a_real_server_has_nothing_to_say(url: str) -> None:
    assert query(url, "no_such_metric").outcome == Outcome.EMPTY


def test_a_real_server_refuses_what_is_no_query(url: str) -> None:
    answer = query(url, "sum(")
    assert answer.outcome == Outcome.ERROR and "parse error" in answer.text


def test_numbers_are_series_too(url: str) -> None:
    assert query(url, "vector(4) / 8").table["max"] == "0.5"
