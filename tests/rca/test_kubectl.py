"""kubectl runs only what reads; whatever else is asked for is denied before anything runs."""

import os
import stat
from pathlib import Path

import pytest
from semlang.programs.rca.connectors.kubectl import Kubectl, allowed_arguments
from semlang.programs.rca.outcomes import Answer, Outcome
from semlang.programs.rca.snapshots import read_snapshot


@pytest.fixture(autouse=True)
def snapshots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEMC_RCA_SNAPSHOTS", str(tmp_path / "snapshots"))


def stand_in(folder: Path, script: str) -> Kubectl:
    """A program in place of kubectl, which also writes down that it ran."""
    path = folder / "kubectl"
    path.write_text(f"#!/bin/sh\necho \"$@\" >> {folder}/ran\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Kubectl(str(path), "staging")


def ask(kubectl: Kubectl, query: str, deadline: float = 20.0) -> Answer:
    return kubectl.query("kubernetes", query, "", "", deadline)


@pytest.mark.parametrize("query", [
    "get pods -n shop -o wide", "describe pod cart-1 -n shop", "logs cart-1 -n shop --previous --tail=500",
    "events --for pod/cart-1 -n shop", "top pods -A", "get deployments,pods -l app=cart,tier!=db",
    "get pods --field-selector=status.phase!=Running --sort-by=.metadata.name",
    "get events -n shop --sort-by .lastTimestamp",
    "logs deployment/cart -c app --since 10m", "describe configmap settings", "logs secret-rotator-1", "version",
])
def test_what_reads_is_allowed(query: str) -> None:
    assert allowed_arguments(query)


@pytest.mark.parametrize("query", [
    "", "delete pod cart-1", "exec cart-1 -- sh", "apply -f x.yaml", "scale deployment cart --replicas 0", "edit pod x",
    "port-forward cart-1 80", "cp cart-1:/etc/passwd .", "proxy", "config view --raw", "auth can-i get secrets",
    "get secrets -n shop", "get secret db -o yaml", "get pods,secrets", "get secret/db", "get Secrets.v1.",
    "describe secret db",
    "events --for secret/db", "get --raw /api/v1/secrets", "get pods --kubeconfig /tmp/other", "get pods --as admin",
    "get pods -f pod.yaml", "get pods --token abc", "get pods -o jsonpath-file=/etc/passwd",
    "get pods -o go-template={{.}}",
    "get pods -w", "logs cart-1 -f", "get pods; rm -rf /", "get pods | sh", "get $(whoami)", "get `id`",
    "get pods -n '../../x y;z'", "get -- --raw", "get pods 'unclosed", "--context=prod get pods",
    "get pods --server=http://x",
])
def test_everything_else_is_denied_and_does_not_run(tmp_path: Path, query: str) -> None:
    answer = ask(stand_in(tmp_path, "echo never"), query)
    assert answer.outcome == Outcome.DENIED and answer.text and "\n" not in answer.text
    assert not (tmp_path / "ran").exists()


def test_arguments_reach_the_program_unchanged(tmp_path: Path) -> None:
    answer = ask(stand_in(tmp_path, "echo fine"), "get pods -n shop")
    assert (answer.outcome, answer.text) == (Outcome.OK, "fine\n")
    assert (tmp_path / "ran").read_text() == "--context staging --request-timeout=20s get pods -n shop\n"


@pytest.mark.parametrize(("script", "outcome"), [
    ("true", Outcome.EMPTY),
    ("echo 'No resources found in shop namespace.' >&2", Outcome.EMPTY),
    ("echo 'Error from server (NotFound): pods \"x\" not found' >&2; exit 1", Outcome.EMPTY),
    ("echo 'Error from server (Forbidden): pods is forbidden' >&2; exit 1", Outcome.DENIED),
    ("echo 'error: You must be logged in to the server (Unauthorized)' >&2; exit 1", Outcome.DENIED),
    ("echo 'Unable to connect to the server: dial tcp: i/o timeout' >&2; exit 1", Outcome.ERROR),
    ("kill -9 $$", Outcome.ERROR),
])
def test_how_it_ends_is_an_outcome(tmp_path: Path, script: str, outcome: Outcome) -> None:
    assert ask(stand_in(tmp_path, script), "get pods").outcome == outcome


def test_a_program_that_is_not_there_is_an_error() -> None:
    answer = ask(Kubectl("/nowhere/kubectl"), "get pods")
    assert answer.outcome == Outcome.ERROR and "cannot be run" in answer.text


def test_a_deadline_ends_the_program_and_its_children(tmp_path: Path) -> None:
    answer = ask(stand_in(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; wait"), "get pods", 0.5)
    assert answer.outcome == Outcome.TIMEOUT
    child = int((tmp_path / "child").read_text())
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_hundred_megabytes_are_cut_and_kept(tmp_path: Path) -> None:
    script = "echo first; head -c 100000000 /dev/zero | tr '\\0' x; echo; echo last"
    answer = ask(stand_in(tmp_path, script), "logs cart-1", 60.0)
    assert answer.outcome == Outcome.OK and len(answer.text) < 9_000
    assert answer.text.startswith("first\n") and answer.text.endswith("last\n")
    assert answer.table["bytes"] == "100000012"
    assert read_snapshot(answer.table["snapshot"], 0, 5) == "first"
    assert oct(os.stat(tmp_path / "snapshots" / answer.table["snapshot"]).st_mode & 0o077) == "0o0"
