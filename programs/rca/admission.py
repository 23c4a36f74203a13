"""Which requests of the agent are run: whatever a model writes, only names that are names, and only allowed places."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from .readings import plain_name

ALWAYS_ALLOWED = ("kube-system",)
"""Namespaces about which may be asked beside the incident's own: name servers are there."""

WORDS = re.compile(r"[\w .:/-]+(?:\|[\w .:/-]+)*")
"""Words to look for, several of them with bars between; no other regular expression."""
MOST_WORDS = 120

POD, SERVICE, NODE = "pod", "service", "node"
NAMED = {
    "memory_of_pod": POD, "throttling_of_service": SERVICE, "latency_of_service": SERVICE,
    "errors_of_service": SERVICE, "connections_of_service": SERVICE, "disk_of_node": NODE,
    "rollouts_of_service": SERVICE,
    "pod": POD, "pod_logs": POD, "previous_pod_logs": POD, "pod_events": POD, "node": NODE,
    "pods": "", "events": "", "pod_usage": "", "network_policies": "", "certificates": "",
    "dns": SERVICE, "tls": SERVICE, "disk": NODE, "sockets": NODE, "outbound": NODE,
}
"""Of what the name in a request is one; "" for requests that need none."""


def admit(request: dict[str, Any], place: dict[str, Any], namespaces: Sequence[str], earlier: Sequence[str],
          offered: Sequence[str]) -> dict[str, Any]:
    """What `Admitted` of react_tools.sem says, for one request.

    `namespaces`: allowed beside that of `place`; `earlier`: keys of requests that were made; `offered`: numbers of
    incidents and keys of snapshots that the agent has been shown.
    """
    tool = request["tool"]
    words = " ".join(request["words"].split())
    there = place | {"namespace": request["namespace"].strip() or place["namespace"]}
    refusal = ""
    if tool in ("details", "history") and not request["what"].strip():
        refusal = "the question is empty"
    elif tool in ("past_incident", "snapshot") and request["what"] not in offered:
        refusal = f"{shown(request['what'])} is none of those that were shown"
    elif tool in ("metric", "kubernetes", "probe"):
        there, refusal = with_name(there, NAMED[request["what"]], request["name"].strip())
    elif tool == "logs":
        there, refusal = with_name(there, SERVICE if request["name"].strip() else "", request["name"].strip())
    if not refusal and tool in ("metric", "kubernetes", "probe", "logs"):
        refusal = refused_namespace(there["namespace"], place["namespace"], namespaces)
    if not refusal and tool in ("logs", "snapshot") and words:
        refusal = refused_words(words)
    key = key_of(request, there, words)
    if not refusal and key in earlier:
        refusal = "this was asked before; its answer stands above. Ask something else, or finish"
    return {"refusal": refusal, "key": key, "words": words, "place": there if not refusal else place}


def with_name(place: dict[str, Any], kind: str, name: str) -> tuple[dict[str, Any], str]:
    """`place` with a name of a kind in it, and why that cannot be; without a name it keeps its own."""
    if not kind:
        return place, ""
    given = name or place[kind]
    if not given:
        return place, f"no {kind} is named"
    if plain_name(given) != given or "/" in given:
        return place, f"{shown(given)} is no name of a {kind}"
    return place | {kind: given, "breadth": {POD: "pod", SERVICE: "workload", NODE: "node"}[kind]}, ""


def refused_namespace(namespace: str, own: str, others: Sequence[str]) -> str:
    """Why a namespace is not asked about; "" for an allowed one."""
    allowed = [own, *ALWAYS_ALLOWED, *(other for other in others if plain_name(other))]
    if namespace in allowed:
        return ""
    return f"the namespace {shown(namespace)} is not allowed, only {', '.join(dict.fromkeys(allowed))}"


def refused_words(words: str) -> str:
    """Why words are not looked for; "" if they are."""
    if len(words) > MOST_WORDS or not WORDS.fullmatch(words):
        return f"{shown(words)} are no words: give letters, digits and spaces, alternatives with | between"
    return ""


def key_of(request: dict[str, Any], place: dict[str, Any], words: str) -> str:
    """What two requests have in common that ask the same."""
    parts = [request["tool"], " ".join(request["what"].split()).casefold()]
    if request["tool"] in ("metric", "kubernetes", "probe", "logs"):
        kind = NAMED.get(request["what"], SERVICE)
        parts += [place["namespace"], place[kind] if kind else ""]
    if request["tool"] in ("logs", "snapshot"):
        parts += [words.casefold(), str(request["page"])]
    return json.dumps(parts, ensure_ascii=False)


def shown(value: str) -> str:
    """What a model wrote, for a message in one line: at most 40 characters."""
    text = " ".join(value.split())
    return repr(text if len(text) <= 40 else text[:39] + "…")
