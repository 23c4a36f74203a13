"""Prometheus, Loki and Elasticsearch against a server that answers, lies, dawdles, pours and is not there."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("httpx2", reason="the extra `rca` is not installed")

from semlang.programs.rca.collect import ask
from semlang.programs.rca.connectors.elasticsearch import Elasticsearch
from semlang.programs.rca.connectors.interface import Connector
from semlang.programs.rca.connectors.loki import Loki
from semlang.programs.rca.connectors.prometheus import Prometheus
from semlang.programs.rca.outcomes import Answer, Outcome
from semlang.programs.rca.snapshots import read_snapshot

START, END = "2026-03-02T09:00:00Z", "2026-03-02T10:00:00Z"
QUERIES = {"metrics": "up", "logs": "namespace=shop app=cart | error|fail"}
KINDS: dict[str, tuple[str, Callable[[str], Connector]]] = {
    "prometheus": ("metrics", Prometheus), "loki": ("logs", Loki), "elasticsearch": ("logs", Elasticsearch),
}


class Server:
    """A server that answers every request as `reply` says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.status, self.body, self.type = 200, b"{}", "application/json"
        self.action: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.active = self.most_active = 0
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append((self.command, self.path, dict(self.headers), body))
                if outer.action is not None:
                    outer.action(self)
                    return
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that went away is what some tests are about

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("SEMC_RCA_SNAPSHOTS", str(tmp_path))
    server = Server()
    yield server
    server.close()


def ask_one(kind: str, url: str, deadline: float = 10.0, query: str = "") -> Answer:
    source, make = KINDS[kind]
    return make(url).query(source, query or QUERIES[source], START, END, deadline)


def prometheus(*values: float | str) -> bytes:
    points = [[1772442000 + 60 * i, str(v)] for i, v in enumerate(values)]
    result = [{"metric": {"pod": "cart-1"}, "values": points}] if values else []
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()


def test_prometheus_gives_a_table_of_numbers(server: Server) -> None:
    server.body = prometheus(0.25, "NaN", 4.5, 2)
    answer = ask_one("prometheus", server.url)
    assert answer.outcome == Outcome.OK
    assert answer.table == {"series": "1", "points": "3", "min": "0.25", "max": "4.5", "first": "0.25", "last": "2"}
    assert answer.text.startswith("{pod=cart-1} from 2026-03-02T09:00:00Z to 2026-03-02T09:03:00Z: 0.25 4.5 2")
    _, path, _, _ = server.requests[0]
    parameters = parse_qs(urlsplit(path).query)
    assert urlsplit(path).path == "/api/v1/query_range"
    assert (parameters["query"], parameters["start"], parameters["step"]) == (["up"], ["1772442000.000"], ["30"])


@pytest.mark.parametrize("values", [(), ("NaN", "+Inf")])
def test_no_numbers_are_empty_and_no_sign_of_health(server: Server, values: tuple[str, ...]) -> None:
    server.body = prometheus(*values)
    assert ask_one("prometheus", server.url).outcome == Outcome.EMPTY


def test_prometheus_says_what_is_wrong_with_a_query(server: Server) -> None:
    server.status, server.body = 400, b'{"status":"error","errorType":"bad_data","error":"parse error"}'
    answer = ask_one("prometheus", server.url)
    assert answer.outcome == Outcome.ERROR and "parse error" in answer.text


def test_loki_gives_lines_in_order_of_time(server: Server) -> None:
    values = [["1772442060000000000", "second fail"], ["1772442000000000000", "first error", {"trace": "x"}]]
    server.body = json.dumps({"data": {"result": [{"stream": {}, "values": values}]}}).encode()
    answer = ask_one("loki", server.url)
    assert answer.text == "2026-03-02T09:00:00Z first error\n2026-03-02T09:01:00Z second fail"
    assert answer.table == {"lines": "2", "from": "2026-03-02T09:00:00Z", "to": "2026-03-02T09:01:00Z"}
    parameters = parse_qs(urlsplit(server.requests[0][1]).query)
    assert parameters["query"] == ['{namespace="shop", app="cart"} |~ "(?i)error|fail"']


def test_elasticsearch_is_asked_for_fields_words_and_times(server: Server) -> None:
    hits = [{"_source": {"@timestamp": "2026-03-02T09:01:00Z", "message": "an error"}},
            {"_source": {"@timestamp": "2026-03-02T09:02:00.5Z", "message": "all is well"}}]
    server.body = json.dumps({"timed_out": False, "hits": {"hits": hits}}).encode()
    answer = ask_one("elasticsearch", server.url)
    assert answer.text == "2026-03-02T09:01:00Z an error"
    method, path, _, body = server.requests[0]
    assert (method, path) == ("POST", "/logs-*/_search")
    conditions = json.loads(body)["query"]["bool"]["filter"]
    assert {"range": {"@timestamp": {"gte": START, "lte": END}}} in conditions
    assert {"term": {"kubernetes.namespace": "shop"}} in conditions and {"term": {"service.name": "cart"}} in conditions
    assert conditions[-1]["bool"]["should"][0] == {"match_phrase": {"message": "error"}}


@pytest.mark.parametrize(("broken", "hits", "outcome"), [
    ({"timed_out": True}, 1, Outcome.OK), ({"_shards": {"failed": 2}}, 1, Outcome.OK),
    ({"timed_out": True}, 0, Outcome.ERROR), ({"_shards": {"failed": 0}}, 0, Outcome.EMPTY),
])
def test_part_of_an_answer_says_that_it_is_one(
        server: Server, broken: dict[str, Any], hits: int, outcome: Outcome) -> None:
    found = [{"_source": {"@timestamp": 1772442000000, "message": "an error"}}] * hits
    server.body = json.dumps({**broken, "hits": {"hits": found}}).encode()
    answer = ask_one("elasticsearch", server.url)
    assert answer.outcome == outcome
    if hits:
        assert answer.text.startswith("[partial: ") and answer.text.endswith("\n2026-03-02T09:00:00Z an error")


def test_where_there_may_be_more_lines_it_is_said(server: Server) -> None:
    values = [[str(1772442000000000000 + i), "error"] for i in range(500)]
    server.body = json.dumps({"data": {"result": [{"stream": {}, "values": values}]}}).encode()
    assert "[only the newest 500 lines are here]" in ask_one("loki", server.url).text


@pytest.mark.parametrize("query", ["", "shop", "namespace=shop | (", "| error", "a-b=c"])
@pytest.mark.parametrize("kind", ["loki", "elasticsearch"])
def test_a_wrong_query_for_logs_is_an_error_and_is_not_sent(server: Server, kind: str, query: str) -> None:
    source, make = KINDS[kind]
    answer = make(server.url).query(source, query, START, END, 5.0)
    assert answer.outcome == Outcome.ERROR and not server.requests


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("status", "body", "outcome", "said"), [
    (200, b"<html>hello</html>", Outcome.ERROR, "not JSON"),
    (200, b"", Outcome.ERROR, "not JSON"),
    (200, b"\xff\xfe\x00", Outcome.ERROR, "not JSON"),
    (200, b"[" * 50_000, Outcome.ERROR, "not JSON"),
    (200, b"[]", Outcome.ERROR, "no answer of"),
    (200, b"null", Outcome.ERROR, "no answer of"),
    (200, b'{"status": "success", "data": {"resultType": "matrix", "result": [{}]}, "hits": 1}', Outcome.ERROR,
     "no answer"),
    (500, b"boom", Outcome.ERROR, "HTTP 500 boom"),
    (302, b"", Outcome.ERROR, "HTTP 302"),
    (401, b"", Outcome.DENIED, "HTTP 401"),
    (403, b"no", Outcome.DENIED, "HTTP 403 no"),
    (504, b"", Outcome.TIMEOUT, "HTTP 504"),
])
def test_bad_answers_have_an_outcome_and_a_reason(
        server: Server, kind: str, status: int, body: bytes, outcome: Outcome, said: str) -> None:
    server.status, server.body = status, body
    answer = ask_one(kind, server.url)
    assert (answer.outcome, said in answer.text) == (outcome, True), answer
    assert "\n" not in answer.text and not answer.table


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_down_is_an_error(kind: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://user:hunter2@127.0.0.1:{free.getsockname()[1]}"
    answer = ask_one(kind, url)
    assert answer.outcome == Outcome.ERROR and "cannot be reached" in answer.text
    assert "hunter2" not in answer.text


def dawdle(how: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Say nothing, or a little now and then, for longer than anybody waits."""
    def act(handler: BaseHTTPRequestHandler) -> None:
        end = time.monotonic() + 6
        if how != "silence":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Padding: " + (b"\r\n\r\n" if how == "body" else b""))
        while time.monotonic() < end:
            time.sleep(0.05)
            if how != "silence":
                handler.wfile.write(b"a")
                handler.wfile.flush()
    return act


@pytest.mark.parametrize("how", ["silence", "head", "body"])
def test_deadlines_are_kept(server: Server, how: str) -> None:
    server.action = dawdle(how)
    sources = json.dumps({"metrics": {"connector": "prometheus", "url": server.url}})
    evidence = ask(sources, "metrics", "up", START, END, 0.3)
    assert evidence["outcome"] == "timeout"
    assert "within 0.3 s" in evidence["text"]
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_megabytes_are_cut_and_kept(server: Server, kind: str) -> None:
    size = 100_000_000

    def pour(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        handler.wfile.write(b'{"head": "')
        block = b"x" * 1_000_000
        for _ in range(size // len(block) - 1):
            handler.wfile.write(block)
        handler.wfile.write(b"x" * (len(block) - 17) + b' tail"}')

    server.action = pour
    answer = ask_one(kind, server.url, deadline=60)
    assert answer.outcome == Outcome.OK
    assert len(answer.text) < 9_000
    assert answer.text.startswith('{"head": "xxx') and answer.text.endswith('tail"}')
    assert (answer.table["cut"], answer.table["bytes"]) == ("yes", str(size))
    key = answer.table["snapshot"]
    assert f"{size} bytes in all; the whole is snapshot {key}" in answer.text
    assert read_snapshot(key, size - 6, 100) == 'tail"}'


def test_headers_come_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_TOKEN", "abc")
    server.body = prometheus(1)
    sources = {"metrics": {"connector": "prometheus", "url": server.url,
                           "headers": {"Authorization": "Bearer ${METRICS_TOKEN}"}}}
    assert ask(json.dumps(sources), "metrics", "up", START, END, 5.0)["outcome"] == "ok"
    assert server.requests[0][2]["Authorization"] == "Bearer abc"


@pytest.mark.parametrize(("sources", "said"), [
    ("{", "not valid JSON"), ('{"metrics": 1}', "needs `connector`"),
    ('{"metrics": {"connector": "carrier pigeon"}}', "one of elasticsearch, kubectl, loki"),
    ('{"metrics": {"connector": "prometheus"}}', "do not fit prometheus"),
    ('{"metrics": {"connector": "prometheus", "url": "${NOT_SET_ANYWHERE}"}}', "NOT_SET_ANYWHERE is not set"),
    ('{"logs": {"connector": "loki", "url": "http://x"}}', "no connector is configured for 'metrics'"),
    ("/nowhere/at/all", "is no directory"),
])
def test_wrong_sources_are_errors_of_the_query(sources: str, said: str) -> None:
    evidence = ask(sources, "metrics", "up", START, END, 5.0)
    assert evidence["outcome"] == "error" and said in evidence["text"]
