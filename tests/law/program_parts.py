"""Declarations of random programs: hosts, semantic functions, and the names that are in scope."""

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

LONG = "You read notes that people write in a hurry. Say what they mean in one short "
HEADS = [["You are an expert.\n", "You are an expert.\nBe brief.\n", "You are a"], [LONG + "line.\n", LONG + "word: "],
         ["Answer: ", "# Task\n", "", "Zażółć 日本 "], ["", "Answer: ", LONG, LONG + "line.\nAnswer: "]]
"""What prompts of one program begin with."""
WORDS = ["alpha", "beta gamma", "", " lead", "naïve é", "a\\nb", "</s>", "{x}"]


@dataclass
class Function:
    """A generated semantic function: parameter and output names with their types."""

    name: str
    parameters: list[tuple[str, str]]
    outputs: list[tuple[str, str]]
    text: str
    has_chat: bool = False

    @property
    def has_chat_after(self) -> bool:
        """Whether a call ends in one context, which can go on."""
        return self.outputs[-1][1] != SAMPLES

    def output(self, type: str) -> str | None:
        """What is written after a call for its first output of a type; None where it has none."""
        found = next((name for name, kind in self.outputs if kind == type), None)
        return None if found is None else "" if len(self.outputs) == 1 else f".{found}"


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


SAMPLES = "list[text]"
"""The type of an output of which several samples are drawn."""
OUTPUT_TYPES = ["text", "text", "text", "text", "text", "Color", "int(0..10)", "bool", "Card"]


@st.composite
def functions(draw: st.DrawFn, index: int, heads: list[str], *, chats: bool = False) -> Function:
    """A semantic function with one or two outputs; with `chats` one that goes on with a chat and gives a text."""
    name = f"F{index}"
    kinds = ["text", "text", "list[text]", "int", "bool"]
    parameters = [(f"p{i}", draw(st.sampled_from(kinds))) for i in range(draw(st.integers(0, 2)))]
    chat = chats or draw(st.integers(0, 5)) == 0
    outputs = [(f"o{i}", draw(st.sampled_from(OUTPUT_TYPES))) for i in range(draw(st.integers(1, 2)))]
    if chats:
        outputs[0] = outputs[0][0], "text"
    elif draw(st.integers(0, 5)) == 0:
        outputs[-1] = outputs[-1][0], SAMPLES
    body = draw(st.sampled_from(heads))
    for parameter, kind in parameters:
        match draw(st.integers(0, 3)) if kind in ("list[text]", "bool") else 0:
            case 1 | 2 if kind == "list[text]":
                body += f"{{{{for x in {parameter}}}}}- {{{{input:x}}}}\n{{{{end}}}}"
            case 1 | 2 if kind == "bool":
                body += f"{{{{if {parameter}}}}}yes {{{{else}}}}no{{{{end}}}}"
            case _:
                body += draw(st.sampled_from(["In: ", "In:", "in ", "x", ""])) + f"{{{{input:{parameter}}}}}"
        body += draw(st.sampled_from(["\n", " ", ". ", ""]))
    for output, kind in outputs:
        options = ""
        if kind == "text":
            options += f" max_tokens={draw(st.integers(1, 5))}"
            options += draw(st.sampled_from(["", "", ' stop="e"', ' stop=["a ", "\\n"]', " max_words=2"]))
            if draw(st.integers(0, 7)) == 0:
                options = draw(st.sampled_from([' choices=["yes", "no", "not yet"]', ' regex="[a-c]{1,3}"']))
        elif kind == SAMPLES:
            options += f" max_tokens={draw(st.integers(1, 4))} n={draw(st.integers(2, 3))} temperature=0.9"
        elif kind == "Card":
            options += " max_tokens=60"
        if kind != SAMPLES:
            options += draw(st.sampled_from(["", "", "", " temperature=0.8", " temperature=1.2 seed=7 top_k=5"]))
        body += draw(st.sampled_from(["Out: ", "Out:", "\n", "and "])) + f"{{{{output:{output}{options}}}}}"
    roles = not chat and draw(st.integers(0, 4)) == 0
    text = _semantic(name, parameters, outputs, body, chat, roles)
    return Function(name, ([("h", "chat")] if chat else []) + parameters, outputs, text, chat)


@st.composite
def variant(draw: st.DrawFn, function: Function) -> Function:
    """The same function under another name; an option of its outputs may differ, a space, a role, or the last words."""
    old, new = draw(st.sampled_from([
        ("{{output:o0", "{{output:o0"), *[("max_tokens=", "max_tokens=1")] * 4, (" temperature=0.8", ""),
        ("seed=7", "seed=8"),
        (' stop="e"', ""), ("top_k=5", "top_k=2"), ("In: {{", "In:{{"), ("In:{{", "In: {{"), ("Out: ", "Out. "),
        ('  system """', '  user """'),
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
def leaf(draw: st.DrawFn, scope: Scope, type: str) -> str:
    match type:
        case "text":
            return '"' + draw(st.sampled_from(WORDS)) + '"'
        case "int":
            return str(draw(st.integers(0, 3)))
        case "bool":
            return draw(st.sampled_from(["true", "false"]))
        case _:
            return draw(st.sampled_from(['["a", "b"]', '["one"]', '["none"][1:]', '["x", "x"]', 'split("", "q")']))
