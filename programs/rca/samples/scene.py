"""The scene of one made-up incident: where and when it is, and everything that telemetry says if nothing is wrong."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

SERVICES = {
    "shop": ["checkout", "cart", "catalog", "search", "reviews"],
    "money": ["payments", "invoices", "payouts", "fraud"],
    "people": ["profiles", "login", "notify", "consent"],
    "logistics": ["shipping", "inventory", "tracking", "returns"],
}
"""Services of the company by namespace."""

STEP, POINTS = 150, 16
"""Seconds between points of a series, and how many there are: forty minutes, of which thirty are before the onset."""

HERRINGS = (
    "WARN config key cache.ttl is deprecated, use cache.expiry",
    "WARN metrics exporter: connection refused by 127.0.0.1:4317, will retry",
    "WARN clock skew of 212 ms against the time server",
    "WARN feature flag service answered late, using defaults",
    "ERROR failed to send usage report: 503 from telemetry.vendor.example",
    "WARN gc pause of 148 ms",
    "WARN retrying request to /internal/warmup (1 of 3)",
    "ERROR could not parse header accept-language: q=high",
)
"""Lines that look like a reason and are none."""

CALM = (
    "INFO request GET /v1/{noun}/{n} 200 {ms}ms", "INFO request POST /v1/{noun} 201 {ms}ms",
    "INFO processed batch of {n} {noun}", "DEBUG cache hit for {noun}:{n}", "INFO health check ok",
    "INFO published event {noun}.updated offset={n}",
)
NOUNS = ("orders", "items", "users", "sessions", "quotes", "parcels")


@dataclass
class Scene:
    """One incident: what is affected, since when, and its records (see `connectors/replay.py`) by source and query."""

    random: random.Random
    onset: datetime
    namespace: str = ""
    service: str = ""
    pod: str = ""
    node: str = ""
    records: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    streams: list[dict[str, Any]] = field(default_factory=list)
    dropped: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        rng = self.random
        self.namespace = rng.choice(sorted(SERVICES))
        self.service = rng.choice(SERVICES[self.namespace])
        self.pod = f"{self.service}-{self.token(9)}-{self.token(5)}"
        self.node = f"worker-{rng.randint(1, 24):02}"
        self.calm()

    def token(self, length: int) -> str:
        """Letters and digits as Kubernetes uses them in names."""
        return "".join(self.random.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(length))

    @property
    def of_service(self) -> str:
        """The labels of the service in a metric."""
        return f'namespace="{self.namespace}",app="{self.service}"'

    def say(self, source: str, query: str, text: str, outcome: str = "ok", **table: str) -> None:
        """Record an answer, in place of the calm one."""
        time = self.onset + timedelta(seconds=self.random.randint(60, 400))
        record = {"source": source, "query": query, "time": stamp(time), "outcome": outcome, "text": text}
        self.records[source, query] = record | ({"table": table} if table else {})

    def measure(self, query: str, before: float, after: float, wobble: float = 0.08) -> None:
        """Record a series that goes from about `before` to about `after` at the onset."""
        start = self.onset - timedelta(minutes=30)
        values = []
        for i in range(POINTS):
            level = before if i * STEP < 1800 - 2 * STEP else after
            values.append(float(f"{max(0.0, level * (1 + self.random.uniform(-wobble, wobble))):.4g}"))
        series = {"labels": {}, "start": stamp(start), "step": STEP, "values": values}
        self.records["metrics", query] = {"source": "metrics", "query": query, "series": [series]}

    def log(self, lines: list[str], *, app: str = "", namespace: str = "", node: str = "") -> None:
        """Record a stream of log lines, spread around the onset; by default of the pod, which is there twice."""
        start = self.onset - timedelta(minutes=5)
        seconds = sorted(round(self.random.uniform(0, 800), 1) for _ in lines)
        labels = {"node": node} if node else {"namespace": namespace or self.namespace, "app": app or self.service}
        if not node and not app:
            labels["pod"] = self.pod
        self.streams.append({"source": "logs", "labels": labels, "start": stamp(start),
                             "lines": [[s, line] for s, line in zip(seconds, lines, strict=True)]})

    def chatter(self, count: int) -> list[str]:
        """Lines of a service that does its work, with one that looks like a reason."""
        rng = self.random
        lines = [rng.choice(CALM).format(noun=rng.choice(NOUNS), n=rng.randint(1, 9999), ms=rng.randint(3, 180))
                 for _ in range(count)]
        lines.insert(rng.randrange(count), rng.choice(HERRINGS))
        return lines

    def mixed(self, lines: list[str], chatter: int = 8) -> list[str]:
        """`lines` in their order, among others."""
        result = self.chatter(chatter)
        places = sorted(self.random.randint(2, len(result)) for _ in lines)
        for shift, (place, line) in enumerate(zip(places, lines, strict=True)):
            result.insert(place + shift, line)
        return result

    def pod_logs(self, lines: list[str], previous: list[str] | None = None) -> None:
        """What `kubectl logs` says of this run of the container, and of the one before."""
        where = f"{self.pod} -n {self.namespace}"
        self.say("kubernetes", f"logs {where} --tail=500", "\n".join(lines))
        if previous is None:
            self.say("kubernetes", f"logs {where} --previous --tail=500",
                     f'Error from server (BadRequest): previous terminated container "{self.service}" in pod '
                     f'"{self.pod}" not found', "empty")
        else:
            self.say("kubernetes", f"logs {where} --previous --tail=500", "\n".join(previous))

    def describe(self, *, state: str = "Running", last: str = "", restarts: int = 0, events: str = "",
                 memory: str = "512Mi") -> None:
        """What `kubectl describe pod` and `kubectl events` say."""
        image = f"registry.larkspur.example/{self.service}:{self.random.randint(2, 9)}.{self.random.randint(0, 40)}.1"
        ending = f"    Last State:     Terminated\n{last}\n" if last else ""
        phase = "Running" if "Running" in state else "Pending" if "Image" in state else "Running"
        reason = state if state == "Running" else f"Waiting\n      Reason:       {state}"
        text = (f"Name:             {self.pod}\nNamespace:        {self.namespace}\n"
                f"Node:             {self.node}/10.3.{self.random.randint(0, 9)}.{self.random.randint(2, 250)}\n"
                f"Labels:           app={self.service}\nStatus:           {phase}\nContainers:\n  {self.service}:\n"
                f"    Image:          {image}\n    State:          {reason}\n{ending}"
                f"    Ready:          {state == 'Running'}\n    Restart Count:  {restarts}\n    Limits:\n"
                f"      cpu:     500m\n      memory:  {memory}\nEvents:\n{events or '  <none>'}")
        self.say("kubernetes", f"describe pod {self.pod} -n {self.namespace}", text)
        about = f"events --for pod/{self.pod} -n {self.namespace}"
        self.say("kubernetes", about, events, "ok" if events else "empty")
        listing = ["NAME READY STATUS RESTARTS AGE IP NODE".replace(" ", "   ")]
        first, last = SERVICES[self.namespace][0], SERVICES[self.namespace][-1]
        for name in (f"{self.service}-{self.token(9)}-{self.token(5)}", self.pod, f"{first}-db-0",
                     f"{last}-{self.token(9)}-{self.token(5)}"):
            bad = name == self.pod and state != "Running"
            # The affected pod of a service whose pods all run is the one that started again most often.
            again = restarts or (1 if name == self.pod else 0)
            listing.append(f"{name}   {'0/1' if bad else '1/1'}   {state if bad else 'Running'}   "
                           f"{again if name == self.pod else 0}   3d   10.3.1.9   {self.node}")
        self.say("kubernetes", f"get pods -n {self.namespace} -o wide", "\n".join(listing))

    def rollout(self, happened: bool) -> None:
        """Whether the service was rolled out in the hour before."""
        query = (f'changes(kube_deployment_status_observed_generation{{namespace="{self.namespace}",'
                 f'deployment="{self.service}"}}[1h])')
        self.measure(query, 1.0 if happened else 0.0, 1.0 if happened else 0.0, 0.0)

    def memory(self, before: float, after: float) -> None:
        """Memory of the container against its limit."""
        pod = f'namespace="{self.namespace}",pod="{self.pod}"'
        self.measure(f'max(container_memory_working_set_bytes{{{pod}}}) / '
                     f'max(kube_pod_container_resource_limits{{{pod},resource="memory"}})', before, after, 0.02)

    def throttling(self, before: float, after: float) -> None:
        """Share of periods in which the processor is throttled."""
        pods = f'namespace="{self.namespace}",pod=~"{self.service}.*"'
        self.measure(f'sum(rate(container_cpu_cfs_throttled_periods_total{{{pods}}}[5m])) / '
                     f'sum(rate(container_cpu_cfs_periods_total{{{pods}}}[5m]))', before, after)

    def latency(self, before: float, after: float) -> None:
        """Seconds of the 99th percentile."""
        self.measure(f'histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket'
                     f'{{{self.of_service}}}[5m])))', before, after)

    def errors(self, before: float, after: float) -> None:
        """Share of requests that fail."""
        self.measure(f'sum(rate(http_requests_total{{{self.of_service},status=~"5.."}}[5m])) / '
                     f'sum(rate(http_requests_total{{{self.of_service}}}[5m]))', before, after)

    def pool(self, before: float, after: float) -> None:
        """Share of the connections to the database that are in use."""
        self.measure(f'max(db_client_connections_usage{{{self.of_service},state="used"}}) / '
                     f'max(db_client_connections_max{{{self.of_service}}})', before, after, 0.0 if after == 1 else 0.05)

    def disk(self, before: float, after: float) -> None:
        """Share of the largest volume of the node that is used."""
        self.measure(f'max by (mountpoint) (1 - node_filesystem_avail_bytes{{node="{self.node}"}} / '
                     f'node_filesystem_size_bytes{{node="{self.node}"}})', before, after, 0.01)

    def node_state(self, memory_pressure: bool = False, disk_pressure: bool = False) -> None:
        """What `kubectl describe node` says."""
        self.say("kubernetes", f"describe node {self.node}", (
            f"Name:  {self.node}\nConditions:\n  MemoryPressure   {memory_pressure}\n"
            f"  DiskPressure     {disk_pressure}\n  PIDPressure      False\n"
            "  Ready            True\nAllocated:\n  cpu 61%  memory 72%"))

    def calm(self) -> None:
        """Everything as it is when nothing is wrong; one measure is a little raised."""
        self.describe()
        self.pod_logs(self.chatter(8))
        self.node_state()
        self.rollout(self.random.random() < 0.12)
        self.memory(0.55, 0.58)
        self.throttling(0.04, self.random.choice([0.05, 0.14]))
        self.latency(0.21, self.random.choice([0.24, 0.6]))
        self.errors(0.002, self.random.choice([0.003, 0.02]))
        self.pool(0.3, self.random.choice([0.35, 0.6]))
        self.disk(0.5, 0.51)
        for query in (f"get networkpolicies -n {self.namespace}", f"describe certificates -n {self.namespace}"):
            self.say("kubernetes", query, f"No resources found in {self.namespace} namespace.", "empty")
        self.say("kubernetes", "get pods -n kube-system -l k8s-app=kube-dns",
                 "NAME READY STATUS RESTARTS AGE\ncoredns-5d78c-x2x9k 1/1 Running 0 41d\n"
                 "coredns-5d78c-8rj4q 1/1 Running 0 41d")
        self.say("probes", f"dns {self.namespace}/{self.service}",
                 f"{self.service}.{self.namespace}.svc.cluster.local has address 10.96.4.17, 2 ms")
        self.say("probes", f"outbound {self.node}", "12 of 12 connections succeeded")
        self.say("probes", "outbound *", "23 of 24 machines succeed")

    def lines(self) -> list[str]:
        """The records as lines of a file."""
        kept = [record for key, record in self.records.items() if key not in self.dropped]
        return [json.dumps(record, ensure_ascii=False, separators=(",", ":")) for record in [*kept, *self.streams]]


def stamp(time: datetime) -> str:
    """UTC in ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
