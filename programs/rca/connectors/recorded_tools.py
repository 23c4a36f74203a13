"""Outputs of an investigator's tools, recorded one in a file: replays what kubectl said.

The first line of a file is JSON that names the tool and its parameters (`tool_name`, `match_params`), the second says
how it ended (`status`, `error`), the rest is what it printed.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..outcomes import Answer, Outcome, answer_of_text, failed
from .kubectl import allowed_arguments, of_failure
from .replay import check_size

LOG_TOOLS = ("kubectl_logs", "fetch_pod_logs", "kubectl_logs_all_containers")
PREVIOUS_TOOLS = ("kubectl_previous_logs", "kubectl_previous_logs_all_containers")
Tool = tuple[str, dict[str, Any], str]
"""A tool's name, its parameters, and the rest of its file."""


class RecordedTools:
    """The recordings in a directory; metrics and logs other than those of kubectl are not among them."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def query(self, source: str, query: str, start: str, end: str, deadline: float) -> Answer:
        """What kubectl said, see `interface.py`."""
        missing = failed(f"there is no recording of {query!r} from {source}")
        if source != "kubernetes":
            return missing
        try:
            arguments = allowed_arguments(query)
            tools = read_tools(self.directory)
        except PermissionError as error:
            return failed(str(error), Outcome.DENIED)
        except (OSError, ValueError) as error:
            return failed(f"the recordings in {self.directory} cannot be read: {error}")
        for names, wanted in calls_of(arguments):
            for name, parameters, content in tools:
                if name in names and wanted.keys() <= parameters.keys() and all(
                        str(parameters[key]).lower() in (value.lower(), "*") for key, value in wanted.items()):
                    return answer_of(content)
        return missing


@lru_cache(maxsize=16)
def read_tools(directory: str) -> list[Tool]:
    """Every recording in `directory`, in order of file names. Raises OSError and ValueError, also for too many."""
    tools = []
    files = sorted(Path(directory).glob("*.txt"))
    check_size(directory, files)
    for file in files:
        first, _, rest = file.read_text(encoding="utf-8", errors="replace").partition("\n")
        if first.startswith("{"):
            head = json.loads(first)
            if "tool_name" in head:
                tools.append((str(head["tool_name"]), dict(head.get("match_params") or {}), rest))
    return tools


def calls_of(arguments: list[str]) -> list[tuple[tuple[str, ...], dict[str, str]]]:
    """Tools, and the parameters that they need to have, that say the same as arguments of kubectl."""
    options, words, flags = _split(arguments)
    namespace = {"namespace": options["-n"]} if "-n" in options else {}
    match words:
        case ["describe", kind, name]:
            return [(("kubectl_describe",), {"kind": kind, "name": name, **namespace})]
        case ["get", kind, name] if options.get("-o") == "yaml":
            return [(("kubectl_get_yaml",), {"kind": kind, "name": name, **namespace})]
        case ["get", kind, name]:
            return [(("kubectl_get_by_name",), {"kind": kind, "name": name, **namespace})]
        case ["get", kind]:
            kind = kind.removesuffix("s")
            return [(("kubectl_get_by_kind_in_namespace",), {"kind": kind, **namespace}),
                    (("kubectl_get_by_kind_in_cluster",), {"kind": kind})]
        case ["logs", name]:
            tools = PREVIOUS_TOOLS if {"--previous", "-p"} & flags else LOG_TOOLS
            return [(tools, {"pod_name": name, **namespace})]
        case ["events"]:
            kind, _, name = options.get("--for", "").partition("/")
            about = {"resource_type": kind, "pod_name": name} if name else {}
            return [(("kubectl_events",), {**about, **namespace})]
        case ["top", "pods" | "nodes" as kind]:
            return [((f"kubectl_top_{kind}",), {})]
    return []


def answer_of(content: str) -> Answer:
    """The answer in a recording, without its first line."""
    first, _, output = content.partition("\n")
    try:
        head = json.loads(first)
    except ValueError:
        return answer_of_text(content)
    status = head.get("status")
    if status == "success":
        printed, _, complaints = output.removeprefix("stdout:\n").partition("\nstderr:")
        return answer_of_text("\n".join(part.strip("\n") for part in (printed, complaints) if part.strip()))
    if status == "no_data":
        return Answer(Outcome.EMPTY)
    return of_failure(str(head.get("error") or "no reason was recorded"), int(head.get("return_code") or 1))


def _split(arguments: list[str]) -> tuple[dict[str, str], list[str], set[str]]:
    options: dict[str, str] = {}
    words, flags = [], set()
    names = {"--namespace": "-n", "--output": "-o"}
    rest = iter(arguments)
    for argument in rest:
        name, separator, value = argument.partition("=")
        if argument in ("-n", "--namespace", "-o", "--output", "--for", "-l", "--tail", "-c"):
            options[names.get(argument, argument)] = next(rest, "")
        elif separator and name.startswith("-"):
            options[names.get(name, name)] = value
        elif argument.startswith("-"):
            flags.add(argument)
        else:
            words.append(argument)
    return options, words, flags


def holds_recorded_tools(directory: str) -> bool:
    """Whether a directory holds such recordings."""
    try:
        return bool(read_tools(directory))
    except (OSError, ValueError):
        return False


