"""What a client does that sends the prompts of the workloads one request at a time."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .workload import Client, Request, source_path


@lru_cache(maxsize=64)
def template(source: str, semantic: str) -> tuple[str, ...]:
    """The constants of a prompt, dedented as the language does it, and the names of its inputs between them.

    Constants are at even positions, names at odd ones; what follows the output is left out.
    """
    import re
    from textwrap import dedent

    text = source_path(source).read_text(encoding="utf-8")
    found = re.search(rf'semantic {semantic}\(.*?"""\n(.*?)\n  """', text, re.DOTALL)
    assert found is not None, f"{source} has no prompt `{semantic}`"
    body = dedent(found[1]).partition("{{output:")[0].rstrip(" ")
    return tuple(re.split(r"\{\{input:(\w+)\}\}", body))


def request(source: str, semantic: str, tokens: int, **inputs: str) -> Request:
    """The request for one call of a semantic function with text inputs, each on a line of its own."""
    parts = template(source, semantic)
    pieces = [part if number % 2 == 0 else inputs[part] for number, part in enumerate(parts)]
    return Request(tuple(piece for piece in pieces if piece), tokens)


def single(output: str, source: str, semantic: str, tokens: int, **inputs: str) -> Client:
    """One request."""
    (text,) = yield [request(source, semantic, tokens, **inputs)]
    return {output: text}


def chain(parts: list[str], tokens: int) -> Client:
    """One request after another."""
    summary = "(nothing yet)"
    for part in parts:
        (summary,) = yield [request("chain.sem", "Refine", tokens, summary=summary, part=part)]
    return {"summary": summary}


def map_reduce(parts: list[str], tokens: int) -> Client:
    """All parts together, then the join."""
    summaries = yield [request("map_reduce.sem", "SummarizePart", tokens, part=part) for part in parts]
    before, _, after = _around_loop()
    pieces = [before]
    for summary in summaries:
        pieces += [summary, "\n"]
    (text,) = yield [Request((*pieces, after), tokens)]
    return {"summary": text}


def _around_loop() -> tuple[str, str, str]:
    """The constants of `Join`: before its loop, the line end after each element, and after the loop."""
    (text, _, rest) = template("map_reduce.sem", "Join")
    before = text.partition("{{for one in summaries}}\n")[0]
    after = rest.partition("\n{{end}}\n")[2]
    return before, "\n", after


def copilot(instructions: str, questions: list[dict[str, Any]]) -> Client:
    """All questions together."""
    answers = yield [request("copilot.sem", "Answer", question["tokens"], instructions=instructions,
                             question=question["body"]) for question in questions]
    return {"answers": list(answers)}


def multi_agent(arguments: dict[str, Any]) -> Client:
    """Round after round; each round waits for all calls of the one before it."""
    given, sizes = arguments, arguments["sizes"]
    source = "multi_agent.sem"
    designs = yield [request(source, "Design", sizes["design"], rules=given["architect"], task=task)
                     for task in given["tasks"]]
    design = designs[-1]
    codes = yield [request(source, "Write", sizes["code"], rules=given["programmer"], design=design, file=file)
                   for file in given["files"]]
    transcript = [designs, codes]
    for _ in range(given["rounds"]):
        code = codes[-1]
        reviews = yield [request(source, "Review", sizes["comments"], rules=given["reviewer"], design=design,
                                 code=code, focus=focus) for focus in given["focuses"]]
        codes = yield [request(source, "Revise", sizes["again"], rules=given["reviser"], design=design, code=code,
                               comments=reviews[-1], file=file) for file in given["revisions"]]
        transcript += [reviews, codes]
    return {"files": codes, "transcript": transcript}
