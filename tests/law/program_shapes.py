"""Parts of random programs that the passes look for, which chance alone seldom makes."""

from __future__ import annotations

from hypothesis import strategies as st
from program_parts import SAMPLES, Function, Scope, leaf


@st.composite
def twins(draw: st.DrawFn, scope: Scope, declared: list[Function]) -> str:
    """The first function and its twin on equal arguments, and an invariant call in a map that may have no elements."""
    first, last = declared[0], next((function for function in declared if function.name == "Twin"), declared[-1])
    if [kind for _, kind in first.parameters] != [kind for _, kind in last.parameters]:
        last = first
    arguments = ", ".join("chat()" if kind == "chat" else draw(leaf(scope, kind)) for _, kind in first.parameters)
    lines, both = "", ""
    for function in (first, last):
        name = scope.fresh("r")
        lines += f"let {name} = {function.name}({arguments})\n"
        if function.outputs[0][1] != SAMPLES:
            both += "${" + (name if len(function.outputs) == 1 else f"{name}.{function.outputs[0][0]}") + "}|"
        for output, kind in function.outputs:
            value = name if len(function.outputs) == 1 else f"{name}.{output}"
            if kind in ("text", "bool", "int(0..10)"):
                scope.add(value, kind.partition("(")[0])
    if both:
        name = scope.fresh("r")
        lines += f'let {name} = "{both}"\n'
        scope.add(name, "text")
    texts = [output for output, kind in first.outputs if kind == "text"]
    if texts:
        if draw(st.integers(0, 3)):
            kinds = [kind for _, kind in first.parameters]
            arguments = ", ".join("chat()" if kind == "chat" else draw(leaf(scope, kind)) for kind in kinds)
        call = f"{first.name}({arguments})" + ("" if len(first.outputs) == 1 else f".{texts[0]}")
        name, element = scope.fresh("r"), scope.fresh("x")
        elements = draw(st.sampled_from(["xs", "xs[5:]", "[a]", "xs[5:]", '["none"][1:]']))
        condition = draw(st.sampled_from([call, call, f'if {element} == "one" {{ {call} }} else {{ "-" }}']))
        lines += f"let {name} = for {element} in {elements} {{ {condition} }}\n"
        scope.add(name, "list[text]")
    return lines


@st.composite
def siblings(draw: st.DrawFn, scope: Scope, declared: list[Function]) -> str:
    """Maps of the same elements side by side, or one in another, whose texts meet in one call where there is such."""
    able = [function for function in declared if function.output("text") is not None]
    if not able:
        return ""
    elements, element = draw(st.sampled_from(["xs", "xs[1:]", '["x", "long words here"]'])), scope.fresh("x")
    lines, made = "", []
    for function in (draw(st.sampled_from(able)), draw(st.sampled_from(able[::-1]))):
        inner = draw(_call(scope, function, element))
        name = scope.fresh("r")
        nested = draw(st.integers(0, 4)) == 0
        body = f'join([{inner} for {scope.fresh("x")} in ["p", "q"]])' if nested else inner
        lines += f"let {name} = [{body} for {element} in {elements}]\n"
        scope.add(name, "list[text]")
        made.append(f"join({name})")
    last, name = draw(st.sampled_from(able)), scope.fresh("r")
    lines += f"let {name} = {draw(_call(scope, last, ' + '.join(made)))}\n"
    scope.add(name, "text")
    return lines


@st.composite
def carried_chat(draw: st.DrawFn, scope: Scope, declared: list[Function]) -> str:
    """A chat that a fold or a loop carries, and calls that go on from its end."""
    able = [f for f in declared if f.has_chat and f.has_chat_after and f.output("text") is not None]
    if not able:
        return ""
    function, other = draw(st.sampled_from(able)), draw(st.sampled_from(able))
    name, text, chat, call = (scope.fresh(prefix) for prefix in ("r", "a", "h", "t"))
    begin = draw(st.sampled_from([*scope.variables.get("chat", []), "chat()"]))
    over = draw(st.sampled_from(["fold", "loop"]))
    element = scope.fresh("x") if over == "fold" else text
    body = f"let {call} = {draw(_call(scope, function, element, chat, whole=True))}\n"
    ends = f"{call}{function.output('text')}"
    if draw(st.booleans()):
        ends = f'if contains({ends}, "a") {{ {draw(_call(scope, other, ends, f"{call}.chat"))} }} else {{ {ends} }}'
    head = (f'fold {text}: text = "", {chat} = {begin} for {element} in xs' if over == "fold"
            else f'loop ({text}: text = "go", {chat} = {begin}) while len({text}) < 30 limit 2')
    line = f"let {name} = {head} {{\n{body}yield {ends}, {call}.chat\n}}\n"
    scope.add(f"{name}.{text}", "text")
    scope.add(f"{name}.{chat}", "chat")
    return line


@st.composite
def _call(draw: st.DrawFn, scope: Scope, function: Function, text: str, chat: str = "chat()", *,
          whole: bool = False) -> str:
    """A call with `text` wherever a text is wanted, mostly; its first text, or with `whole` all of it."""
    arguments = [chat if kind == "chat" else text if kind == "text" and draw(st.integers(0, 4)) else
                 draw(leaf(scope, kind)) for _, kind in function.parameters]
    return f"{function.name}({', '.join(arguments)})" + ("" if whole else function.output("text") or "")
