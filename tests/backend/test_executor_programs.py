"""Source programs at every level on the reference engine: what the language says about effects and errors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from semlang.backend.results import RunResult
from semlang.frontend.compile import compile_file
from semlang.ir.target import ModelTarget, Target
from semlang.passes.manager import PipelineOptions, run_pipeline
from semlang.passes.pipelines import pipeline

Run = Callable[..., RunResult]

HOSTS = '''
import pathlib


def note(x):
    with pathlib.Path(__file__).with_name("log.txt").open("a") as log:
        log.write(x + "\\n")
    return f"noted {x}"


def boom(x):
    raise ValueError(f"cannot take {x}")
'''

DECLARATIONS = '''
host note(x: text) -> text from "executor_program_hosts:note"
host boom(x: text) -> text from "executor_program_hosts:boom" (pure)
host explode(x: text) -> text from "executor_program_hosts:boom"

semantic Say(topic: text) -> line: text {
  """
  Say something about {{input:topic}}: {{output:line max_tokens=6}}
  """
}

semantic Reply(history: chat, message: text) -> answer: text {
  """
  {{input:history}}
  {{input:message}}
  Answer: {{output:answer max_tokens=6}}
  """
}
'''


@pytest.fixture(params=[0, 1, 2])
def run(request: pytest.FixtureRequest, execute: Any, tmp_path: Path) -> Run:
    """Compiles and runs the program `Main` at one level. The host `note` writes `log.txt` beside it."""

    def run_source(source: str, **arguments: Any) -> RunResult:
        (tmp_path / "executor_program_hosts.py").write_text(HOSTS)
        path = tmp_path / "program.sem"
        path.write_text(DECLARATIONS + source)
        module = compile_file(str(path), program="Main").module
        engine = execute.engine(prefix_cache=request.param > 0)
        target = Target({"": ModelTarget(engine.tokenizer, engine.context_length)}, "reference")
        run_pipeline(module, pipeline(request.param), target, PipelineOptions(verify_each=True))
        result: RunResult = execute(module, arguments, engine=engine)
        return result

    return run_source


def test_failed_elements_try_and_outcome(run: Run) -> None:
    result = run('''
    program Main(xs: list[text]) -> (n: int, first: text, caught: text, ok: bool, why: text, whole: list[text]) {
      let ys = [if x == "bad" { boom(x) } else { x } for x in xs]
      let o = outcome(boom("it"))
      return len(ys), ys[0] ?? "", try (ys[1] ?? "") else "caught", o.ok, o.message, ys
    }''', xs=["good", "bad"])
    assert result.outputs == {"n": 2, "first": "good", "caught": "caught", "ok": False,
                              "why": "the host function `boom` raised ValueError: cannot take it"}
    assert result.errors["whole"].message == "the host function `boom` raised ValueError: cannot take bad"
    path, line, _ = result.errors["whole"].location.rsplit(":", 2)
    assert path.endswith("program.sem")
    source = Path(path).read_text().splitlines()
    assert "boom(x)" in source[int(line) - 1]


def test_errors_point_at_the_operation_that_failed_first(run: Run) -> None:
    result = run('''
    program Main(n: int) -> (a: text, b: int) {
      let q = 10 // n
      let line = Say("${q} things")
      return line, n
    }''', n=0)
    assert result.outputs == {"b": 0}
    assert result.errors["a"].message == "division by zero"


def test_effects_run_in_source_order_through_everything(run: Run, tmp_path: Path) -> None:
    result = run('''
    program Main(xs: list[text]) -> (all: list[text], last: text) {
      let first = note("begin")
      let all = for x in xs {
        let inner = for y in xs { note(x + y) }
        note(x)
      }
      let failed = explode("mine")
      let last = fold acc = "" for x in xs { note("fold " + x) }
      return all, last
    }''', xs=["a", "b"])
    assert result.outputs == {"all": ["noted a", "noted b"], "last": "noted fold b"}
    assert list(result.errors) == ["explode"]
    log = (tmp_path / "log.txt").read_text().split("\n")
    assert log == ["begin", "aa", "ab", "a", "ba", "bb", "b", "fold a", "fold b", ""]


def test_chats_continue_token_for_token(run: Run) -> None:
    result = run('''
    program Main(messages: list[text]) -> replies: list[text] {
      let first = Say("the weather")
      let talk = fold replies = [first], history = first.chat for message in messages {
        let turn = Reply(history, message)
        yield replies + [turn], turn.chat
      }
      return talk.replies
    }''', messages=["one", "two", "three"])
    assert len(result.outputs["replies"]) == 4
    stats = result.stats
    # Everything before the newest message is there already.
    assert stats.shared_tokens > stats.filled_tokens


def test_loops_and_bounds(run: Run) -> None:
    result = run('''
    program Main(limit_text: text) -> (turns: int, text: text) {
      let r = loop (n: int = 0, acc: text = "") while len(acc) < 5 limit 20 {
        yield n + 1, acc + limit_text
      }
      return r.n, r.acc
    }''', limit_text="ab")
    assert result.outputs == {"turns": 3, "text": "ababab"}


def test_a_greedy_call_is_the_same_wherever_it_stands(run: Run) -> None:
    result = run('''
    program Main(topic: text) -> (a: text, b: text, all: list[text]) {
      return Say(topic), Say(topic), [Say(t) for t in [topic, "another", topic]]
    }''', topic="pong")
    a, b, every = (result.outputs[name] for name in ("a", "b", "all"))
    assert a == b == every[0] == every[2]
