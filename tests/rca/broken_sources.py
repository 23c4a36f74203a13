"""Sources of telemetry that fail in every way: servers, a program in place of kubectl, recordings."""

import json
import stat
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HUNDRED_MEGABYTES = 100_000_000
BLOCK = b"ERROR connection refused by the other side of this line\n" * 1024
EMPTY = {"prometheus": {"status": "success", "data": {"resultType": "matrix", "result": []}},
         "loki": {"status": "success", "data": {"resultType": "streams", "result": []}},
         "elasticsearch": {"hits": {"hits": []}}}
FAILURES = ("down", "slow", "empty", "denied", "huge")
CONNECTORS = ("prometheus", "loki", "elasticsearch", "kubectl", "replay")
OUTCOMES = {"down": "error", "slow": "timeout", "empty": "empty", "denied": "denied", "huge": "ok"}
SOURCES = {"prometheus": "metrics", "loki": "logs", "elasticsearch": "logs", "kubectl": "kubernetes",
           "replay": "probes"}
SLOW = 30.0
"""Seconds that a slow source would take."""


class BrokenServer:
    """Answers every request as `failure` says."""

    def __init__(self, kind: str, failure: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if failure == "slow":
                    stopped.wait(SLOW)
                    return
                body = json.dumps(EMPTY[kind]).encode() if failure == "empty" else b"not for you"
                self.send_response(403 if failure == "denied" else 200)
                self.send_header("Content-Length", str(HUNDRED_MEGABYTES if failure == "huge" else len(body)))
                self.end_headers()
                if failure == "huge":
                    pour(self.wfile.write)
                else:
                    self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, format: str, *given: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that went away is what some failures are about

        self.stopped = stopped = threading.Event()
        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """End it; requests that wait are dropped."""
        self.stopped.set()
        self.http.shutdown()
        self.http.server_close()


def pour(write: Any) -> None:
    """100 MB, block by block."""
    left = HUNDRED_MEGABYTES
    while left > 0:
        write(BLOCK[:left])
        left -= len(BLOCK)


def broken(connector: str, failure: str, folder: Path, url: str) -> dict[str, Any]:
    """The configuration of a connector that fails so; `url` is that of a broken server."""
    if connector == "kubectl":
        return {"connector": "kubectl", "command": str(fake_kubectl(folder, failure))}
    if connector == "replay":
        return {"connector": "replay", "directory": str(recording(folder, failure))}
    return {"connector": connector, "url": "http://127.0.0.1:9" if failure == "down" else url}


def fake_kubectl(folder: Path, failure: str) -> Path:
    """A program in place of kubectl."""
    script = {
        "down": "echo 'Unable to connect to the server' >&2; exit 1", "slow": f"exec sleep {SLOW}",
        "empty": "echo 'No resources found in shop namespace.' >&2",
        "denied": "echo 'Error from server (Forbidden): pods is forbidden' >&2; exit 1",
        "huge": f"yes 'ERROR connection refused by the other side' | head -c {HUNDRED_MEGABYTES}"}[failure]
    path = folder / f"kubectl-{failure}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def recording(folder: Path, failure: str) -> Path:
    """A directory of recordings."""
    path = folder / f"recording-{failure}"
    if failure == "down":
        return path  # it is not there
    path.mkdir(exist_ok=True)
    record: dict[str, Any] = {"source": "probes", "query": "*"}
    if failure == "huge":
        with (path / "r.jsonl").open("w", encoding="utf-8") as file:
            file.write(json.dumps(record | {"text": ""})[:-2])
            pour(lambda block: file.write(block.decode().replace("\n", " ")))
            file.write('"}\n')
        return path
    outcome = {"slow": "timeout", "denied": "denied"}.get(failure, "ok")
    record |= {"text": "" if failure == "empty" else "not for you", "outcome": outcome}
    (path / "r.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    return path
