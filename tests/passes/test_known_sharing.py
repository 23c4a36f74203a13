"""Programs whose best sharing was worked out by hand: the run fills exactly the tokens of the smallest prefix tree.

Each token is a byte and every output is "y" or "n", so a tree can be written down as the texts of its edges. At -O2 the
prefix cache of the engine is on; with the pass alone it is off, and what is shared is what the program itself says.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest
from byte_tokenizer import ByteTokenizer
from semlang.backend.executor import run_module
from semlang.backend.reference import reference_runner
from semlang.backend.results import RunResult
from semlang.backend.step_engine import StepEngine
from semlang.frontend.compile import compile_file
from semlang.ir.core import Module
from semlang.ir.target import ModelTarget, Target
from semlang.passes.base import Pass
from semlang.passes.manager import PipelineOptions, run_pipeline
from semlang.passes.pipeline_parser import parse_pipeline
from semlang.passes.pipelines import pipeline

CONTEXT_LENGTH = 4096
ALONE = "inline,tokenize,dce,hoist-prefixes{min-tokens=1},lower-engine,free-contexts"
TARGET = Target({"": ModelTarget(ByteTokenizer(), CONTEXT_LENGTH)}, "reference")


@dataclass
class Case:
    """`tree`: the edges that the program itself shares; `found`: those with what only the run can know, or None.

    The last token of an output is computed when something continues it, so there an edge begins with "y".
    """

    source: str
    tree: list[str]
    found: list[str] | None = None


def semantic(name: str, signature: str, prompt: str) -> str:
    """A semantic function whose prompt is on one line; `->` stands for an output of one token."""
    for number in range(prompt.count("->")):
        prompt = prompt.replace("->", f'{{{{output:o{number} choices=["y", "n"]}}}}', 1)
    outputs = ", ".join(f"o{number}: text" for number in range(prompt.count("{{output:")))
    return f'semantic {name}({signature}) -> ({outputs}) {{ """{prompt}""" }}\n'


def with_roles(name: str, user: str) -> str:
    """A semantic function with a part for each role."""
    return (f'semantic {name}(x: text) -> y: text {{ system """Be kind.""" user """{user}""" '
            'assistant """{{output:y choices=["y", "n"]}}""" }\n')


def compiled(source: str, passes: list[Pass], folder: Path) -> Module:
    path = folder / "main.sem"
    path.write_text(source)
    module = compile_file(str(path), program="Main").module
    run_pipeline(module, passes, TARGET, PipelineOptions(verify_each=True))
    return module


def filled(module: Module, *, prefix_cache: bool) -> int:
    """Tokens that a run computes."""
    return run(module, prefix_cache=prefix_cache).stats.filled_tokens


def outputs(module: Module) -> dict[str, str]:
    """What a run returns."""
    return {name: str(value) for name, value in run(module, prefix_cache=False).outputs.items()}


def run(module: Module, *, prefix_cache: bool) -> RunResult:
    tokenizer = ByteTokenizer()
    engine = StepEngine(reference_runner(tokenizer, CONTEXT_LENGTH), tokenizer, name="reference", kv_slots=1 << 16,
                        prefix_cache=prefix_cache, speculative_fills=False)
    try:
        result = run_module(module, {"": engine}, {}, timeout=30)
        assert not result.errors
        return result
    finally:
        engine.close()


CASES: dict[str, Case] = {}
A = semantic("A", "x: text", "You are an editor. Shorten:{{x}}->")
B = semantic("B", "x: text", "You are an editor. Correct:{{x}}->")

CASES["two functions with one head"] = Case(
    A + B + """program Main(a: text = "abc") -> (y: text, z: text) { return A(a), B(a) }""",
    ["You are an editor. ", "Shorten:abc", "Correct:abc"])

CASES["prompts that part twice"] = Case(
    A + B + semantic("C", "x: text", "You are an expert. Correct:{{x}}->") +
    """program Main(a: text = "abc") -> (x: text, y: text, z: text) { return A(a), B(a), C(a) }""",
    ["You are an e", "ditor. ", "Shorten:abc", "Correct:abc", "xpert. Correct:abc"])

CASES["one prompt is the beginning of another"] = Case(
    semantic("C", "", "Tell me->") + semantic("D", "", "Tell me more->") + semantic("E", "", "Tell me more now->") +
    """program Main() -> (x: text, y: text, z: text) { return E(), C(), D() }""",
    ["Tell me", " more", " now"])

CASES["equal inputs in different functions"] = Case(
    semantic("C", "t: text, x: text", "Task:{{t}} Code:{{x}}->") +
    semantic("D", "t: text, x: text", "Task:{{t}} Comment:{{x}}->") +
    """program Main(t: text = "abc", p: text = "p", q: text = "q") -> (x: text, y: text, z: text) {
      return C(t, p), D(t, p), C(q, p)
    }""",
    ["Task:", "abc Co", "de:p", "mment:p", "q Code:p"])

CASES["the head of a map"] = Case(
    A + """program Main(xs: list[text] = ["abc", "de"]) -> (y: list[text]) { return [A(x) for x in xs] }""",
    ["You are an editor. Shorten:", "abc", "de"])

CASES["two maps"] = Case(
    A + B + """program Main(xs: list[text] = ["abc", "de"]) -> (y: list[text], z: list[text]) {
      return [A(x) for x in xs], [B(x) for x in xs]
    }""",
    ["You are an editor. ", "Shorten:", "abc", "de", "Correct:", "abc", "de"])

CASES["a map and the code around it"] = Case(
    A + B + """program Main(xs: list[text] = ["abc", "de"]) -> (x: text, y: list[text], z: text) {
      let first = A("pq")
      let all = [B(x) for x in xs]
      return first, all, A(join(all, "+"))
    }""",
    ["You are an editor. ", "Shorten:", "pq", "y+y", "Correct:", "abc", "de"])

CASES["maps in maps"] = Case(
    semantic("C", "t: text, x: text, y: text", "Task:{{t}} Compare:{{x}} With:{{y}}->") +
    """program Main(t: text = "t", xs: list[text] = ["abc", "de"]) -> (y: list[list[text]]) {
      return for x in xs { [C(t, x, y) for y in xs] }
    }""",
    ["Task:t Compare:", "abc With:", "abc", "de", "de With:", "abc", "de"])

CASES["branches that begin alike"] = Case(
    A + B + """program Main(xs: list[text] = ["abc", "de", "fgh"]) -> (y: list[text]) {
      return for x in xs { if len(x) > 2 { A(x) } else { B(x) } }
    }""",
    ["You are an editor. ", "Shorten:abc", "Correct:de", "Shorten:fgh"],
    ["You are an editor. ", "Shorten:", "abc", "fgh", "Correct:de"])

CASES["one branch of two"] = Case(
    A + """program Main(xs: list[text] = ["abc", "de", "fgh"]) -> (y: list[text]) {
      return for x in xs { if len(x) > 2 { A(x) } else { x } }
    }""",
    ["You are an editor. Shorten:abc", "You are an editor. Shorten:fgh"],
    ["You are an editor. Shorten:", "abc", "fgh"])

CASES["a branch, and code after it that begins alike"] = Case(
    A + B + """program Main(a: text = "abc") -> (y: text, z: text) {
      let y = if len(a) > 2 { A(a) } else { a }
      return y, B(a)
    }""",
    ["You are an editor. ", "Shorten:abc", "Correct:abc"])

CASES["what runs where something failed"] = Case(
    A + B + """program Main(a: text = "abc") -> (y: text, z: text) {
      let x = A(a)
      return x, text_of(1 // (len(a) - 3))
    }
    program text_of(n: int) -> t: text { return try "${n}" else B("q") }""",
    ["You are an editor. ", "Shorten:abc", "Correct:q"])

CASES["a fold that refines"] = Case(
    semantic("C", "old: text, x: text", "You merge notes. So far:{{old}} New:{{x}}->") +
    """program Main(xs: list[text] = ["abc", "de", "fgh"]) -> y: text {
      return fold old = "" for x in xs { C(old, x) }
    }""",
    ["You merge notes. So far:", " New:abc", "y New:", "de", "y New:fgh"],
    ["You merge notes. So far:", " New:abc", "y New:", "de", "fgh"])

CASES["a chat through a fold"] = Case(
    semantic("C", "h: chat, x: text", "{{input:h}}User:{{x}}!->") +
    """program Main(xs: list[text] = ["abc", "de", "fgh"]) -> y: text {
      let end = fold h = chat(), y = "" for x in xs {
        let turn = C(h, x)
        yield turn.chat, turn
      }
      return end.y
    }""",
    ["User:abc!", "yUser:de!", "yUser:fgh!"])

CASES["two ways to go on with a chat"] = Case(
    semantic("C", "h: chat, x: text", "{{input:h}}User:{{x}}!->") +
    semantic("D", "h: chat, x: text", "{{input:h}}Users:{{x}}!->") +
    """program Main(xs: list[text] = ["abc", "de"]) -> (y: list[text], z: text) {
      let first = C(chat(), "p")
      return [C(first.chat, x) for x in xs], D(first.chat, "q")
    }""",
    ["User:p!", "yUser", ":", "abc!", "de!", "s:q!"])

CASES["parts with roles"] = Case(
    with_roles("C", "Do:{{x}}") + with_roles("D", "Don't:{{x}}") +
    """program Main(xs: list[text] = ["abc", "de"]) -> (y: list[text], z: list[text]) {
      return [C(x) for x in xs], [D(x) for x in xs]
    }""",
    ["<system>Be kind.<user>Do", ":", "abc<assistant>", "de<assistant>", "n't:", "abc<assistant>", "de<assistant>"])

CASES["prompts with several outputs"] = Case(
    semantic("C", "", "Plan:-> Do:->") + semantic("D", "", "Plan:-> Doubt:->") +
    """program Main() -> (y: text, z: text) { return C().o1, D().o1 }""",
    ["Plan:", "y Do:", "y Doubt:"], ["Plan:", "y Do", ":", "ubt:"])

CASES["lists in prompts"] = Case(
    semantic("C", "xs: list[text]", "Read:{{for x in xs}}<{{x}}>{{end}}Shorten:->") +
    semantic("D", "xs: list[text]", "Read:{{for x in xs}}<{{x}}>{{end}}Correct:->") +
    """program Main(xs: list[text] = ["abc", "de"]) -> (y: text, z: text) { return C(xs), D(xs) }""",
    ["Read:", "<abc><de>Shorten:", "<abc><de>Correct:"], ["Read:<abc><de>", "Shorten:", "Correct:"])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_pass_alone_finds_what_the_program_says(case: Case, tmp_path: Path) -> None:
    module = compiled(case.source, parse_pipeline(ALONE), tmp_path)
    assert filled(module, prefix_cache=False) == len("".join(case.tree))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_pipeline_finds_everything(case: Case, tmp_path: Path) -> None:
    module = compiled(case.source, pipeline(2), tmp_path)
    tree = case.tree if case.found is None else case.found
    assert filled(module, prefix_cache=True) == len("".join(tree))


def test_a_prefix_may_leave_a_branch_where_that_is_allowed(tmp_path: Path) -> None:
    case = CASES["one branch of two"]
    module = compiled(case.source, parse_pipeline(ALONE.replace("{", "{speculate=true,")), tmp_path)
    assert case.found is not None
    assert filled(module, prefix_cache=False) == len("".join(case.found))


def test_an_output_in_a_later_prompt_with_the_same_head(tmp_path: Path) -> None:
    """The tokens of an inserted text are known in the run only; the last one of an output is not computed yet."""
    source = """
    semantic C(t: text) -> c: text { \"\"\"Task:{{t}} Code:{{output:c max_tokens=6}}\"\"\" }
    semantic D(t: text, c: text) -> d: text { \"\"\"Task:{{t}} Code:{{c}} Test:{{output:d max_tokens=6}}\"\"\" }
    program Main(t: text = "abc") -> (c: text, d: text) {
      let c = C(t)
      return c, D(t, c)
    }
    """
    for passes, prefix_cache in ((parse_pipeline(ALONE), False), (pipeline(2), True)):
        module = compiled(source, passes, tmp_path)
        output = outputs(module)["c"]
        assert len(output) > 1
        inserted = output[-1:] if prefix_cache else output
        assert filled(module, prefix_cache=prefix_cache) == len("Task:abc Code:" + inserted + " Test:")


def test_a_cut_has_to_pay(tmp_path: Path) -> None:
    """The inner head saves 9 tokens, the outer one 12 for two prompts and 24 for three."""
    source = CASES["prompts that part twice"].source.replace("Correct", "Mend").replace("Shorten", "Melt")
    whole = ["You are an editor. Melt:abc", "You are an editor. Mend:abc", "You are an expert. Mend:abc"]
    for least, tree in (
            (25, whole),
            (10, ["You are an e", "ditor. Melt:abc", "ditor. Mend:abc", "xpert. Mend:abc"]),
            (9, ["You are an e", "ditor. Me", "lt:abc", "nd:abc", "xpert. Mend:abc"])):
        module = compiled(source, parse_pipeline(ALONE.replace("=1", f"={least}")), tmp_path)
        expected = len("".join(tree))
        assert filled(module, prefix_cache=False) == expected, least


def test_a_cut_costs_a_context(tmp_path: Path) -> None:
    """Without `min-tokens` the cost model decides: one token is not worth another context, ten are."""
    passes = parse_pipeline(ALONE.replace("{min-tokens=1}", ""))
    for first, second, edges in (("Pick:", "Show:", ["Pick:", "Show:"]), ("Pick:", "Put:", ["Pick:", "Put:"]),
                                 ("Please pick:", "Please put:", ["Please p", "ick:", "ut:"])):
        source = semantic("C", "", f"{first}->") + semantic("D", "", f"{second}->") + (
            "program Main() -> (y: text, z: text) { return C(), D() }")
        assert filled(compiled(source, passes, tmp_path), prefix_cache=False) == len("".join(edges)), first
