"""What the agent of react.sem gets to see: everything masked, numbered where it is evidence, and quoted."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .collect import gathered, masked_with
from .masking import SECRET_KINDS, kind_of, unmask
from .outcomes import Outcome
from .quoting import quoted, quoted_and_kept, quoted_line

OBSERVED_CHARACTERS = 1_400
"""Of one answer stands so much in the prompt."""
NUMBER = re.compile(r"E[1-9][0-9]{0,3}")
INSUFFICIENT = "insufficient evidence"


def begin(alert: str, incident: dict[str, Any], others: Sequence[str], findings: dict[str, Any]) -> dict[str, Any]:
    """`Begun` of react.sem: what is known before the first turn, masked; `masks` holds secrets and is never shown."""
    shown, masks = masked_with(gathered(incident, others, findings) | {"alert": alert}, {})
    told = shown["incident"]
    head = [told["title"], f"kind: {told['kind']}", f"severity: {told['severity']}", f"began: {told['time']}"]
    head += [f"{name}: {told[name]}" for name in ("scope", "service") if told[name]]
    head += [told["description"]] if told["description"] else []
    collected = [f"{step['action']}: {step['result']} ({', '.join(step['evidence'])})" for step in shown["steps"]]
    collected += [f"{e['id']} {e['source']} {e['outcome']}: {e['query']}" for e in shown["evidence"]]
    content = [in_lines(shown["alert"]), *(block(e) for e in shown["evidence"])]
    return {"incident": told, "head": quoted("\n".join(head), 1_500), "collected": quoted("\n".join(collected), 2_400),
            "content": "\n\n".join(content), "evidence": shown["evidence"], "masks": masks,
            "offered": _snapshots(shown["evidence"])}


def in_lines(alert: str) -> str:
    """An alert with a line for each of its values, where it is JSON."""
    try:
        return json.dumps(json.loads(alert), indent=1, ensure_ascii=False)
    except (ValueError, RecursionError):
        return alert


def block(evidence: Mapping[str, Any]) -> str:
    """One piece of evidence as text."""
    table = "; ".join(f"{name}={value}" for name, value in evidence["table"].items())
    head = f"{evidence['id']} {evidence['source']} {evidence['outcome']}: {evidence['query']}"
    return "\n".join(part for part in (head, table, evidence["text"]) if part)


def observe(given: dict[str, Any], refusal: str, evidence: Sequence[dict[str, Any]],
            masks: Mapping[str, str]) -> dict[str, Any]:
    """`Observed` of react.sem: the answer of a tool as the prompt shows it, and all evidence with what is new.

    Evidence that is there already keeps its number.
    """
    if refusal:
        shown, masks = masked_with({"told": refusal}, masks)
        return {"text": quoted(f"not done: {shown['told']}", OBSERVED_CHARACTERS), "evidence": list(evidence),
                "masks": masks, "offered": []}
    shown, masks = masked_with({"evidence": given["evidence"], "told": given["told"]}, masks)
    known = {(e["source"], e["query"], e["text"]): e for e in evidence}
    every, pieces = list(evidence), []
    for piece in shown["evidence"]:
        same = known.get((piece["source"], piece["query"], piece["text"]))
        if same is None:
            same = piece | {"id": f"E{len(every) + 1}"}
            every.append(same)
        pieces.append(same)
    told = [*(block(piece) for piece in pieces), *([shown["told"]] if shown["told"] else [])]
    text, key = quoted_and_kept("\n".join(told) or "nothing", OBSERVED_CHARACTERS)
    return {"text": text, "evidence": every, "masks": masks,
            "offered": [*given["ids"], *_snapshots(pieces), *([key] if key else [])]}


def _snapshots(evidence: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(e["table"]["snapshot"]) for e in evidence if "snapshot" in e["table"]))


def one_line(text: str) -> str:
    """What a model wrote, as it stands in later prompts."""
    return quoted_line(text)


def settle(conclusion: dict[str, Any], evidence: Sequence[dict[str, Any]], masks: Mapping[str, str]) -> dict[str, Any]:
    """`Settled` of react.sem: whether a conclusion stands. A cause needs evidence that exists and was answered.

    Numbers of no evidence are left out. The cause is unmasked, but for secrets.
    """
    there = {e["id"] for e in evidence if e["outcome"] in (Outcome.OK, Outcome.EMPTY)}
    supports = list(dict.fromkeys(number for given in conclusion["evidence"] for number in NUMBER.findall(given)
                                  if number in there))
    names = {n: v for n, v in masks.items() if kind_of(n) not in SECRET_KINDS}
    cause = quoted_line(unmask(conclusion["cause"], names))
    if conclusion["sufficient"] != "yes":
        return {"done": True, "found": False, "cause": INSUFFICIENT, "supports": [], "why": "it says so itself"}
    if not cause or not supports:
        why = "name a cause" if not cause else "give numbers of evidence that is there, such as E1"
        return {"done": False, "found": False, "cause": INSUFFICIENT, "supports": [], "why": why}
    return {"done": True, "found": True, "cause": cause, "supports": supports, "why": ""}


def names_of(masks: Mapping[str, str]) -> dict[str, str]:
    """What the placeholders of no secrets stand for."""
    return {n: v for n, v in masks.items() if kind_of(n) not in SECRET_KINDS}


def clock(after: str) -> float:
    """Seconds of a clock that only goes forward; `after` is what has to be there before it is read."""
    return time.monotonic()
