"""Runs as a whole: arguments, every way to end, defects that must not hang, and what is traced."""

import asyncio
import dataclasses
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from semlang.backend import operations
from semlang.backend import run as run_file
from semlang.backend.executor import RunHandle, RunOptions, run_module, run_module_async
from semlang.ir.diagnostics import InputError
from semlang.ir.parser import parse_module
from semlang.ir.source import SourceFile

Host = Callable[[Callable[..., Any]], Callable[..., Any]]

ONE = '''
sem.program(@Main) |%a: text| {
  %0 = engine.fill(engine.root, %a) : ctx
  %y, %1 = engine.generate(%0) {output = "y"} : text, ctx loc("x.sem":3:1)
  engine.free(%0, %1)
  sem.return(%a, %y) {names = ["a", "y"]}
}'''

ARGUMENTS = '''
sem.enum(@Color) {members = ["red", "green"], texts = ["red", "deep green"]}
sem.program(@Main) |%name: text, %count: int, %color: enum<Color>, %note: option<text>| {
  sem.return(%name, %count, %color, %note) {names = ["name", "count", "color", "note"]}
} {defaults = {count = 3, color = "green", note = none}}'''


def text_of(error: pytest.ExceptionInfo[InputError]) -> str:
    return "\n".join(f"{d.message} {d.fix}" for d in error.value.diagnostics)


# ---- arguments ----


def arguments_program() -> str:
    head, _, tail = ARGUMENTS.partition("|%name")
    body, _, attributes = tail.rpartition("} {")
    return f"{head}{{{attributes} |%name{body}}}"


def test_arguments_are_checked_converted_and_defaulted(execute: Any) -> None:
    result = execute(arguments_program(), {"name": "x", "color": "red"})
    assert result.outputs == {"name": "x", "count": 3, "color": "red", "note": None}
    assert execute(arguments_program(), {"name": "x"}).outputs["color"] == "green"


@pytest.mark.parametrize(("arguments", "words"), [
    ({}, ["needs the argument `name`", "text"]),
    ({"name": "x", "cuont": 3}, ["no parameter `cuont`", "did you mean `count`?"]),
    ({"name": 3}, ["the argument `name` is wrong"]), ({"name": "\ud800"}, ["surrogate"]),
    ({"name": "x", "count": True}, ["the argument `count` is wrong"]),
    ({"name": "x", "count": 2**63}, ["64 bits"]), ({"name": "x", "color": "blue"}, ["deep green"]),
    ({"name": 1, "zzz": 2, "count": 1.5}, ["`name` is wrong", "`zzz`", "`count` is wrong"]),
])
def test_wrong_arguments_are_input_errors(execute: Any, arguments: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        execute(arguments_program(), arguments)
    for word in words:
        assert word in text_of(error)


def test_modules_that_cannot_be_executed_are_input_errors(execute: Any, scripted: Any) -> None:
    with pytest.raises(InputError, match="not at the engine level"):
        execute("sem.program(@Main) |%a: text| {\n %0 = prompt.start() : prompt\n sem.return(%a) {names = [\"a\"]}\n}",
                {"a": ""}, check=False)
    with pytest.raises(InputError, match="one program"):
        execute('sem.enum(@E) {members = ["a"], texts = ["a"]}', check=False)
    with pytest.raises(InputError, match="no engine for the model `default`"):
        execute(ONE, {"a": ""}, engines={"other": scripted(lambda p, s: "x")})


# ---- ends ----


def never(scripted: Any) -> Any:
    return scripted(lambda prompt, sampling: None)


def test_a_run_that_takes_too_long_ends_and_delivers_what_is_there(execute: Any, scripted: Any) -> None:
    engine = never(scripted)
    handle = execute.prepare(ONE, {"a": "v"}, engine=engine, timeout=0.05)
    result = handle.run()
    assert result.outputs == {"a": "v"}
    assert result.errors["y"].message == "the run did not end within 0.05 s"
    engine.check_integrity()


def test_a_run_can_be_cancelled(execute: Any, scripted: Any) -> None:
    engine = never(scripted)
    handle = execute.prepare(ONE, {"a": "v"}, engine=engine)
    handle.start()
    while not engine.prompts:
        pass
    handle.cancel()
    result = handle.result(20)
    assert result.errors["y"].message == "the run was cancelled" and result.errors["y"].kind == "cancelled"
    engine.check_integrity()


def test_cancelling_ends_long_pure_loops(execute: Any) -> None:
    handle = execute.prepare('''
    sem.program(@Main) |%n: int| {
      %r = flow.loop(%n, %n) |%a: int| {
        %more = flow.const(true) : bool
        flow.yield(%more)
      } do |%turn: int, %b: int| {
        flow.yield(%turn)
      } : int
      sem.return(%r) {names = ["r"]}
    }''', {"n": 10**15})
    handle.start()
    handle.cancel()
    assert handle.result(20).errors["r"].kind == "cancelled"


def test_cancelling_cancels_coroutines_and_abandons_threads(execute: Any, host: Host) -> None:
    started, cancelled = threading.Event(), threading.Event()
    release = threading.Event()

    @host
    async def f(x: str) -> str:
        started.set()
        try:
            await asyncio.sleep(600)
        finally:
            cancelled.set()
        return x

    @host
    def g(x: str) -> str:
        release.wait(60)
        return x

    handle = execute.prepare('''
    sem.host(@f) {target = "executor_test_hosts:f", parameters = {x = !text}, result = !text, pure = true}
    sem.host(@g) {target = "executor_test_hosts:g", parameters = {x = !text}, result = !text, pure = true}
    sem.program(@Main) |%x: text| {
      %a = flow.host(@f, %x) : text
      %b = flow.host(@g, %x) : text
      sem.return(%a, %b) {names = ["a", "b"]}
    }''', {"x": ""})
    handle.start()
    assert started.wait(20)
    handle.cancel()
    assert set(handle.result(20).errors) == {"a", "b"}
    assert cancelled.wait(20)
    release.set()


def test_an_interrupt_stops_everything_and_is_raised(execute: Any, scripted: Any,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    engine = never(scripted)
    handle = execute.prepare(ONE, {"a": "v"}, engine=engine)

    def interrupt(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_file.Run, "_take_reports", interrupt)
    with pytest.raises(KeyboardInterrupt):
        handle.run()
    engine.check_integrity()


def test_an_engine_that_never_gives_up_a_call_does_not_hang_the_run(execute: Any, scripted: Any,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_file, "STOP_SECONDS", 0.05)
    engine = never(scripted)
    engine.abort = lambda context_id: None
    result = execute.prepare(ONE, {"a": "v"}, engine=engine, timeout=0.05).run()
    assert set(result.errors) == {"y"}


def test_asynchronous_runs(scripted: Any) -> None:
    module = parse_module(SourceFile("test.sir", ONE))

    async def both() -> list[Any]:
        engines = [scripted(lambda p, s: p + "!") for _ in range(2)]
        return await asyncio.gather(*(run_module_async(module, {"": e}, {"a": str(i)}) for i, e in enumerate(engines)))

    assert [r.outputs["y"] for r in asyncio.run(both())] == ["0!", "1!"]


def test_cancelling_the_caller_cancels_an_asynchronous_run(scripted: Any) -> None:
    engine = never(scripted)
    module = parse_module(SourceFile("test.sir", ONE))

    async def start_and_cancel() -> None:
        task = asyncio.create_task(run_module_async(module, {"": engine}, {"a": ""}))
        while not engine.prompts:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(start_and_cancel())
    for _ in range(2000):
        if len(engine.contexts) == 1:
            break
        threading.Event().wait(0.005)
    engine.check_integrity()


def test_runs_may_share_an_engine(execute: Any) -> None:
    text = ONE.replace('output = "y"', 'output = "y", max_tokens = 12')
    engine = execute.engine()
    alone = [execute(text, {"a": f"topic {i}"}, engine=engine).outputs for i in range(6)]
    handles = [execute.prepare(text, {"a": f"topic {i}"}, engine=engine) for i in range(6)]
    for handle in handles:
        handle.start()
    assert [handle.result(60).outputs for handle in handles] == alone
    for handle in handles:
        execute.check_released(handle)


def test_an_engine_that_closes_fails_its_calls(execute: Any) -> None:
    engine = execute.engine()
    closing = threading.Event()

    def close(event: Any) -> None:
        if type(event).__name__ == "TextReleased" and not closing.is_set():
            closing.set()
            threading.Thread(target=engine.close).start()

    generate = engine.generate
    engine.generate = lambda sampling, *rest, **options: generate(
        dataclasses.replace(sampling, ignore_eos=True), *rest, **options)
    text = ONE.replace('output = "y"', 'output = "y", max_tokens = 5000')
    result = execute.prepare(text, {"a": "v"}, engine=engine, on_event=close, timeout=60).run()
    assert "closed" in result.errors["y"].message and result.outputs == {"a": "v"}
    again = execute.prepare(text, {"a": "v"}, engine=engine, timeout=60).run()
    assert "closed" in again.errors["y"].message


# ---- defects ----


def test_a_defect_in_a_handler_names_the_operation_and_its_place(execute: Any, monkeypatch: pytest.MonkeyPatch,
                                                                 scripted: Any) -> None:
    def broken(task: Any) -> None:
        raise RuntimeError("oops")

    monkeypatch.setitem(operations.HANDLERS, "engine.generate", broken)
    result = execute.prepare(ONE, {"a": "v"}, engine=scripted(lambda p, s: "x")).run()
    assert result.outputs == {"a": "v"}
    error = result.errors["y"]
    assert error.message == "internal error in engine.generate at x.sem:3:1: RuntimeError: oops"
    assert (error.kind, error.location) == ("internal", "x.sem:3:1")


def test_a_defect_in_an_answer_ends_the_run(execute: Any, scripted: Any) -> None:
    def fail(event: Any) -> None:
        if type(event).__name__ == "CallEnded":
            raise RuntimeError("oops")

    result = execute.prepare(ONE, {"a": "v"}, engine=scripted(lambda p, s: "x"), on_event=fail).run()
    assert "internal error in engine.generate at x.sem:3:1" in result.errors["y"].message


def test_a_defect_of_whoever_listens_to_text_ends_the_run(execute: Any, scripted: Any) -> None:
    def fail(event: Any) -> None:
        if type(event).__name__ == "TextReleased":
            raise RuntimeError("oops")

    result = execute.prepare(ONE, {"a": "v"}, engine=scripted(lambda p, s: "x"), on_event=fail).run()
    assert "RuntimeError: oops" in result.errors["y"].message


def test_a_run_in_which_nothing_happens_any_more_ends(execute: Any, scripted: Any,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(operations.HANDLERS, "engine.generate", lambda task: None)
    result = execute.prepare(ONE, {"a": "v"}, engine=scripted(lambda p, s: "x")).run()
    assert "nothing is running" in result.errors["y"].message
    assert "engine.generate at x.sem:3:1" in result.errors["y"].message


# ---- traces ----

TRACED = '''
sem.host(@f) {target = "executor_test_hosts:f", parameters = {x = !text}, result = !text, pure = true}
sem.program(@Main) |%xs: list<text>| {
  %ys = flow.for(%xs) |%i: int, %x: text| {
    %z = flow.host(@f, %x) : text
    %0 = engine.fill(engine.root, "Say ", %z) : ctx
    %y, %1 = engine.generate(%0) {output = "y", max_tokens = 8} : text, ctx
    engine.free(%0, %1)
    flow.yield(%y)
  } : list<text>
  sem.return(%ys) {names = ["ys"]}
}'''


def test_the_trace_holds_every_call_and_nests(execute: Any, host: Host, tmp_path: Path) -> None:
    @host
    def f(x: str) -> str:
        if x == "3":
            raise ValueError("three")
        return x

    path = tmp_path / "trace.json"
    execute(TRACED, {"xs": [str(i) for i in range(5)]}, engine=execute.engine(trace=True), trace=path)
    data = json.loads(path.read_text())
    events = data["traceEvents"]
    spans = [e for e in events if e["ph"] == "X"]
    names = {e["pid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "process_name"}
    assert names == {1: "program", 2: "engine reference"}
    kinds = [(names[e["pid"]], e["cat"]) for e in spans]
    assert kinds.count(("program", "generate")) == 4 and kinds.count(("program", "host")) == 5
    assert kinds.count(("engine reference", "generate")) == 4 and kinds.count(("engine reference", "fill")) >= 4
    assert kinds.count(("engine reference", "step")) > 0
    failed = [e["args"]["error"] for e in spans if "error" in e["args"]]
    assert failed == ["the host function `f` raised ValueError: three"]
    named = {(e["pid"], e["tid"]) for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    rows: dict[tuple[int, int], float] = {}
    for e in sorted(spans, key=lambda e: e["ts"]):
        row = e["pid"], e["tid"]
        assert row in named and e["ts"] >= 0 and e["dur"] >= 0
        assert e["ts"] >= rows.get(row, 0.0) - 1e-3, "spans of one row overlap"
        rows[row] = e["ts"] + e["dur"]


def test_options_are_keywords_of_run_module(scripted: Any) -> None:
    module = parse_module(SourceFile("test.sir", ONE))
    result = run_module(module, {"": scripted(lambda p, s: "x")}, {"a": ""}, seed=3, record_calls=True, timeout=30)
    assert result.outputs["y"] == "x" and len(result.calls) == 1
    handle = RunHandle(module, {"": scripted(lambda p, s: "x")}, {"a": ""}, RunOptions(seed=3))
    assert handle.run().outputs["y"] == "x"
