"""What is read from texts: signs in logs, pods that are worst off, nodes, conditions, names."""

from datetime import UTC, datetime

import pytest
from semlang.programs.rca.connectors.series import Series, answer_of_series
from semlang.programs.rca.readings import SIGNS, condition_of, node_of, plain_name, rose_after, sign_of, worst_pod


@pytest.mark.parametrize(("text", "sign"), [
    ("", "nothing"),
    ("INFO all is well", "nothing"),
    ("dial tcp 10.0.0.1:5432: connect: connection refused", "refused"),
    ("2026-03-02T09:15:00Z WARN exporter: connection refused, will retry", "nothing"),
    ("WARN call took 5000 ms\n2026-03-02T09:15:00Z WARN call took 6000 ms", "slow_dependency"),
    ("INFO:app:Database call completed in 8.01 seconds.\n" * 2, "slow_dependency"),
    ("INFO:app:Database call completed in 0.01 seconds.\n" * 2, "nothing"),
    ("ValueError: x\nValueError: y\nENOSPC", "disk"),
    ("ValueError: x", "exception"),
    ("connection pool exhausted\ncannot assign requested address\ncannot assign requested address", "ports"),
    ("no such host\nx509: certificate has expired", "certificate"),
    ("Environment variable DEPLOY_ENV is undefined", "configuration"),
    ("OutOfMemoryError: Java heap space", "memory"),
    ("/bin/sh: syntax error: unexpected \"fi\"", "syntax"),
])
def test_signs(text: str, sign: str) -> None:
    assert sign_of(text) == sign


def test_the_enum_has_every_sign() -> None:
    from running import ROOT
    text = (ROOT / "programs" / "rca" / "actions.sem").read_text(encoding="utf-8")
    members = text.partition("enum Sign {")[2].partition("}")[0]
    assert {line.split("=")[0].strip() for line in members.strip().split("\n")} == {*SIGNS, "nothing", "unreadable"}


LISTING = """NAME READY STATUS RESTARTS AGE
cart-1 1/1 Running 0 1d
cart-2 0/1 Running 3 1d
cart-3 1/1 Running 40 (2m ago) 1d
web-1 0/1 Init:CrashLoopBackOff 9 1d
--all 0/1 OOMKilled 9 1d"""


@pytest.mark.parametrize(("listing", "service", "pod"), [
    (LISTING, "cart", "cart-2"), (LISTING, "", "web-1"), (LISTING, "payments", ""), ("", "cart", ""),
    ("NAME READY\ncart-1 1/1", "", ""), ("No resources found", "", ""),
])
def test_the_pod_that_is_worst_off(listing: str, service: str, pod: str) -> None:
    assert worst_pod(listing, service) == pod


def test_nodes_conditions_and_names() -> None:
    assert node_of("Name: x\nNode:   worker-1/10.0.0.1") == "worker-1"
    assert node_of("Node:   <none>") == node_of("") == ""
    assert condition_of("  MemoryPressure       False   Tue", "MemoryPressure") == "False"
    assert condition_of("MemoryPressure maybe", "MemoryPressure") == ""
    assert plain_name("cart-1.shop:80/x") and not plain_name('x"}') and not plain_name("--raw") and not plain_name("")


@pytest.mark.parametrize(("values", "later"), [
    ([*[0.0] * 35, *[1.0] * 6], True),  # minute 35 of a span whose incident begins in minute 30
    ([*[0.0] * 31, *[1.0] * 10], False),  # so near that the values shown do not tell
    ([*[0.0] * 30, *[1.0] * 11], False),  # at its begin
    ([*[0.0] * 12, *[1.0] * 29], False),
    ([1.0] * 41, False),
    ([0.0] * 41, False),
    ([*[1.0] * 12, *[0.0] * 20, *[1.0] * 9], False),  # once before, once after
    ([0.0, 1.0], False),
    ([1.0], False),
])
def test_what_comes_after_the_begin_is_no_cause(values: list[float], later: bool) -> None:
    span = datetime(2026, 3, 2, 8, 45, tzinfo=UTC)
    step = 2400 / max(len(values) - 1, 1)
    points = [(span.timestamp() + step * position, value) for position, value in enumerate(values)]
    answer = answer_of_series([Series({"deployment": "a} from b"}, points)])
    assert rose_after(answer.table, answer.text, "2026-03-02T08:45:00Z") == later


def test_what_cannot_be_told_is_not_later() -> None:
    assert not rose_after({}, "", "2026-03-02T08:45:00Z")
    assert not rose_after({"series": "1", "points": "41"}, "nothing that is a series", "2026-03-02T08:45:00Z")
    line = "{} from 2026-03-02T08:45:00Z to 2026-03-02T09:25:00Z: 0 0 1"
    assert not rose_after({"series": "2", "points": "82"}, line, "2026-03-02T08:45:00Z")
