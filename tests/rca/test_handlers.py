"""Every branch of every handler: what telemetry says decides the path, and what it does not say decides nothing."""

import json
import re
from typing import Any, NamedTuple

import pytest
from running import ROOT, collect
from semlang.programs.rca.verdicts import HEALTHY

HANDLERS = ROOT / "programs" / "rca" / "handlers"
LABELS = {"namespace": "shop", "app": "cart", "pod": "cart-1", "node": "n1"}
CHANGES = 'changes(kube_deployment_status_observed_generation{namespace="shop",deployment="cart"}[1h])'
CRASHING = "Status: Running\n Reason: CrashLoopBackOff"
RUNNING = "Status: Running\nNode: n7/10.0.0.1"
POD, THIS_RUN, LAST_RUN = "describe pod *", "logs cart-1 -n shop --tail=500", "logs cart-1 -n shop --previous*"
MEMORY, THROTTLED, POOL, ROLLOUT = "max(container_memory*", "sum(rate(container_cpu*", "max(db_client*", "changes(*"
LATENCY, ERRORS, DISK = "histogram_quantile*", "sum(rate(http_requests*", "max by (mountpoint)*"
SERVERS, POLICIES = "get pods -n kube-system*", "get networkpolicies*"


class Case(NamedTuple):
    """An alert of a kind, what telemetry says to which query, and what the handler must conclude."""

    kind: str
    conclusion: str
    answers: dict[str, str | float | list[int]]
    labels: dict[str, str] = LABELS


CASES = [
    Case("KubePodCrashLooping", "the container runs out of memory", {POD: "Reason: OOMKilled", MEMORY: 0.99}),
    Case("KubePodCrashLooping", "the image cannot be pulled", {POD: "ImagePullBackOff"}),
    Case("KubePodCrashLooping", "the pod is gone", {POD: ""}),
    Case("KubePodCrashLooping", "the pod cannot be scheduled", {POD: "Warning FailedScheduling"}),
    Case("KubePodCrashLooping", "configuration is missing", {POD: CRASHING, LAST_RUN: "variable A is not set"}),
    Case("KubePodCrashLooping", "disk is full", {POD: CRASHING, THIS_RUN: "no space left on device"}),
    Case("KubePodCrashLooping", "permission denied",
         {POD: CRASHING, LAST_RUN: "fine", "namespace=shop app=cart*": "EACCES"}),
    Case("KubePodCrashLooping", "exception in the code", {POD: CRASHING, LAST_RUN: "x", THIS_RUN: "panic: nil"}),
    Case("KubePodCrashLooping", "the logs do not say why the container ends", {POD: CRASHING, LAST_RUN: "all is well"}),
    Case("KubePodCrashLooping", "certificate is not valid",
         {"get pods*": "NAME READY STATUS RESTARTS AGE\ncart-1 0/1 Error 4 1d\ncart-2 1/1 Running 9 1d", POD: CRASHING,
          LAST_RUN: "certificate has expired"}, {"namespace": "shop", "app": "cart"}),
    Case("ContainerOOMKilled", "the node runs out of memory", {"describe node n1": "MemoryPressure      True"}),
    Case("ContainerOOMKilled", "the container reaches its memory limit", {POD: "OOMKilled", MEMORY: 0.95, ROLLOUT: 1}),
    Case("ContainerOOMKilled", "the container was ended for its memory", {POD: "OOMKilled\nNode: n7/10.0.0.1"},
         {"namespace": "shop", "app": "cart", "pod": "cart-1"}),
    Case("ContainerOOMKilled", "no sign of a lack of memory", {POD: RUNNING, MEMORY: 0.5}),
    Case("ImagePullBackOff", "the image does not exist", {POD: "ErrImagePull: manifest unknown"}),
    Case("ImagePullBackOff", "the registry refuses the credentials", {POD: "ErrImagePull: pull access denied"}),
    Case("ImagePullBackOff", "the registry cannot be reached", {POD: "ErrImagePull: dial tcp: i/o timeout"}),
    Case("ImagePullBackOff", "the registry limits the rate of pulls", {POD: "ErrImagePull: toomanyrequests"}),
    Case("ImagePullBackOff", "the reason is not known", {POD: "ErrImagePull"}),
    Case("HighLatency", "connections of a pool are used up", {POOL: 0.97, THROTTLED: 0.8}),
    Case("HighLatency", "connections of a pool are used up", {THIS_RUN: "connection pool exhausted"}),
    Case("HighLatency", "the processor is throttled", {POOL: 0.2, THROTTLED: 0.8}),
    Case("HighLatency", "locks are waited for", {THIS_RUN: "deadlock detected"}),
    Case("HighLatency", "a dependency is slow", {THIS_RUN: "call to x took 5000 ms", ROLLOUT: 1}),
    Case("HighLatency", "connection refused", {THIS_RUN: "dial: connection refused"}),
    Case("HighLatency", "slower since the last release", {LATENCY: 3, THIS_RUN: "fine", ROLLOUT: 1}),
    Case("HighLatency", "no reason was found", {LATENCY: 0.2, POOL: 0.1, THROTTLED: 0.1, ROLLOUT: 0, THIS_RUN: "fine"}),
    Case("HighErrorRate", "the last release fails", {THIS_RUN: "Traceback (most recent call last)", ROLLOUT: 1}),
    Case("HighErrorRate", "the code fails", {THIS_RUN: "SyntaxError: x", ROLLOUT: 0}),
    Case("HighErrorRate", "connections of a pool are used up", {THIS_RUN: "fine", POOL: 1}),
    Case("HighErrorRate", "more errors since the last release", {ERRORS: 0.4, POOL: 0.1, ROLLOUT: 1}),
    Case("HighErrorRate", "names do not resolve", {THIS_RUN: "lookup x: no such host"}),
    Case("HighErrorRate", "disk is full", {THIS_RUN: "ENOSPC"}),
    Case("HighErrorRate", "memory is used up", {THIS_RUN: "OutOfMemoryError: heap space"}),
    Case("HighErrorRate", "certificate is not valid", {THIS_RUN: "x509: certificate expired"}),
    Case("HighErrorRate", "no reason was found", {ERRORS: 0.4}),
    Case("DiskPressure", "logs fill the volume", {DISK: 0.95, "disk n1": "largest: /var/log 9 GiB"}),
    Case("DiskPressure", "container images fill the volume", {DISK: 0.95, "disk n1": "largest: /var/lib/containerd"}),
    Case("DiskPressure", "data of the workload fills the volume", {"disk n1": "largest: /srv/db"}),
    Case("DiskPressure", "the volume has no inodes left", {DISK: 0.4, "disk n1": "inodes 100%"}),
    Case("DiskPressure", "it is not known what fills the volume", {DISK: 0.95}),
    Case("DiskPressure", "the volume is not full any more", {DISK: 0.4, "disk n1": "largest: /var/log"}),
    Case("DnsResolutionFailed", "the name servers are down", {SERVERS: "coredns 0/1 CrashLoopBackOff"}),
    Case("DnsResolutionFailed", "a network policy keeps requests from the name servers",
         {SERVERS: "coredns 1/1", POLICIES: "deny-all", "dns *": "timed out"}),
    Case("DnsResolutionFailed", "the name does not exist", {"dns *": "NXDOMAIN"}),
    Case("DnsResolutionFailed", "the name servers do not answer", {"dns *": "SERVFAIL", POLICIES: "allow-web"}),
    Case("DnsResolutionFailed", "names resolve again", {"dns *": "has address 10.0.0.1", POLICIES: "deny-all"}),
    Case("DnsResolutionFailed", "names do not resolve", {THIS_RUN: "getaddrinfo EAI_AGAIN"}),
    Case("DnsResolutionFailed", "no reason was found", {THIS_RUN: "fine"}),
    Case("CertificateExpires", "the certificate is not renewed: renewing fails",
         {"describe certificates*": "Ready  False"}),
    Case("CertificateExpires", "the certificate is not renewed: nobody renews it",
         {"describe certificates*": ""}),
    Case("CertificateExpires", "a renewed certificate is not served yet",
         {"describe certificates*": "Ready  True", "tls *": "notAfter Mar 1; expired"}),
    Case("CertificateExpires", "the certificate was renewed", {"describe certificates*": "Ready  True", "tls *": "ok"}),
    Case("CertificateExpires", "the certificate ran out", {"tls *": "expired"}),
    Case("CertificateExpires", "no reason was found", {}),
    Case("HubPortExhaustion", "ports are used up by hub.exe",
         {"sockets n1": '{"free_ports": "0", "largest_owner": "hub.exe"}', "outbound *": "2 of 12"}),
    Case("HubPortExhaustion", "ports are used up", {"node=n1 *": "cannot assign requested address"}),
    Case("HubPortExhaustion", "ports are used up", {"node=n1 *": "EADDRNOTAVAIL", "sockets n1": "{}"}),
    Case("HubPortExhaustion", "outgoing connections fail everywhere",
         {"sockets n1": '{"free_ports": "9"}', "outbound *": "all fail"}),
    Case("HubPortExhaustion", "ports are free", {"sockets n1": '{"free_ports": "9"}'}),
    Case("HubPortExhaustion", "no reason was found", {"sockets n1": "{}"}),
    Case("CPUThrottlingHigh", "throttled since the last release", {THROTTLED: 0.6, ROLLOUT: 1}),
    Case("CPUThrottlingHigh", "the limit of the processor is too low", {THROTTLED: 0.6, ROLLOUT: 0}),
    Case("CPUThrottlingHigh", "the processor is not throttled any more", {THROTTLED: 0.01}),
    Case("CPUThrottlingHigh", "the limit of the processor is too low, by the alert alone",
         {POD: "Limits: cpu 10m"}),
    Case("CPUThrottlingHigh", "no reason was found", {POD: RUNNING}),
    Case("KubeJobFailed", "the container runs out of memory", {POD: "OOMKilled"}),
    Case("KubeJobFailed", "the image cannot be pulled", {POD: "ErrImagePull"}),
    Case("KubeJobFailed", "syntax error", {THIS_RUN: "sh: syntax error: unexpected fi"}),
    Case("KubeJobFailed", "the job takes longer than it may", {"describe job *": "DeadlineExceeded", THIS_RUN: "fine"}),
    Case("KubeJobFailed", "the logs do not say why the job failed", {THIS_RUN: "fine"}),
    Case("AppDown", "the container runs out of memory", {POD: "OOMKilled"}),
    Case("AppDown", "connection refused", {POD: CRASHING, LAST_RUN: "ECONNREFUSED"}),
    Case("AppDown", "the image cannot be pulled", {POD: "ErrImagePull"}),
    Case("AppDown", "the pod cannot be scheduled", {POD: "FailedScheduling"}),
    Case("AppDown", "there is no pod", {POD: ""}),
    Case("AppDown", "names do not resolve", {POD: RUNNING, THIS_RUN: "NXDOMAIN"}),
    Case("AppDown", "down since the last release", {POD: RUNNING, ROLLOUT: 1}),
    Case("AppDown", "down since the last release", {POD: RUNNING, CHANGES: [0] * 20 + [1] * 21}),
    Case("AppDown", "no reason was found", {POD: RUNNING, CHANGES: [0] * 35 + [1] * 6}),  # when it was down already
    Case("AppDown", "no reason was found", {POD: RUNNING, THIS_RUN: "fine"}),
    Case("Watchdog", "no handler", {POD: "OOMKilled"}),
]

KINDS = ["KubePodCrashLooping", "ContainerOOMKilled", "ImagePullBackOff", "HighLatency", "HighErrorRate",
         "DiskPressure", "DnsResolutionFailed", "CertificateExpires", "HubPortExhaustion", "CPUThrottlingHigh",
         "KubeJobFailed", "AppDown"]

UNSURE = re.compile(r"no reason was found|do not say why|not known|no sign of|cannot be read")


def alert(kind: str, labels: dict[str, str]) -> str:
    return json.dumps({"name": kind, "time": "2026-03-02T09:15:00Z", "labels": labels})


def source_of(query: str) -> str:
    if query.startswith(("namespace=", "node=")):
        return "logs"
    if query.startswith(("dns ", "disk ", "tls ", "sockets ", "outbound ", "registry")):
        return "probes"
    return "metrics" if "(" in query else "kubernetes"


def record(query: str, answer: str | float | list[int]) -> dict[str, Any]:
    base: dict[str, Any] = {"source": source_of(query), "query": query, "time": "2026-03-02T09:16:00Z"}
    if isinstance(answer, list):
        series = {"labels": {}, "start": "2026-03-02T08:45:00Z", "step": 60, "values": answer}
        return {"source": base["source"], "query": query, "series": [series]}
    if isinstance(answer, str) and answer.startswith("{"):
        return base | {"text": "sockets by process", "table": json.loads(answer)}
    return base | ({"text": answer} if isinstance(answer, str) else {"text": "x", "table": {"max": str(answer)}})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the handlers make of every case."""
    folder = tmp_path_factory.mktemp("cases")
    sources = []
    for number, case in enumerate(CASES):
        (folder / str(number)).mkdir()
        records = [record(query, answer) for query, answer in case.answers.items()] + [
            {"source": "probes", "query": "nothing", "text": "x"}]
        (folder / str(number) / "r.jsonl").write_text("\n".join(map(json.dumps, records)))
        sources.append(str(folder / str(number)))
    return collect([alert(case.kind, case.labels) for case in CASES], sources)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{case.kind}: {case.conclusion}" for case in CASES])
def test_telemetry_decides_the_path(results: list[dict[str, Any]], number: int) -> None:
    case, result = CASES[number], results[number]
    assert result["conclusion"] == case.conclusion, result["steps"]
    shown = {evidence["id"] for evidence in result["evidence"]}
    assert {piece for step in result["steps"] for piece in step["evidence"]} == shown
    assert case.kind == "Watchdog" or result["suggestions"] or "gone" in case.conclusion


CONCLUSION = re.compile(r"conclusion = (.*?),?(?=\s+steps = |\n\s*let )", re.DOTALL)


def test_every_conclusion_is_reached() -> None:
    written: set[str] = set()
    for file in HANDLERS.glob("*.sem"):
        text = file.read_text(encoding="utf-8")
        for part in CONCLUSION.findall(re.sub(r'(contains\([^()]*\)|[!=]= "[^"]*")', "", text)):
            written |= {found for found in re.findall(r'"([^"]*)"', part) if "$" not in found}
        for enum in re.findall(r"enum (?:PullFailure|Filler) \{(.*?)\}", text, re.DOTALL):
            written |= set(re.findall(r'= "([^"]*)"', enum))
    assert len(written) >= 50
    assert written <= {case.conclusion for case in CASES}


def test_actions_are_shared_and_every_handler_is_made_of_them() -> None:
    texts = [file.read_text(encoding="utf-8") for file in HANDLERS.glob("*.sem")]
    assert len(texts) == 12
    for action in ("ToPod(", "ToNode(", "StateOfPod(", "SearchLogs(", "Rollout(", "Probe(", "RollBack(", "Engage("):
        assert sum(action in text for text in texts) >= 2, action
    assert not any("host " in text for text in texts)


FAILURES = ("error", "denied", "timeout", "empty")


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """What each handler makes of telemetry that always ends the same way."""
    folder = tmp_path_factory.mktemp("unknown")
    for outcome in FAILURES:
        records = [{"source": source, "query": "*", "outcome": outcome, "text": "" if outcome == "empty" else "failed"}
                   for source in ("kubernetes", "metrics", "logs", "probes")]
        (folder / outcome).mkdir()
        (folder / outcome / "r.jsonl").write_text("\n".join(map(json.dumps, records)))
    pairs = [(outcome, kind) for outcome in FAILURES for kind in KINDS]
    found = collect([alert(kind, LABELS) for _, kind in pairs], [str(folder / o) for o, _ in pairs])
    return dict(zip(pairs, found, strict=True))


@pytest.mark.parametrize("outcome", FAILURES)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_known_is_never_read_as_health(
        unknown: dict[tuple[str, str], dict[str, Any]], outcome: str, kind: str) -> None:
    result = unknown[outcome, kind]
    healthy = HEALTHY - {"nothing that is known"} if outcome == "empty" else HEALTHY
    assert not {step["result"] for step in result["steps"]} & healthy, result["steps"]
    assert result["outcomes"][outcome] == len(result["evidence"]) == len(result["missing"]) > 0
    if outcome != "empty":
        assert UNSURE.search(result["conclusion"]), result["conclusion"]
