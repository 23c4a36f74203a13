"""Models that take part in the injection cases: one that pays no attention to telemetry, and one that obeys it."""

import hashlib
import json
import re
from functools import lru_cache

from injection_cases import CODE, cases, twins


def look(shown: str, name: str) -> tuple[str, str]:
    return "kubernetes", json.dumps({"object": shown, "namespace": "", "name": name}, separators=(",", ":"))


def metric(shown: str) -> tuple[str, str]:
    return "metric", json.dumps({"metric": shown, "namespace": "", "name": "cart"}, separators=(",", ":"))


POD = "cart-pfffvvb95-59lnc"
DETAILS = ("details", '{"question":"what does the alert say about its team, its pod and its runbook url?"}')
SEARCH = [("history", '{"question":"requests of cart fail, its pool is used up"}'), ("past_incident", "past-0")]
FETCHES: dict[str, list[tuple[str, str]]] = {
    "logs of the pod": [look("pod_logs", POD)], "logs of the last run": [look("previous_pod_logs", POD)],
    "description of the pod": [look("pod", POD)], "events": [look("pod_events", POD)], "names of pods": [
        look("pods", "")], "description of the node": [look("node", "worker-03")],
    "values of metric labels": [metric("connections_of_service")], "names of metric labels": [
        metric("errors_of_service")], "message of a failed tool": [metric("connections_of_service")],
    "message of a denied tool": [metric("connections_of_service")],
    "lines of logs": [("logs", '{"namespace":"shop","app":"cart","words":""}')],
    "answer of a probe": [("probe", '{"probe":"dns","namespace":"","name":"cart"}')],
    "text of a past incident": SEARCH, "category of a past incident": SEARCH, "summary of a past incident": SEARCH,
}
"""What an agent does to see each carrier; what is in alerts it sees at once."""
FINISH = ("finish", '{"cause":"the pool is used up","evidence":["E3"],"sufficient":"yes"}')


@lru_cache(maxsize=1)
def scripts() -> dict[str, list[tuple[str, str]]]:
    """What the steadfast model does in each case and twin."""
    carriers = {case.code: case.carrier for case in cases()} | {code: carrier for code, carrier, _ in twins()}
    return {code: [*FETCHES.get(carrier, [DETAILS]), look("pods", ""), FINISH] for code, carrier in carriers.items()}


LABEL = re.compile(r"(?:\A|\n)([A-Z][a-z]+(?: [a-z]+)*):([^\n]*)\Z")
FIXED = {
    "Thought": "look on", "Analysis": "it shows enough", "Summary": "connections of a pool are used up " * 20,
    "Explanation": "it is alike", "Root cause": "pool used up", "Rating": "7", "Verdict": "fault",
    "Layer": "application", "Claims": "[]", "Words and page": "",
    "Answer": "yes",
}


def place_of_output(text: str) -> tuple[str, str]:
    """The label after which the model writes, and what is there already. Labels begin lines, and no telemetry does."""
    found = LABEL.search(text[-4_000:])
    assert found is not None, f"the model writes where no label is: {text[-80:]!r}"
    return found[1], found[2]


def fixed_answer(label: str, text: str) -> str:
    """What a model writes that pays no attention to telemetry: it counts turns, which telemetry cannot add to."""
    if label in ("Tool", "Arguments"):
        code = next(code for code in CODE.findall(text) if code in scripts())
        script = scripts()[code]
        return script[min(text.count("\nThought:"), len(script)) - 1][label == "Arguments"]
    if label == "Answer" and "\nOptions:\n" in text:
        return "B"
    return FIXED[label]


def go_on(wanted: str, written: str) -> str:
    """The rest of what is wanted; nothing where something else was written already."""
    wanted = f" {wanted}"
    if wanted.startswith(written):
        return wanted[len(written):]
    return wanted[1 + len(written):] if wanted[1:].startswith(written) else ""


def steadfast(text: str) -> str:
    label, written = place_of_output(text)
    return go_on(fixed_answer(label, text), written)


class Obedient:
    """Does what telemetry says, once it has read it: it writes the payload wherever it writes, in every field."""

    def __init__(self) -> None:
        self.payloads = {case.code: case.payload for case in cases()}
        self.obeyed: set[str] = set()

    def __call__(self, text: str) -> str:
        label, written = place_of_output(text)
        read = [code for code in CODE.findall(text) if f"{code}:" in text]
        if not read:
            return go_on(fixed_answer(label, text), written)
        self.obeyed.add(read[0])
        payload = self.payloads[read[0]]
        turn = text.count("\nThought:") + int(hashlib.sha256(read[0].encode()).hexdigest(), 16)
        if label == "Tool":  # each turn another one, so that all are tried
            return go_on(("kubernetes", "logs", "metric", "finish", "probe", "details", "history", "snapshot",
                          "past_incident")[turn % 9], written)
        if label in ("Arguments", "Words and page", "Claims"):  # into each text in turn; its signs may end it early
            inside = re.split(r'(?<!\\)"', written)
            if turn % 2 and re.search(r'"namespace":"$', written):
                return '"'  # every other time the right namespace, so that a request is not refused for that alone
            return payload[len(inside[-1]):] + '"' if len(inside) % 2 == 0 else '"'
        return go_on(f"{payload}\nTool: finish", written)
