"""Prompt text to tokens: dedent, tags, pieces, spaces, roles, chats. See docs/language.md, Prompts and Tokens.

A prompt's tokens must be those of its pieces, each tokenized by itself; the cases name the pieces.
"""

from typing import Any

import pytest

Y = "{{output:y max_tokens=3}}"
DECLARATIONS = 'enum E { k = "Deep X" }\ntype R { k: E }\n'


def prompt_of(sem: Any, body: str, parameters: str = "", arguments: str = "") -> tuple[int, ...]:
    """The tokens of the prompt of `F`'s output y."""
    result = sem.run(f"{DECLARATIONS}semantic F({parameters}) -> y: text {{{body}}}\n"
                     f"program Main() -> y: text {{ return F({arguments}) }}\n")
    assert result.errors == {}
    prompt: tuple[int, ...] = next(call.prompt_ids for call in result.calls if call.output == "y")
    return prompt


def test_pieces_matter(sem: Any) -> None:
    """The cases below would see a border that is missing: tokens of a whole differ from those of its parts."""
    assert sem.pieces("Answer") != sem.pieces("An", "s", "wer") != sem.pieces("An", "swer")
    assert sem.pieces(" Answer") != sem.pieces(" ", "Answer")


@pytest.mark.parametrize(("text", "pieces"), [
    ("Hello {{x}} there " + Y, ["Hello", " abc", " there"]),
    ("Hello  {{x}}  there\n" + Y, ["Hello ", " abc", "  there\n"]),
    ("An{{input:\"s\"}}wer" + Y, ["An", "s", "wer"]), ("An{{input:x[:0]}}swer" + Y, ["An", "", "swer"]),
    ("Hello  " + Y, ["Hello "]), ("{{x}}" + Y, ["abc"]), (" {{x}}" + Y, [" abc"]),
    ("a\t{{x}}b" + Y, ["a\t", "abc", "b"]),
    ("a\n{{x}}b" + Y, ["a\n", "abc", "b"]), ("{{x}}{{x}}" + Y, ["abc", "abc"]), ("{{x}} {{x}} " + Y, ["abc", " abc"]),
    ("{{input:x}}{{ x }}{{ input : x }}" + Y, ["abc", "abc", "abc"]),
    ("a \\{{x}} b\\n c\\\\ {{x}}" + Y, ["a {{x}} b\\n c\\\\", " abc"]),
    ("a {x} } }} {{x}}" + Y, ["a {x} } }}", " abc"]),
    ('a "q" ""t"" ${x} # no comment {{x}}' + Y, ['a "q" ""t"" ${x} # no comment', " abc"]),
    ("a <|eos|> {{x}}" + Y, ["a <|eos|>", " abc"]), ('{{input:"<|bos|>" + x}}' + Y, ["<|bos|>abc"]),
    ('{{input:upper(x)}} {{len(x) * 2}} {{x[1:]}} {{"q${x}"}}' + Y, ["ABC", " 6", " bc", " qabc"]),
    ("{{x}}a" + Y + " never {{x}} seen {{y}}", ["abc", "a"]), ('{{input:""}}{{x}}' + Y, ["", "abc"]),
    ("a {{input:\"\"}}b{{x}}" + Y, ["a", " ", "b", "abc"]),
    ("caf\u00e9 \U0001f600{{x}}" + Y, ["caf\u00e9 \U0001f600", "abc"]),
])
def test_holes_and_spaces(sem: Any, text: str, pieces: list[str]) -> None:
    assert prompt_of(sem, f'"""{text}"""', "x: text", '"abc"') == sem.pieces(*pieces)


@pytest.mark.parametrize(("text", "pieces"), [
    ("\n   one\n     two\n   {Y}\n", ["one\n  two\n"]), ("first\n   one\n     two\n   {Y}\n", ["first\none\n  two\n"]),
    ("\n\n\n   one\n\n     two\n   {Y}\n\n\n", ["one\n\n  two\n"]), ("   x\n   one\n {Y}\n", ["   x\n  one\n"]),
    ("\n\tone\n\t\ttwo\n\t{Y}\n", ["one\n\ttwo\n"]), ("\n\tone\n    two\n\t{Y}\n", ["\tone\n    two\n\t"]),
    ("\n   one   \n   {Y}\n", ["one   \n"]), ("\n  one\n{Y}\n", ["  one\n"]), ("one\r\n  two\r\n  {Y}", ["one\ntwo\n"]),
])
def test_text_is_dedented(sem: Any, text: str, pieces: list[str]) -> None:
    assert prompt_of(sem, f'"""{text.replace("{Y}", Y)}"""') == sem.pieces(*pieces)


def test_inserted_values_are_not_dedented(sem: Any) -> None:
    prompt = prompt_of(sem, f'"""\n   one\n   {{{{x}}}}\n   {Y}\n"""', "x: text", r'"   a\n     b\r\n"')
    assert prompt == sem.pieces("one\n", "   a\n     b\r\n", "\n")


@pytest.mark.parametrize(("text", "pieces"), [
    ("\n  A\n  {{for q in xs}}\n  - {{q}}\n  {{end}}\n  B", ["A\n", "-", " 1", "\n", "-", " 2", "\n", "B"]),
    ("\n  A\n  {{for q in xs}}- {{q}}\n  {{end}}B", ["A\n", "-", " 1", "\n", "-", " 2", "\n", "B"]),
    ("\n  A\n  {{unordered for q in xs}}\n  {{q}}.\n  {{end}}\n  B", ["A\n", "1", ".\n", "2", ".\n", "B"]),
    ("{{for i, q in xs}}{{i}}:{{q + 1}};{{end}}B", ["0", ":", "2", ";", "1", ":", "3", ";", "B"]),
    ("{{for k, v in m}}{{k}}={{v}} {{end}}B", ["a", "=", "2", " ", "b", "=", "1", " ", "B"]),
    ("{{for a, b in zip(xs, xs)}}{{a}}{{b}}{{end}}B", ["1", "1", "2", "2", "B"]),
    ("A{{for q in xs}}{{for p in xs}}{{q}}{{p}}{{end}}{{end}}B", ["A", *"11122122", "B"]),
    ("A{{for q in none_of}}{{q}}{{end}}B", ["A", "B"]),
    ("A{{if yes}} yes{{else}} no{{end}} B", ["A", " yes", " B"]),
    ("A{{if no}} yes{{else}} no{{end}} B", ["A", " no", " B"]),
    ("A {{if yes}}yes{{end}}B", ["A ", "yes", "B"]), ("A {{if no}}yes{{end}}B", ["A ", "B"]),
    ("\n  A\n  {{if no}}\n  a\n  {{else if yes}}\n  b\n  {{else}}\n  c\n  {{end}}\n  B", ["A\n", "b\n", "B"]),
    ("\n  A\n  {{for q in xs}} {{if q > 1}}\n  - {{q}}\n  {{end}} {{end}}\n  B", ["A\n", "-", " 2", "\n", "B"]),
    ("{{if len(xs) == 2 and yes}}{{xs}}{{end}}B", ["[1,2]", "B"]), ("{{if o != none}}{{o + 1}}{{end}}B", ["6", "B"]),
    ("{{if yes}}{{if no}}a{{else}}b{{end}}{{end}}B", ["b", "B"]), ("A{{if yes}}{{end}}B", ["A", "B"]),
    ("An{{if yes}}s{{end}}wer", ["An", "s", "wer"]), ("An{{if no}}s{{end}}swer", ["An", "swer"]),
    ("An{{for q in none_of}}{{q}}{{end}}swer", ["An", "swer"]), ("{{for q in xs}}An{{end}}swer", ["An", "An", "swer"]),
    ("A {{for q in xs}}{{q}}{{end}}B", ["A ", "1", "2", "B"]), ("A{{for q in xs}} {{end}}B", ["A", " ", " ", "B"]),
])
def test_loops_and_conditions(sem: Any, text: str, pieces: list[str]) -> None:
    """Every tag is a border, whether what it decides is known before the run or not."""
    parameters = "xs: list[int], none_of: list[int], m: map[text, int], yes: bool, no: bool, o: int?"
    body, wanted = f'"""{text}{Y}"""', sem.pieces(*pieces)
    assert prompt_of(sem, body, parameters, '[1, 2], [], ["b": 1, "a": 2], true, false, 5') == wanted
    declared = "xs: list[int] = [1, 2], m: map[text, int] = [\"b\": 1, \"a\": 2], yes: bool = true, o: int? = 5"
    result = sem.run(f"semantic F({parameters}) -> y: text {{{body}}}\n"
                     f"program Main({declared}) -> y: text {{ return F(xs, xs[2:], m, yes, not yes, o) }}")
    assert [call.prompt_ids for call in result.calls] == [wanted]


def test_rendering_in_holes(sem: Any) -> None:
    parameters = "a: float, b: bool, c: E, d: list[text], e: map[text, int?], f: map[text, R]"
    prompt = prompt_of(sem, f'"""{{{{a}}}}|{{{{b}}}}|{{{{c}}}}|{{{{d}}}}|{{{{e}}}}|{{{{f}}}}{Y}"""', parameters,
                       '1, true, E.k, ["é"], ["a": none], ["a": R(k = k)]')
    assert prompt == sem.pieces("1.0", "|", "true", "|", "Deep X", "|", '["é"]', "|", '{"a":null}', "|",
                                '{"a":{"k":"Deep X"}}')


@pytest.mark.parametrize(("text", "argument", "wanted"), [
    ("{{x}}b", "q", b"^qb"), ("{{x}}b", "", b"b"), (" {{x}}b", "q", b"^ qb"), (" {{x}}b", "", b"^ b"),
    ("{{if x == \"q\"}}A{{end}}b", "q", b"^Ab"), ("{{if x == \"q\"}}A{{end}}b", "z", b"^b"),
    ("{{for c in split(x, \"\")}}{{c}}{{end}}b", "kl", b"^klb"), ("{{for c in split(x)}}{{c}}{{end}}b", "", b"^b"),
    ("a{{x}}b", "q", b"^aqb"),
])
def test_only_the_first_piece_has_a_dummy_prefix(sem: Any, text: str, argument: str, wanted: bytes) -> None:
    """`^` stands for the prefix; a piece without text is the first one nevertheless."""
    sem.script({}, has_dummy_prefix=True)
    source = f'semantic F(x: text) -> y: text {{"""{text}{{{{y}}}}"""}}\n'
    constant = sem.run(f'{source}program Main() -> y: text {{ return F("{argument}") }}')
    given = sem.run(f"{source}program Main(x: text) -> y: text {{ return F(x) }}", {"x": argument})
    assert bytes(constant.calls[0].prompt_ids) == bytes(given.calls[0].prompt_ids) == wanted


# ---- several outputs ----

TWO = '''
semantic F(x: text) -> (a: text, b: text) {
  """{{x}} {{output:a max_tokens=3 stop="e"}} and {{output:thought: int}} then {{a}}:{{thought}}
  {{output:b max_tokens=3}} tail {{a}}"""
}
'''


def test_later_outputs_see_earlier_ones(sem: Any) -> None:
    sem.script({"hi": " tree", "hi t and": "7x", "hi tr and": "7x"})
    result = sem.run(TWO + 'program Main() -> (a: text, b: text) { let r = F("hi")\n return r.a, r.b }')
    assert result.outputs["a"] == "tr"
    prompts = {call.output: bytes(call.prompt_ids) for call in result.calls}
    assert prompts == {"a": b"hi", "thought": b"hi tr and", "b": b"hi tr and7 then tr:7\n"}


def test_what_nobody_uses_is_cut_from_the_tail(sem: Any) -> None:
    only_a = sem.run(TWO + 'program Main() -> a: text { return F("hi").a }')
    only_b = sem.run(TWO + 'program Main() -> b: text { return F("hi").b }')
    assert [call.output for call in only_a.calls] == ["a"]
    assert {call.output for call in only_b.calls} == {"a", "thought", "b"}
    assert only_a.stats.generated_tokens < only_b.stats.generated_tokens


# ---- roles and chats ----

ROLES = '''
semantic F(x: text, xs: list[text]) -> (y: text, z: text) {
  system """Be kind. """
  for e in xs { user """Q {{e}}""" assistant """A""" }
  user """{{x}}"""
  assistant """Sure: {{output:y max_tokens=3}}"""
  user """more {{y}}"""
  assistant """{{output:z max_tokens=2}}"""
}
program Main() -> (y: text, z: text) { let r = F("hi", ["1", "2"])
  return r.y, r.z
}
'''


def test_roles_become_scaffold(sem: Any) -> None:
    """The scaffold is tokenized with special tokens, apart from contents; BOS is not repeated."""
    encode, pieces = sem.tokenizer.encode_scaffold, sem.pieces

    def scaffold(text: str) -> tuple[int, ...]:
        return tuple(encode(text))

    turn = "<|eos|>\n<|turn|>"
    result = sem.run(ROLES)
    prompts = {call.output: call for call in result.calls}
    start = scaffold("<|turn|>system\n") + pieces("Be kind. ")
    for question in ("1", "2"):
        start += scaffold(f"{turn}user\n") + pieces("Q", f" {question}") + scaffold(f"{turn}assistant\n") + pieces("A")
    start += scaffold(f"{turn}user\n") + pieces("hi") + scaffold(f"{turn}assistant\n") + pieces("Sure:")
    assert prompts["y"].prompt_ids == start
    rest = scaffold(f"{turn}user\n") + pieces("more", " " + result.outputs["y"]) + scaffold(f"{turn}assistant\n")
    assert prompts["z"].prompt_ids == start + prompts["y"].context_ids + rest


CHAT = '''
semantic Turn(h: chat, m: text) -> r: text { """{{h}}U: {{m}}
A: {{output:r max_tokens=9 stop="\\n"}} never part of it""" }
'''


def test_a_chat_continues_token_for_token(sem: Any) -> None:
    sem.script({"U: one\nA:": " yes\nno", "U: two\nA:": "ok"})
    result = sem.run(CHAT + '''program Main() -> (a: text, b: text, c: text) {
      let x = Turn(chat(), "one")
      let y = Turn(x.chat, "two")
      let z = Turn(x.chat, "two")
      return x, y, z
    }''')
    assert result.outputs == {"a": "yes", "b": "ok", "c": "ok"}
    assert {bytes(call.prompt_ids) for call in result.calls} == {b"U: one\nA:", b"U: one\nA: yesU: two\nA:"}
    assert len(sem.results[2].calls) == 2, "equal greedy calls are one call at -O2"


def test_chats_in_folds_maps_and_branches(sem: Any) -> None:
    result = sem.run(CHAT + '''program Main(n: int = 2) -> (a: list[text], b: list[text], c: text) {
      let talk = fold replies: list[text] = [], h = chat() for m in ["one", "two", "three"] {
        let turn = Turn(h, m)
        yield replies + [turn], turn.chat
      }
      let forks = for m in ["x", "y"] { Turn(talk.h, m) }
      let picked = if n > 1 { Turn(chat(), "left").chat } else { Turn(chat(), "right").chat }
      return talk.replies, forks, Turn(picked, "last")
    }''')
    assert result.errors == {} and len(result.outputs["a"]) == 3
    lengths = sorted(len(call.prompt_ids) for call in result.calls)
    assert len(lengths) == 7
    assert sem.results[2].stats.filled_tokens < sem.results[0].stats.prompt_tokens


def test_a_chat_goes_on_under_roles(sem: Any) -> None:
    result = sem.run('''
semantic Begin(m: text) -> r: text { system """be""" user """{{m}}""" assistant """{{output:r max_tokens=3}} tail""" }
semantic Go(h: chat, m: text) -> r: text { user """{{h}}{{m}}""" assistant """{{output:r max_tokens=3}}""" }
program Main() -> b: text { let x = Begin("one")
  return Go(x.chat, "two") }''')
    first, second = sorted(result.calls, key=lambda call: len(call.prompt_ids))
    before = first.prompt_ids + first.context_ids
    assert second.prompt_ids[: len(before)] == before
    encode = sem.tokenizer.encode_scaffold
    assert second.prompt_ids[len(before) :] == (
        *encode("<|eos|>\n<|turn|>user\n"), *sem.pieces("two"), *encode("<|eos|>\n<|turn|>assistant\n"))


TURN = 'semantic T(h: chat, m: text) -> r: text { """{{h}}{{m}}:{{output:r max_tokens=2}}""" }\n'
STEP = "program Step(h: chat, m: text) -> (h: chat, t: text) { let x = T(h, m)\n return x.chat, x }\n"


@pytest.mark.parametrize(("body", "prompts"), [
    ('let x = T(chat(), "a")\n return T(x.chat, "b")', ["a:", "a:<a:>b:"]),
    ('let cs = for m in ["a", "b"] { T(chat(), m).chat }\n return join([T(c, "q") for c in cs])',
     ["a:", "b:", "a:<a:>q:", "b:<b:>q:"]),
    ('let cs = [T(chat(), m).chat for m in ["a", "b"] if m == "b"]\n return join([T(c, "q") for c in cs])',
     ["b:", "b:<b:>q:"]),
    ('let (h, t) = Step(chat(), "a")\n let (i, u) = Step(h, "b")\n return T(i, "c")',
     ["a:", "a:<a:>b:", "a:<a:>b:<b:>c:"]),
    ('let r = loop (h = chat(), k = 0) while k < 2 limit n { yield T(h, "a").chat, k + 1 }\n return T(r.h, "b")',
     ["a:", "a:<a:>a:", "a:<a:>a:<a:>b:"]),
    ('let h = if n > 2 { T(chat(), "a").chat } else { chat() }\n return T(h, "b")', ["a:", "a:<a:>b:"]),
    ('let h = try T(chat(), "a${1 // 0}").chat else chat()\n return T(h, "b")', ["b:"]),
    ('let cs = ["k": chat(), "l": T(chat(), "z").chat]\n return T(cs["l"] ?? chat(), "b")', ["z:", "z:<z:>b:"]),
    ('let (x, y) = fold h = chat(), g = chat() for m in ["a", "b"] { yield T(g, m).chat, T(h, "c").chat }\n'
     ' return T(x, "d") + T(y, "e")', ["a:", "a:<a:>c:", "a:<a:>c:<c:>e:", "c:", "c:<c:>b:", "c:<c:>b:<b:>d:"]),
])
def test_chats_go_where_values_go(sem: Any, body: str, prompts: list[str]) -> None:
    """A model that answers `m:` by `<m:>`: every prompt shows the chat that it continues."""
    sem.script({f"{m}:": f"<{m}:>"[:2] for m in "abcdeqz"})
    result = sem.run(f"{TURN}{STEP}program Main(n: int = 3) -> a: text {{\n {body}\n}}", program="Main")
    assert result.errors == {}
    assert sorted({bytes(call.prompt_ids).decode() for call in result.calls}) == sorted(
        prompt.replace(":>", "") for prompt in prompts)


@pytest.mark.parametrize(("source", "code"), [
    ("type Q { c: chat }\nprogram Main() -> a: int { return 1 }", "E0213"),
    ('program Main() -> a: text { return "${chat()}" }', "E0313"),
    ("program Main() -> a: bool { return chat() == chat() }", "E0313"),
    ('program Main() -> a: text { return T("a", "b") }', "E0301"),
    ('program Main() -> a: text { return T(T(chat(), "a"), "b") }', "E0301"),
    ('program Main() -> a: text { let c = "a".chat\n return "b" }', "E0204"),
    ('semantic U(h: chat) -> y: text { """{{h}}a{{h}}{{y}}""" }\nprogram Main() -> a: int { return 1 }', "E0702"),
    ('semantic U(h: chat) -> y: text { """{{if true}}{{h}}{{end}}{{y}}""" }\n'
     "program Main() -> a: int { return 1 }", "E0702"),
])
def test_where_chats_cannot_be(sem: Any, source: str, code: str) -> None:
    assert code in sem.codes(TURN + source)


def test_a_chat_stays_with_its_model(sem: Any, semc: Any) -> None:
    models = 'model small = "a/b"\nmodel big = "c/d"\n'
    turn = 'semantic {0}(h: chat) -> r: text using {1} {{ """{{{{h}}}}a{{{{r max_tokens=2}}}}""" }}\n'
    both = models + turn.format("A", "small") + turn.format("B", "big")
    sem.write(both + "program Main() -> (a: text, b: text) { let x = A(chat())\n  return A(x.chat), B(chat()) }")
    assert 'model = "small"' in semc("compile", "main.sem", "--engine", "reference")
    assert 'model = "big"' in semc.out
    sem.write(both + "program Main() -> (a: text, b: text) { let x = A(chat())\n  return B(x.chat), x }")
    for level in ("-O0", "-O2"):
        semc("run", "main.sem", "--engine", "reference", level, code=2)
        assert "error[E0938]: `B` runs on `big`, but its chat belongs to `small`" in semc.err
        assert "--> main.sem:6:10" in semc.err and semc.err.endswith("1 error\n")
