"""Tokenizers keep the language's rules: pieces are text, bytes are exact, scaffolds stand apart."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semlang.backend.chat_template import ChatTemplate
from semlang.backend.embedded import embedded_tokenizer, embedded_tokenizer_directory
from semlang.backend.token_bytes import IncrementalDecoder, byte_level_alphabet, decode_bytes
from semlang.backend.tokenizer import PieceTokenizer, load_tokenizer
from semlang.ir.target import TokenizerError
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = ["the cache keeps what was used", "Hello, Wörld! 你好", "the user wants an answer </s>"] * 3


def bytes_of(tokenizer: PieceTokenizer, ids: list[int]) -> bytes:
    return b"".join(tokenizer.token_bytes(i) for i in ids)


def save(directory: Path, tokenizer: Tokenizer, config: dict[str, Any], template: str | None = None) -> PieceTokenizer:
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    if template is not None:
        (directory / "chat_template.jinja").write_text(template)
    return load_tokenizer(directory)


def byte_level(add_prefix_space: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, show_progress=False, special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def sentencepiece(style: str) -> Tokenizer:
    """A BPE with byte fallback as Llama 2 has it, in the two ways of adding its prefix space."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{b:02X}>": 3 + b for b in range(256)}
    for token in ["▁", "t", "h", "e", "a", "th", "the", "▁the", "▁a"]:
        vocabulary[token] = len(vocabulary)
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("▁", "a")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if style == "normalizer":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


@given(st.text())
def test_pieces_decode_to_their_bytes(text: str) -> None:
    tokenizer = embedded_tokenizer()
    ids = tokenizer.encode_piece(text, first=False)
    assert bytes_of(tokenizer, ids) == text.encode()
    assert tokenizer.decode(ids) == text
    assert all(0 < len(tokenizer.token_bytes(i)) <= tokenizer.longest_token_bytes for i in ids)
    assert len(ids) <= len(text.encode())


def test_special_tokens_are_text_in_pieces_and_tokens_in_scaffolds() -> None:
    tokenizer = embedded_tokenizer()
    ids = tokenizer.encode_piece("a<|eos|>b", first=False)
    assert not set(ids) & tokenizer.eos_ids and tokenizer.decode(ids) == "a<|eos|>b"
    scaffold = tokenizer.encode_scaffold("<|turn|>user\n")
    assert tokenizer.token_bytes(scaffold[0]) == b"" and tokenizer.decode(scaffold) == "user\n"
    assert tokenizer.token_bytes(10**6) == b"" and tokenizer.encode_piece("", first=True) == []


@pytest.mark.parametrize("style", ["normalizer", "metaspace"])
def test_only_the_first_piece_has_the_dummy_prefix(tmp_path: Path, style: str) -> None:
    tokenizer = save(tmp_path, sentencepiece(style), {"bos_token": "<s>", "eos_token": "</s>"})
    assert tokenizer.has_dummy_prefix and tokenizer.bos_id == 1 and tokenizer.eos_ids == {2}
    assert bytes_of(tokenizer, tokenizer.encode_piece("the a", first=True)) == b" the a"
    assert bytes_of(tokenizer, tokenizer.encode_piece("the a", first=False)) == b"the a"
    assert bytes_of(tokenizer, tokenizer.encode_scaffold("the</s>the")) == b"thethe"
    assert tokenizer.encode_piece("", first=True) == []
    assert bytes_of(tokenizer, tokenizer.encode_piece("é▁\n", first=False)) == "é \n".encode()
    assert bytes_of(tokenizer, tokenizer.encode_piece("</s>", first=False)) == b"</s>"
    assert tokenizer.token_bytes(3 + 0xC3) == b"\xc3"


def test_a_byte_level_prefix_space_is_for_the_first_piece_only(tmp_path: Path) -> None:
    tokenizer = save(tmp_path, byte_level(add_prefix_space=True), {"eos_token": "</s>"})
    assert tokenizer.has_dummy_prefix and tokenizer.bos_id is None
    assert bytes_of(tokenizer, tokenizer.encode_piece("the", first=True)) == b" the"
    assert bytes_of(tokenizer, tokenizer.encode_piece("the", first=False)) == b"the"


def test_bos_is_what_the_tokenizer_puts_in_front(tmp_path: Path) -> None:
    plain = byte_level()
    assert save(tmp_path, plain, {"bos_token": "<s>"}).bos_id is None
    assert save(tmp_path, plain, {"bos_token": "<s>", "add_bos_token": True}).bos_id == 0
    plain.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    assert save(tmp_path, plain, {"bos_token": {"content": "<s>"}}).bos_id == 0
    assert save(tmp_path, plain, {"bos_token": "<s>", "add_bos_token": False}).bos_id is None
    with pytest.raises(TokenizerError, match="no token '<nope>'"):
        save(tmp_path, plain, {"bos_token": "<nope>", "add_bos_token": True})


def test_all_ends_of_text_are_known(tmp_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.add_tokens([AddedToken("<think>", special=False)])
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [0, 1]}')
    loaded = save(tmp_path, tokenizer, {"eos_token": "<end>"})
    assert loaded.eos_ids == {0, 1, loaded.vocabulary_size - 2}
    assert loaded.token_bytes(loaded.vocabulary_size - 1) == b"<think>"
    assert loaded.vocabulary_size == tokenizer.get_vocab_size(with_added_tokens=True)


def test_the_digest_depends_on_everything_that_changes_tokens(tmp_path: Path) -> None:
    first = save(tmp_path, byte_level(), {}, "{{ messages[0].content }}").digest
    assert save(tmp_path, byte_level(), {}, "{{ messages[0].content }}").digest == first
    assert save(tmp_path, byte_level(), {}, "{{ messages[0].content }}!").digest != first
    assert save(tmp_path, byte_level(True), {}, "{{ messages[0].content }}").digest != first


def test_unusable_tokenizers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"has no tokenizer\.json"):
        load_tokenizer(tmp_path)
    with pytest.raises(TokenizerError, match="neither byte-level nor sentencepiece-like"):
        save(tmp_path, Tokenizer(models.WordLevel({"a": 0}, unk_token="a")), {})
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match=r"tokenizer\.json cannot be read"):
        load_tokenizer(tmp_path)


@given(st.binary(), st.lists(st.integers(0, 40)))
def test_bytes_become_text_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    decoder = IncrementalDecoder()
    borders = [0, *sorted(c for c in cuts if c <= len(data)), len(data)]
    pieces = [decoder.push(data[a:b]) for a, b in pairwise(borders)]
    assert "".join(pieces) == decode_bytes(data)
    if data.decode(errors="ignore").encode() == data:
        assert decode_bytes(data) == data.decode()


def test_byte_level_alphabet_is_one_to_one() -> None:
    assert sorted(byte_level_alphabet().values()) == list(range(256))
    assert set(byte_level_alphabet()) == set(pre_tokenizers.ByteLevel.alphabet())


# ---- chat templates ----

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if not enable_thinking %}<think>\n\n</think>\n{% endif %}"
    "{% endif %}"
)


def test_the_embedded_template() -> None:
    tokenizer = embedded_tokenizer()
    assert tokenizer.role_scaffold((), "system") == "<|turn|>system\n"
    assert tokenizer.role_scaffold(("system",), "user") == "<|eos|>\n<|turn|>user\n"
    assert tokenizer.role_scaffold(("system", "user"), "assistant") == "<|eos|>\n<|turn|>assistant\n"
    assert tokenizer.role_scaffold(("user", "assistant"), "user") == "<|eos|>\n<|turn|>user\n"


def test_an_earlier_output_stands_as_the_generated_turn() -> None:
    template = ChatTemplate(CHATML, {}, None)
    assert template.scaffold(("user",), "assistant").endswith("<|im_start|>assistant\n<think>\n\n</think>\n")
    assert template.scaffold(("user", "assistant"), "user") == "<|im_end|>\n<|im_start|>user\n"


def test_dates_are_fixed_and_bos_is_left_to_the_root() -> None:
    source = "{{ bos_token }}{{ strftime_now('%d %b %Y') }} {% for m in messages %}[{{ m.content }}]{% endfor %}"
    assert ChatTemplate(source, {"bos_token": "<s>"}, "<s>").scaffold((), "user") == "01 Jan 2024 ["
    assert ChatTemplate(source, {"bos_token": "<s>"}, None).scaffold((), "user") == "<s>01 Jan 2024 ["


def test_a_system_part_may_be_written_with_the_user_part() -> None:
    source = (
        "{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}"
        "{% set head = messages[0].content + '\n\n' %}"
        "{% else %}{% set rest = messages %}{% set head = '' %}{% endif %}"
        "{% for m in rest %}{% if m.role == 'user' %}[INST] {{ head if loop.first }}{{ m.content }} [/INST]"
        "{% else %} {{ m.content }} {% endif %}{% endfor %}"
    )
    template = ChatTemplate(source, {}, None)
    assert template.scaffold((), "system") == "[INST] "
    assert template.scaffold(("system",), "user") == "\n\n"
    assert template.scaffold(("system", "user"), "assistant") == " [/INST]"


def test_a_template_may_trim_contents_which_never_pass_through_it() -> None:
    template = ChatTemplate("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}", {}, None)
    assert template.scaffold(("user",), "user") == "</><user>"


@pytest.mark.parametrize(
    ("source", "roles", "message"),
    [
        ("{% for m in messages %}{{ m.content[:4] }}{% endfor %}", ("user",), "loses or changes the content of part 1"),
        ("{% for m in messages[-1:] %}{{ m.content }}{% endfor %}", ("user", "user"),
         "loses or changes the content of part 1"),
        ("{% for m in messages | reverse %}{{ m.content }}{% endfor %}", ("user", "user"), "reorders the parts"),
        ("{% for m in messages %}{{ m.content + m.content }}{% endfor %}", ("user",), "2 times"),
        ("{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}", ("user", "user"), "rewrites"),
        ("{{ raise_exception('no system part') }}", ("system",), "no system part"),
        ("{{ messages[0].content.nope() }}", ("user",), "rejects a prompt"),
        ("{{ messages[0].content }}", ("tool",), "unknown role 'tool'"),
    ],
)
def test_templates_that_change_contents_are_refused(source: str, roles: tuple[str, ...], message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        ChatTemplate(source, {}, None).scaffold(roles[:-1], roles[-1])


def test_a_template_with_a_syntax_error_is_refused() -> None:
    with pytest.raises(TokenizerError, match="syntax error in line 2"):
        ChatTemplate("\n{% if %}", {}, None)


def test_a_template_cannot_leave_its_sandbox() -> None:
    with pytest.raises(TokenizerError):
        ChatTemplate("{{ messages.__class__.__mro__[1].__subclasses__() }}", {}, None).scaffold((), "user")


def test_roles_need_a_template(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="no chat template, which prompts with roles need"):
        save(tmp_path, byte_level(), {}).role_scaffold((), "user")
    assert save(tmp_path, byte_level(), {"chat_template": "{{ messages[0].content }}"}).role_scaffold((), "user") == ""


def test_transformers_agrees_with_the_embedded_tokenizer() -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(str(embedded_tokenizer_directory()))
    ours = embedded_tokenizer()
    text = "Write python code of a snake game. Ünïcode 你好"
    assert theirs(text)["input_ids"] == [ours.bos_id, *ours.encode_piece(text, first=True)]
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": text}]
    rendered = theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    parts = [
        "<|bos|>", ours.role_scaffold((), "system"), "Be short.", ours.role_scaffold(("system",), "user"), text,
        ours.role_scaffold(("system", "user"), "assistant"),
    ]
    assert rendered == "".join(parts)
