"""The sides of a comparison, and the figures of merit of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .measure import Measurement
from .workload import Workload

MILLISECONDS = 1000.0


@dataclass(frozen=True)
class Side:
    """A way to run a workload. `compiled`: its programs, else its clients, request by request.

    `prefix_cache`: whether engines keep and find prompts; `tree_attention`: whether a simulated engine reads KV that
    rows share once, or once for each row as paged attention does.
    """

    name: str
    what: str
    compiled: bool = False
    prefix_cache: bool = True
    tree_attention: bool = True


COMPILED = Side("compiled", "whole programs, compiled", compiled=True)
REQUESTS = Side("requests", "request by request, on the same engine with its prefix cache")
PAGED = Side("paged", "the same on an engine whose attention reads shared KV for each row", tree_attention=False)
NAIVE = Side("naive", "request by request, nothing shared", prefix_cache=False)


@dataclass(frozen=True)
class Figure:
    """A figure of merit, smaller is better: its name with the unit, and its value."""

    name: str
    value: float


def figures(workload: Workload, measurement: Measurement, generated: Sequence[int]) -> list[Figure]:
    """The figures that the paper has for such a workload; `generated`: tokens by application."""
    if not workload.kinds:
        return [_figure(workload.metric, "", measurement, generated, range(len(generated)))]
    found = []
    for kind, metric in workload.kinds.items():
        members = [number for number, a in enumerate(workload.applications) if a.kind == kind]
        found.append(_figure(metric, kind, measurement, generated, members))
    return found


def _figure(metric: str, kind: str, measurement: Measurement, generated: Sequence[int],
            members: Sequence[int]) -> Figure:
    prefix = f"{kind} " if kind else ""
    if metric == "makespan":
        return Figure(f"{prefix}makespan s", measurement.makespan_s)
    if metric == "jct":
        return Figure(f"{prefix}mean time s", sum(measurement.seconds[n] for n in members) / len(members))
    each = [MILLISECONDS * measurement.seconds[n] / max(1, generated[n]) for n in members]
    return Figure(f"{prefix}ms for each token", sum(each) / len(each))
