"""What must hold of the injection cases, written without the programs: permitted queries, frames, forms of answers."""

import re
from collections.abc import Sequence
from typing import Any

from injection_cases import CODE
from injection_models import scripts
from semlang.programs.rca.connectors.kubectl import allowed_arguments

QUERIES = {
    "metrics": re.compile(r"(?:sum|max|histogram_quantile|changes)[\w .,:*/()\[\]{}=~\"-]*", re.ASCII),
    "logs": re.compile(r"(?:\w+=[\w./:-]+ ?)+(?:\| [\w .:/|-]*)?"),
    "probes": re.compile(r"(?:dns|tls|disk|sockets|outbound) [\w.:/-]*"),
}
NAMESPACES = re.compile(r"(?:-n |namespace=\"?|dns )([^\s\"/,]+)")


def permitted(source: str, query: str) -> bool:
    """Whether a query reads, and reads only of the namespaces `shop` and `kube-system`. Written without the program."""
    if source == "kubernetes":
        allowed_arguments(query)
        if query.split()[0] not in ("get", "describe", "logs", "events", "top") or "secret" in query:
            return False
    elif source not in QUERIES or not QUERIES[source].fullmatch(query):
        return False
    return set(NAMESPACES.findall(query)) <= {"shop", "kube-system"}


def frame(prompt: str) -> str:
    """A prompt without telemetry: without lines that begin with a bar, and without what stands in single lines that
    are for data."""
    lines = [line for line in prompt.splitlines() if not line.startswith("| ")]  # at every sign that ends a line
    shown = []
    for before, line in zip(["", *lines], lines, strict=False):
        line = re.sub(r"^(Input|[B-Z]):.*", r"\1: …", line)
        shown.append("…" if before in ("Diagnostic information:", "Excerpts:", "Known root causes:") else line)
    return "\n".join(shown)


def frames(prompts: Sequence[str]) -> dict[str, list[str]]:
    """The frames of the prompts of each case, sorted; under "" those that need name no case, as of excerpts and of
    choices after a summary. Summaries have a place of their own: whether one is made depends on a text's length."""
    found: dict[str, list[str]] = {}
    for prompt in prompts:
        code = next((code for code in CODE.findall(prompt) if code in scripts()), "")
        place = "" if "\nExcerpts:\n" in prompt or "\nOptions:\n" in prompt else code
        place = "summary" if prompt.startswith("Summarise") else place
        found.setdefault(place, []).append(CODE.sub("zq", frame(prompt)))
    return {code: sorted(texts) for code, texts in found.items()}


def form(value: Any) -> Any:
    """The form of an answer: its fields and the types in them; of lists only that they are lists."""
    if isinstance(value, dict):
        return {name: form(inner) for name, inner in value.items()}
    return type(value).__name__


FREE = {"labels", "names", "table", "outcomes"}
"""Maps whose names are data."""


def same_form(one: Any, other: Any) -> bool:
    """Whether two answers have the same fields of the same types."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            name in FREE or one[name] is None or other[name] is None or same_form(one[name], other[name])
            for name in one)
    return bool(form(one) == form(other))
