"""Twelve causes, and one that is none: each turns a calm scene into one in which it shows, among red herrings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .scene import Scene


@dataclass(frozen=True)
class Told:
    """How an incident is reported and what its telemetry should lead to: the alert, and the truth about it."""

    kind: str
    title: str
    handler: str
    conclusion: str
    cause: str
    with_pod: bool = True
    with_node: bool = False


def memory_leak(s: Scene) -> Told:
    """A release that keeps too much in memory."""
    s.rollout(True)
    s.memory(0.6, 0.985)
    s.describe(state="CrashLoopBackOff", restarts=s.random.randint(4, 30), events=(
        "  Warning  BackOff  2m  kubelet  Back-off restarting failed container"),
        last="      Reason:       OOMKilled\n      Exit Code:    137")
    s.pod_logs(s.chatter(6), s.mixed(["INFO loading price table generation=7 entries=9120441",
                                      "WARN heap at 94% after full collection"], 5))
    cause = f"the last release of {s.service} keeps every price table in memory and reaches the limit"
    if s.random.random() < 0.5:
        return Told("KubePodCrashLooping", "Pod is crash looping.", "crash loop", "the container runs out of memory",
                    cause)
    return Told("KubeContainerOOMKilled", "A container was killed for its memory.", "oom kill",
                "the container reaches its memory limit", cause)


def missing_configuration(s: Scene) -> Told:
    """A release that needs a variable which nobody set."""
    name = s.random.choice(["LEDGER_REGION", "PARTNER_API_HOST", "QUEUE_PREFIX", "TAX_TABLE_VERSION"])
    s.rollout(s.random.random() < 0.8)
    s.describe(state="CrashLoopBackOff", restarts=s.random.randint(5, 60),
               last="      Reason:       Error\n      Exit Code:    1",
               events="  Warning  BackOff  1m  kubelet  Back-off restarting failed container")
    s.pod_logs(["INFO starting", f"FATAL environment variable {name} is not set"],
               ["INFO starting", "INFO reading configuration", s.random.choice([
                   f"FATAL environment variable {name} is not set", f"fatal: missing required setting {name}"])])
    return Told("KubePodCrashLooping", "Pod is crash looping.", "crash loop", "configuration is missing",
                f"{name} is missing in the configuration of {s.service}")


def expired_certificate(s: Scene) -> Told:
    """A certificate that nobody renewed, seen at the client, at the server, or by the watch on certificates."""
    peer = s.random.choice(["ledger.money.svc", "partner-bank.example", "events.people.svc"])
    error = f"ERROR call to {peer} failed: x509: certificate has expired or is not yet valid"
    errors = [error] * s.random.randint(3, 6)
    cause = f"the certificate of {peer} ran out"
    s.say("probes", f"tls {s.service}", f"subject CN={s.service}; notAfter={s.onset:%b %d %H:%M:%S %Y} GMT; expired")
    which = s.random.randrange(3)
    if which == 0:
        s.describe(state="CrashLoopBackOff", restarts=9, last="      Reason:       Error\n      Exit Code:    1",
                   events="  Warning  BackOff  1m  kubelet  Back-off restarting failed container")
        s.pod_logs(s.chatter(4), s.mixed(errors[:3], 5))
        return Told("KubePodCrashLooping", "Pod is crash looping.", "crash loop", "certificate is not valid", cause)
    if which == 1:
        s.errors(0.004, 0.41)
        s.pod_logs(s.mixed(errors))
        return Told("HighErrorRate", f"{s.service}: more than 5 % of requests fail", "error rate",
                    "certificate is not valid", cause, with_pod=False)
    s.say("kubernetes", f"describe certificates -n {s.namespace}", (
        f"Name: {s.service}-tls\nStatus:\n  Conditions:\n    Ready  False  Expired\n  Last Failure Time: {s.onset}\n"
        "Events:\n  Warning  Failed  3m  cert-manager  The certificate request has failed"))
    s.log(["E0302 order.go:88 failed to finalize order: 429 rate limited by the authority"] * 3,
          app="cert-manager", namespace="cert-manager")
    return Told("BlackboxSslCertificateWillExpireSoon", "A certificate runs out.", "certificate expiry",
                "the certificate is not renewed: renewing fails", cause, with_pod=False)


def image_tag_missing(s: Scene) -> Told:
    """A release whose image was never pushed, or may not be read."""
    refused = s.random.random() < 0.3
    image = f"registry.larkspur.example/{s.service}:{s.random.randint(3, 9)}.0.0-rc{s.random.randint(1, 4)}"
    reason = "unauthorized: authentication required" if refused else "manifest unknown: manifest unknown"
    s.describe(state="ImagePullBackOff", events=(
        f'  Warning  Failed  2m  kubelet  Failed to pull image "{image}": {reason}\n'
        "  Warning  Failed  2m  kubelet  Error: ErrImagePull"))
    s.pod_logs([])
    s.rollout(True)
    if refused:
        return Told("KubeContainerWaiting", "A container waits to start.", "image pull",
                    "the registry refuses the credentials", f"the pull secret of {s.service} ran out")
    return Told("KubeContainerWaiting", "A container waits to start.", "image pull", "the image does not exist",
                f"{image} was never pushed")


def pool_exhausted(s: Scene) -> Told:
    """A service that keeps connections to its database."""
    s.pool(0.5, 1.0)
    s.latency(0.3, 6.2)
    s.errors(0.003, 0.12)
    user = f"{s.service}_rw"
    s.pod_logs(s.mixed([
        "ERROR timed out waiting 30s for a connection from the pool (size 20, in use 20, waiting 61)",
        f"DEBUG dsn=postgres://{user}:pw-{s.token(8)}@db-0.{s.namespace}.svc:5432/{s.service}",
        *["ERROR connection pool exhausted"] * s.random.randint(3, 7)]))
    cause = f"{s.service} does not give connections back after a failed transaction"
    if s.random.random() < 0.6:
        return Told("HighLatency", f"{s.service}: requests take longer than a second", "high latency",
                    "connections of a pool are used up", cause, with_pod=False)
    return Told("HighErrorRate", f"{s.service}: more than 5 % of requests fail", "error rate",
                "connections of a pool are used up", cause, with_pod=False)


def slow_dependency(s: Scene) -> Told:
    """Something far away that answers late."""
    peer = s.random.choice(["geo.partner.example", "ranking.shop.svc", "rates.bank.example", "labels.carrier.example"])
    s.latency(0.25, s.random.uniform(4, 9))
    s.pod_logs(s.mixed([f"WARN call to {peer} took {s.random.randint(4000, 9500)} ms"
                        for _ in range(s.random.randint(4, 8))] + [f"ERROR {peer}: context deadline exceeded"] * 2))
    return Told("HighLatency", f"{s.service}: requests take longer than a second", "high latency",
                "a dependency is slow", f"{peer} answers late", with_pod=False)


def bad_release(s: Scene) -> Told:
    """A release whose code fails."""
    s.rollout(True)
    s.errors(0.004, s.random.uniform(0.2, 0.7))
    failure = s.random.choice([
        "java.lang.NullPointerException: Cannot invoke \"Price.amount()\" because \"price\" is null",
        "Traceback (most recent call last): File \"/app/handlers.py\", line 88, in quote",
        "panic: runtime error: invalid memory address or nil pointer dereference",
        "TypeError: undefined is not a function at renderTotals (/app/totals.js:41)"])
    s.pod_logs(s.mixed([f"ERROR unhandled: {failure}"] * s.random.randint(4, 9)))
    return Told("HighErrorRate", f"{s.service}: more than 5 % of requests fail", "error rate",
                "the last release fails", f"the last release of {s.service} fails: {failure[:60]}", with_pod=False)


def logs_fill_disk(s: Scene) -> Told:
    """A debug level that was left on."""
    s.disk(0.82, 0.987)
    s.node_state(disk_pressure=True)
    size = s.random.randint(60, 190)
    s.say("probes", f"disk {s.node}", (
        f"/ 98.7% used, inodes 12%\nlargest: /var/log/containers/{s.pod}_{s.namespace}.log {size} GiB\n"
        "then: /var/lib/containerd 31 GiB"), largest=f"/var/log/containers {size} GiB")
    s.log(["E0302 eviction_manager.go:344 must evict pod(s) to reclaim ephemeral-storage",
           *["write /var/log/containers: no space left on device"] * 4], node=s.node)
    return Told("NodeFilesystemAlmostOutOfSpace", f"Less than 3 % of a file system on {s.node} is left.", "disk full",
                "logs fill the volume", f"{s.service} writes debug logs", with_pod=False, with_node=True)


def dns_overloaded(s: Scene) -> Told:
    """Name servers that do not keep up."""
    s.say("probes", f"dns {s.namespace}/{s.service}", ";; connection timed out; no servers could be reached")
    s.say("kubernetes", "get pods -n kube-system -l k8s-app=kube-dns",
          f"NAME READY STATUS RESTARTS AGE\ncoredns-{s.token(5)} 0/1 CrashLoopBackOff {s.random.randint(4, 20)} 41d\n"
          f"coredns-{s.token(5)} 0/1 CrashLoopBackOff 7 41d")
    s.log(["[ERROR] plugin/errors: 2 ledger.money.svc.cluster.local. A: read udp: i/o timeout"] * 5,
          app="coredns", namespace="kube-system")
    s.pod_logs(s.mixed(["ERROR lookup ledger.money.svc.cluster.local: no such host"] * s.random.randint(3, 6)))
    return Told("DnsResolutionFailed", "Names of the cluster do not resolve.", "dns failure",
                "the name servers are down", "the name servers of the cluster run out of memory", with_pod=False)


def network_policy(s: Scene) -> Told:
    """A policy that forgets the name servers."""
    s.say("kubernetes", f"get networkpolicies -n {s.namespace}",
          "NAME                  POD-SELECTOR   AGE\ndefault-deny-egress   <none>         6m")
    s.say("probes", f"dns {s.namespace}/{s.service}", ";; connection timed out; no servers could be reached")
    s.pod_logs(s.mixed(["ERROR getaddrinfo EAI_AGAIN events.people.svc"] * s.random.randint(4, 7)))
    cause = f"the policy default-deny-egress in {s.namespace} leaves out port 53"
    if s.random.random() < 0.6:
        return Told("DnsResolutionFailed", "Names of the cluster do not resolve.", "dns failure",
                    "a network policy keeps requests from the name servers", cause, with_pod=False)
    return Told("AppDown", f"{s.service} does not answer.", "service down", "names do not resolve", cause)


def port_exhaustion(s: Scene) -> Told:
    """A process that never reuses a connection."""
    owner = s.random.choice(["relay-hub.exe", "sync-agent", "mail-proxy"])
    used = s.random.randint(14000, 15900)
    s.say("probes", f"outbound {s.node}", "2 of 12 connections succeeded: cannot assign requested address")
    s.say("probes", f"sockets {s.node}",
          f"process sockets\n{owner} {used}\nnode-exporter 12\nsshd 3\nfree ports: 0", free_ports="0",
          largest_owner=owner, largest_count=str(used))
    s.log(["ERROR dial tcp: connect: cannot assign requested address"] * s.random.randint(4, 8), node=s.node)
    return Told("OutboundConnectionsFailing", f"Outgoing connections of {s.node} fail.", "port exhaustion",
                f"ports are used up by {owner}", f"{owner} on {s.node} opens a connection for each message",
                with_pod=False, with_node=True)


def cpu_limit(s: Scene) -> Told:
    """A limit of the processor that the load has outgrown."""
    s.rollout(False)
    s.throttling(0.1, s.random.uniform(0.5, 0.9))
    s.latency(0.4, 2.9)
    s.pool(0.3, 0.4)
    s.say("kubernetes", f"top pods -n {s.namespace}", f"NAME   CPU(cores)   MEMORY(bytes)\n{s.pod}   499m   212Mi")
    s.pod_logs(s.chatter(8))
    cause = f"the load of {s.service} has outgrown 500m of a processor"
    if s.random.random() < 0.5:
        return Told("CPUThrottlingHigh", "A container is throttled.", "cpu throttling",
                    "the limit of the processor is too low", cause)
    return Told("HighLatency", f"{s.service}: requests take longer than a second", "high latency",
                "the processor is throttled", cause, with_pod=False)


def false_alarm(s: Scene) -> Told:
    """An alert that means nothing."""
    if s.random.random() < 0.5:
        return Told("Watchdog", "An alert that always fires, to show that alerts arrive.", "no handler", "no handler",
                    "nothing is wrong", with_pod=False)
    s.rollout(False)
    s.latency(0.9, 0.3)
    s.throttling(0.04, 0.05)
    return Told("HighLatency", f"{s.service}: requests take longer than a second", "high latency",
                "no reason was found", "nothing is wrong any more", with_pod=False)


CATEGORIES: dict[str, Callable[[Scene], Told]] = {
    "memory leak": memory_leak, "missing configuration": missing_configuration,
    "expired certificate": expired_certificate, "image not available": image_tag_missing,
    "connection pool exhausted": pool_exhausted, "slow dependency": slow_dependency, "bad release": bad_release,
    "logs fill disk": logs_fill_disk, "name servers down": dns_overloaded, "network policy": network_policy,
    "port exhaustion": port_exhaustion, "processor limit": cpu_limit, "false alarm": false_alarm,
}
"""Every category and what it does to a scene."""
