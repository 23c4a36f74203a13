"""Random well-typed `.sem` programs, for the laws that hold for every program.

A program has a few semantic functions with overlapping prompts (greedy and sampled, several outputs, typed
outputs, samples, choices, stop texts, template loops and conditions, roles, chats), pure, failing and effectful hosts,
and a body of nested `for`, `fold`, `if`, `loop`, `match`, `try`, `outcome`, comprehensions, nested programs, dead calls
and repeated calls, and of what passes look for (program_shapes.py). Its outputs have objectives.
"""

from __future__ import annotations

from hypothesis import strategies as st
from program_parts import HEADER, HEADS, HOSTS, Function, Scope, functions, leaf, variant
from program_shapes import carried_chat, siblings, twins

__all__ = ["HOSTS", "programs"]


@st.composite
def expressions(draw: st.DrawFn, scope: Scope, type: str, depth: int) -> str:
    """An expression of `type`; calls and control flow only while `depth` > 0."""
    known = scope.variables.get(type, [])
    if known and draw(st.integers(0, 9)) >= (5 if depth > 0 else 2):
        return draw(st.sampled_from(known[::-1]))

    def sub(t: str, d: int = depth - 1) -> str:
        return draw(expressions(scope, t, d))

    if depth <= 0:
        return draw(leaf(scope, type))
    if type in ("text", "list[text]") and draw(st.integers(0, 9)) >= 6:
        return draw(_control(scope, type, depth))
    match type:
        case "text":
            kind = draw(st.integers(0, 15))
            call = draw(_call_giving(scope, "text", depth)) if kind >= 8 else None
            if call is not None:
                return call
            match kind:
                case 0 | 1 | 2:
                    return f"{draw(st.sampled_from(['note', 'boom', 'fail_note', 'shout']))}({sub('text')})"
                case 3:
                    return f'"<${{{sub("text", 0)}}}>"'
                case 4:
                    return f'join({sub("list[text]")}, "+")'
                case 5:
                    return f"(try {sub('text')} else {sub('text')})"
                case 6:
                    return f"outcome({sub('text')}).message"
                case 7:
                    return f'(outcome({sub("text")}).value ?? "failed")'
                case 8:
                    return f'({sub("text")} + "!")'
                case 9:
                    return f'({sub("list[text]")}[{sub("int", 0)}] ?? "none")'
                case 10:
                    return f"pick({sub('list[text]')})"
                case 11:
                    return f"Card(title = {sub('text')}, score = {sub('int', 0)}).title"
                case _:
                    return f"upper({sub('text')})"
        case "int":
            match draw(st.integers(0, 4)):
                case 0:
                    return f"len({sub('list[text]')})"
                case 1:
                    return f"({sub('int')} + {sub('int', 0)})"
                case 2:
                    return f"({sub('int')} // {sub('int', 0)})"
                case 3:
                    return f"len({sub('text')})"
                case _:
                    return f"({sub('int')} % 3)"
        case "bool":
            match draw(st.integers(0, 5)):
                case 0:
                    return f"({sub('int')} > {sub('int', 0)})"
                case 1:
                    return f"({sub('text')} == {sub('text', 0)})"
                case 2:
                    return f"(not {sub('bool')})"
                case 3:
                    return f"({sub('bool')} and {sub('bool')})"
                case 4:
                    return f"({sub('bool')} or {sub('bool')})"
                case _:
                    return f'contains({sub("text")}, "e")'
        case "list[text]":
            element = scope.inner()
            name = scope.fresh("x")
            element.add(name, "text")
            condition = draw(st.sampled_from(["", "", f" if len({name}) > 1"]))
            body = draw(expressions(element, "text", depth - 1))
            match draw(st.integers(0, 5)):
                case 0:
                    return f"[{sub('text')}, {sub('text')}]"
                case 1:
                    return f"({sub('list[text]')} + {sub('list[text]')})"
                case 2:
                    return f'split({sub("text")}, "a")'
                case _:
                    return f"[{body} for {name} in {sub('list[text]')}{condition}]"
        case _:
            raise AssertionError(type)


@st.composite
def _call_giving(draw: st.DrawFn, scope: Scope, type: str, depth: int) -> str | None:
    """A call with an output of `type`, or None where no function has one."""
    able = [(f, o) for f in scope.functions + scope.programs for o, t in f.outputs if t == type]
    if not able:
        return None
    function, output = draw(st.sampled_from(able))
    arguments = []
    for _, kind in function.parameters:
        if kind == "chat":
            arguments.append(draw(st.sampled_from([*scope.variables.get("chat", []), "chat()"])))
        else:
            arguments.append(draw(expressions(scope, kind, min(depth - 1, 1))))
    call = f"{function.name}({', '.join(arguments)})"
    return call if len(function.outputs) == 1 else f"{call}.{output}"


@st.composite
def _control(draw: st.DrawFn, scope: Scope, type: str, depth: int) -> str:
    """A control-flow expression of `type` (`text` or `list[text]`)."""

    def block(inner: Scope, t: str) -> str:
        lets = "".join(draw(st.lists(_let(inner, depth - 1), max_size=2)))
        return f"{{ {lets}{draw(expressions(inner, t, depth - 1))} }}"

    def sub(t: str) -> str:
        return draw(expressions(scope, t, depth - 1))

    if draw(st.integers(0, 2)) == 0:
        return f"if {sub('bool')} {block(scope.inner(), type)} else {block(scope.inner(), type)}"
    if type == "list[text]":
        inner, name, index = scope.inner(), scope.fresh("x"), scope.fresh("i")
        xs = sub("list[text]")
        inner.add(name, "text")
        inner.add(index, "int")
        keyword = draw(st.sampled_from(["for", "for", "unordered for"]))
        if keyword == "for":
            return f"for {index}, {name} in {xs} {block(inner, 'text')}"
        pure = Scope([], [], inner.variables, inner.counter)
        return f"unordered for {index}, {name} in {xs} {{ {draw(expressions(pure, 'text', 0))} }}"
    inner, name, accumulator = scope.inner(), scope.fresh("x"), scope.fresh("a")
    if draw(st.booleans()):
        seed, xs = sub("text"), sub("list[text]")
        inner.add(name, "text")
        inner.add(accumulator, "text")
        return f"fold {accumulator} = {seed} for {name} in {xs} {block(inner, 'text')}"
    seed = sub("text")
    inner.add(accumulator, "text")
    limit = draw(st.integers(0, 3))
    return f"loop ({accumulator}: text = {seed}) while len({accumulator}) < 40 limit {limit} {block(inner, 'text')}"


@st.composite
def _let(draw: st.DrawFn, scope: Scope, depth: int) -> str:
    """One `let` line; the name joins the scope."""
    if scope.functions and depth > 0 and draw(st.integers(0, 9)) >= 2:
        function = draw(st.sampled_from(scope.functions))
        name = scope.fresh("r")
        arguments = [
            draw(st.sampled_from([*scope.variables.get("chat", []), "chat()"])) if kind == "chat"
            else draw(expressions(scope, kind, min(depth - 1, 1)))
            for _, kind in function.parameters
        ]
        options = draw(st.sampled_from(["", "", "", " with temperature = 0.9", " with max_tokens = 80"]))
        line = f"let {name} = {function.name}({', '.join(arguments)}){options}\n"
        single = len(function.outputs) == 1
        for output, kind in function.outputs:
            value = name if single else f"{name}.{output}"
            scope.add(value, {"int(0..10)": "int"}.get(kind, kind))
            if kind == "Card":
                scope.add(f"{value}.title", "text")
                scope.add(f"{value}.score", "int")
            if kind == "Color":
                scope.add(f'(match {value} {{ red => "r", green => "${{{value}}}", blue => "b" }})', "text")
        if function.has_chat_after:
            scope.add(f"{name}.chat", "chat")
        return line
    kind = draw(st.sampled_from(["text", "text", "list[text]", "int", "bool"]))
    value = draw(expressions(scope, kind, depth))
    name = scope.fresh()
    scope.add(name, kind)
    return f"let {name}: {kind} = {value}\n"


@st.composite
def _result(draw: st.DrawFn, scope: Scope, type: str) -> str:
    """What `Main` returns: mostly something that the body computed."""
    computed = [name for name in scope.variables.get(type, []) if name[0] in "rv(m"]
    if computed and draw(st.integers(0, 9)) >= 2:
        return draw(st.sampled_from(sorted(computed, key=lambda name: name[0] not in "r(m")))
    return draw(expressions(scope, type, 2))


@st.composite
def _everything(draw: st.DrawFn, scope: Scope) -> str:
    """Most of what calls gave: without it most calls are dead."""
    texts = [name for name in scope.variables["text"] if name[0] == "r"]
    texts += [f"join({name})" for name in scope.variables["list[text]"] if name[0] == "r"]
    texts += [f'"${{{name}}}"' for kind in ("int", "bool") for name in scope.variables.get(kind, []) if name[0] == "r"]
    kept = [f'(try {text} else "")' for text in texts if draw(st.integers(0, 5))]
    return " + ".join(kept or ["a"])


OBJECTIVES = ["", "", " @ latency", " @ throughput", " @ throughput", " @ ttft", " @ deadline(2s)",
              " @ deadline(100ms)"]


@st.composite
def programs(draw: st.DrawFn) -> str:
    """The source of a whole program with the root `Main(a, b, xs)`."""
    heads = draw(st.sampled_from(HEADS))
    declared = [draw(functions(i, heads)) for i in range(draw(st.sampled_from([2, 3, 1])))]
    if draw(st.integers(0, 3)):
        declared.append(draw(variant(declared[0])))
    if draw(st.integers(0, 2)) == 0:
        declared.append(draw(functions(len(declared), heads, chats=True)))
    texts = [f.text for f in declared]
    called: list[Function] = []
    if draw(st.integers(0, 3)) == 0:
        scope = Scope(declared, [], {"text": ["q"]})
        body = "".join(draw(st.lists(_let(scope, 2), min_size=1, max_size=2)))
        result = draw(expressions(scope, "text", 1))
        texts.append(f"program Sub(q: text) -> r: text {{\n{body}return {result}\n}}\n")
        called.append(Function("Sub", [("q", "text")], [("r", "text")], ""))
    scope = Scope(declared, called, {"text": ["a", "b"], "list[text]": ["xs"]})
    body = draw(twins(scope, declared)) if draw(st.integers(0, 2)) else ""
    if draw(st.integers(0, 1)):
        body += draw(siblings(scope, declared))
    if draw(st.integers(0, 1)):
        body += draw(carried_chat(scope, declared))
    body += "".join(draw(st.lists(_let(scope, 3), min_size=3, max_size=6)))
    kinds = draw(st.lists(st.sampled_from(["text", "text", "list[text]", "int", "bool"]), min_size=2, max_size=4))
    values = [draw(_result(scope, kind)) for kind in kinds]
    if draw(st.integers(0, 5)):
        kinds.append("text")
        values.append(draw(_everything(scope)))
    results = ", ".join(value + draw(st.sampled_from(OBJECTIVES)) for value in values)
    signature = ", ".join(f"y{i}: {kind}" for i, kind in enumerate(kinds))
    root = f"program Main(a: text, b: text, xs: list[text]) -> ({signature}) {{\n{body}return {results}\n}}\n"
    return HEADER + "\n".join(texts) + root
