"""Random well-typed `.sem` programs, for the laws that hold for every program.

A program has a few semantic functions with overlapping prompts (greedy and sampled, several outputs, typed
outputs, template loops and conditions, roles, chats), pure, failing and effectful hosts, and a body of nested
`for`, `fold`, `if`, `loop`, `match`, `try`, comprehensions, nested programs, dead calls and repeated calls.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

HOSTS = '''
"""Hosts of the random programs. `log` records every effectful call in order."""

log: list[str] = []


def shout(x: str) -> str:
    return x.upper()[:12]


def boom(x: str) -> str:
    if len(x) % 2:
        raise ValueError(f"boom on {len(x)} characters")
    return x


def pick(xs: list[str]) -> str:
    return xs[0]


def note(x: str) -> str:
    log.append(x)
    return f"noted {len(x)}"


def fail_note(x: str) -> str:
    log.append("!" + x)
    if len(x) % 3 == 0:
        raise RuntimeError("the note was refused")
    return "ok"
'''

HEADER = """
enum Color { red, green = "deep green", blue }
type Card { title: text, score: int }
host shout(x: text) -> text from "law_hosts:shout" (pure)
host boom(x: text) -> text from "law_hosts:boom" (pure)
host pick(xs: list[text]) -> text from "law_hosts:pick" (pure)
host note(x: text) -> text from "law_hosts:note"
host fail_note(x: text) -> text from "law_hosts:fail_note"
"""

HEADS = ["You are an expert.\n", "You are an expert.\nBe brief.\n", "Answer: ", "# Task\n", "", "Zażółć 日本 "]
WORDS = ["alpha", "beta gamma", "", " lead", "naïve é", "a\\nb", "</s>", "{x}"]


@dataclass
class Function:
    """A generated semantic function: parameter and output names with their types."""

    name: str
    parameters: list[tuple[str, str]]
    outputs: list[tuple[str, str]]
    text: str
    has_chat: bool = False


@dataclass
class Scope:
    """Variables in scope by type, the functions that may be called, and a counter for fresh names."""

    functions: list[Function]
    programs: list[Function]
    variables: dict[str, list[str]] = field(default_factory=dict)
    counter: list[int] = field(default_factory=lambda: [0])

    def fresh(self, prefix: str = "v") -> str:
        self.counter[0] += 1
        return f"{prefix}{self.counter[0]}"

    def inner(self) -> Scope:
        return Scope(self.functions, self.programs, {t: list(v) for t, v in self.variables.items()}, self.counter)

    def add(self, name: str, type: str) -> None:
        self.variables.setdefault(type, []).append(name)


OUTPUT_TYPES = ["text", "text", "text", "Color", "int(0..10)", "bool", "Card"]


@st.composite
def functions(draw: st.DrawFn, index: int) -> Function:
    """A semantic function with one or two outputs."""
    name = f"F{index}"
    kinds = ["text", "text", "list[text]", "int", "bool"]
    parameters = [(f"p{i}", draw(st.sampled_from(kinds))) for i in range(draw(st.integers(0, 2)))]
    chat = draw(st.integers(0, 6)) == 0
    outputs = [(f"o{i}", draw(st.sampled_from(OUTPUT_TYPES))) for i in range(draw(st.integers(1, 2)))]
    body = draw(st.sampled_from(HEADS))
    for parameter, kind in parameters:
        match draw(st.integers(0, 3)) if kind in ("list[text]", "bool") else 0:
            case 1 | 2 if kind == "list[text]":
                body += f"{{{{for x in {parameter}}}}}- {{{{input:x}}}}\n{{{{end}}}}"
            case 1 | 2 if kind == "bool":
                body += f"{{{{if {parameter}}}}}yes {{{{else}}}}no{{{{end}}}}"
            case _:
                body += draw(st.sampled_from(["In: ", "in ", "x", ""])) + f"{{{{input:{parameter}}}}}"
        body += draw(st.sampled_from(["\n", " ", ". ", ""]))
    for output, kind in outputs:
        options = ""
        if kind == "text":
            options += f" max_tokens={draw(st.integers(1, 5))}"
            options += draw(st.sampled_from(["", "", ' stop="e"', " max_words=2"]))
        elif kind == "Card":
            options += " max_tokens=60"
        options += draw(st.sampled_from(["", "", "", " temperature=0.8", " temperature=1.2 seed=7 top_k=5"]))
        body += draw(st.sampled_from(["Out: ", "Out:", "\n", "and "])) + f"{{{{output:{output}{options}}}}}"
    roles = not chat and draw(st.integers(0, 4)) == 0
    text = _semantic(name, parameters, outputs, body, chat, roles)
    return Function(name, ([("h", "chat")] if chat else []) + parameters, outputs, text, chat)


@st.composite
def _variant(draw: st.DrawFn, function: Function) -> Function:
    """The same function under another name; only the options of its outputs may differ."""
    old, new = draw(st.sampled_from([
        ("{{output:o0", "{{output:o0"), ("max_tokens=", "max_tokens=1"), (" temperature=0.8", ""), ("seed=7", "seed=8"),
        (' stop="e"', ""), ("top_k=5", "top_k=2"),
    ]))
    text = function.text.replace(f"semantic {function.name}(", "semantic Twin(").replace(old, new)
    return Function("Twin", function.parameters, function.outputs, text, function.has_chat)


def _semantic(name: str, parameters: list[tuple[str, str]], outputs: list[tuple[str, str]], body: str, chat: bool,
              roles: bool) -> str:
    signature = ", ".join(f"{n}: {t}" for n, t in ([("h", "chat")] if chat else []) + parameters)
    result = ", ".join(f"{n}: {t}" for n, t in outputs)
    start = "{{input:h}}" if chat else ""
    if roles:
        head, _, tail = body.partition("{{output:")
        parts = f'  system """Be kind."""\n  user """\n{head}x\n"""\n  assistant """{{{{output:{tail}"""\n'
    else:
        parts = f'  """\n{start}{body}\n"""\n'
    return f"semantic {name}({signature}) -> ({result}) {{\n{parts}}}\n"


@st.composite
def expressions(draw: st.DrawFn, scope: Scope, type: str, depth: int) -> str:
    """An expression of `type`; calls and control flow only while `depth` > 0."""
    known = scope.variables.get(type, [])
    if known and draw(st.integers(0, 9)) >= (5 if depth > 0 else 2):
        return draw(st.sampled_from(known[::-1]))

    def sub(t: str, d: int = depth - 1) -> str:
        return draw(expressions(scope, t, d))

    if depth <= 0:
        return draw(_leaf(scope, type))
    if type in ("text", "list[text]") and draw(st.integers(0, 9)) >= 6:
        return draw(_control(scope, type, depth))
    match type:
        case "text":
            kind = draw(st.integers(0, 13))
            call = draw(_call_giving(scope, "text", depth)) if kind >= 6 else None
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
                    return f'({sub("text")} + "!")'
                case 7:
                    return f'({sub("list[text]")}[{sub("int", 0)}] ?? "none")'
                case 8:
                    return f"pick({sub('list[text]')})"
                case 9:
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
def _leaf(draw: st.DrawFn, scope: Scope, type: str) -> str:
    match type:
        case "text":
            return '"' + draw(st.sampled_from(WORDS)) + '"'
        case "int":
            return str(draw(st.integers(0, 3)))
        case "bool":
            return draw(st.sampled_from(["true", "false"]))
        case _:
            return draw(st.sampled_from(['["a", "b"]', '["one"]', '["none"][1:]', '["x", "x"]', 'split("", "q")']))


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
        scope.add(f"{name}.chat", "chat")
        return line
    kind = draw(st.sampled_from(["text", "text", "list[text]", "int", "bool"]))
    value = draw(expressions(scope, kind, depth))
    name = scope.fresh()
    scope.add(name, kind)
    return f"let {name}: {kind} = {value}\n"


@st.composite
def _twins(draw: st.DrawFn, scope: Scope, declared: list[Function]) -> str:
    """The first and the last function on equal arguments, and an invariant call in a map that may have no elements."""
    first, last = declared[0], declared[-1]
    if [kind for _, kind in first.parameters] != [kind for _, kind in last.parameters]:
        last = first
    arguments = ", ".join("chat()" if kind == "chat" else draw(_leaf(scope, kind)) for _, kind in first.parameters)
    lines = ""
    for function in (first, last):
        name = scope.fresh("r")
        lines += f"let {name} = {function.name}({arguments})\n"
        for output, kind in function.outputs:
            value = name if len(function.outputs) == 1 else f"{name}.{output}"
            if kind in ("text", "bool"):
                scope.add(value, kind)
    texts = [output for output, kind in first.outputs if kind == "text"]
    if texts:
        call = f"{first.name}({arguments})" + ("" if len(first.outputs) == 1 else f".{texts[0]}")
        name, element = scope.fresh("r"), scope.fresh("x")
        elements = draw(st.sampled_from(["xs", "xs[5:]", "[a]", '["none"][1:]']))
        condition = draw(st.sampled_from([call, f'if {element} == "one" {{ {call} }} else {{ "-" }}']))
        lines += f"let {name} = for {element} in {elements} {{ {condition} }}\n"
        scope.add(name, "list[text]")
    return lines


@st.composite
def _result(draw: st.DrawFn, scope: Scope, type: str) -> str:
    """What `Main` returns: mostly something that the body computed."""
    computed = [name for name in scope.variables.get(type, []) if name[0] in "rv(m"]
    if computed and draw(st.integers(0, 9)) >= 2:
        return draw(st.sampled_from(sorted(computed, key=lambda name: name[0] not in "r(m")))
    return draw(expressions(scope, type, 2))


OBJECTIVES = ["", "", " @ latency", " @ latency", " @ throughput", " @ ttft", " @ deadline(2s)", " @ deadline(100ms)"]


@st.composite
def programs(draw: st.DrawFn) -> str:
    """The source of a whole program with the root `Main(a, b, xs)`."""
    declared = [draw(functions(i)) for i in range(draw(st.integers(1, 3)))]
    if draw(st.booleans()):
        declared.append(draw(_variant(declared[0])))
    texts = [f.text for f in declared]
    called: list[Function] = []
    if draw(st.integers(0, 3)) == 0:
        scope = Scope(declared, [], {"text": ["q"]})
        body = "".join(draw(st.lists(_let(scope, 2), min_size=1, max_size=2)))
        result = draw(expressions(scope, "text", 1))
        texts.append(f"program Sub(q: text) -> r: text {{\n{body}return {result}\n}}\n")
        called.append(Function("Sub", [("q", "text")], [("r", "text")], ""))
    scope = Scope(declared, called, {"text": ["a", "b"], "list[text]": ["xs"]})
    body = draw(_twins(scope, declared)) if draw(st.integers(0, 2)) else ""
    body += "".join(draw(st.lists(_let(scope, 3), min_size=3, max_size=6)))
    kinds = draw(st.lists(st.sampled_from(["text", "text", "list[text]", "int", "bool"]), min_size=2, max_size=4))
    results = ", ".join(draw(_result(scope, kind)) + draw(st.sampled_from(OBJECTIVES)) for kind in kinds)
    signature = ", ".join(f"y{i}: {kind}" for i, kind in enumerate(kinds))
    root = f"program Main(a: text, b: text, xs: list[text]) -> ({signature}) {{\n{body}return {results}\n}}\n"
    return HEADER + "\n".join(texts) + root
