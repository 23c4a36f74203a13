"""How the model is trained: data that nothing of an evaluation is in, prompts as the compiler makes them, a net that is
what `transformers` computes, runs that go on where they stopped."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from semlang.backend.executor import run_module
from semlang.backend.tokenizer import PieceTokenizer, load_tokenizer
from semlang.frontend.compile import compile_file
from semlang.ir.target import ModelTarget, Target
from semlang.passes.manager import run_pipeline
from semlang.passes.pipelines import pipeline
from semlang.programs.rca.training import disjoint, inquiries, questions, tokens
from semlang.programs.rca.training.batches import batch
from semlang.programs.rca.training.questions import Question
from semlang.programs.rca.training.teacher import CONTEXT_LENGTH, Teacher, TeacherEngine
from semlang.programs.rca.training.worlds import World

RCA = Path(__file__).parents[2] / "programs" / "rca"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "incidents"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PieceTokenizer:
    """As that of the model, trained on fewer texts."""
    directory = tmp_path_factory.mktemp("tokenizer")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tokens, "WORLDS", 400)
        tokens.write_tokenizer(directory, 11)
    return load_tokenizer(directory)


def all_questions(seed: int) -> list[Question]:
    rng = random.Random(seed)
    return [questions.choose(rng, 0.2, 4), questions.choose_name(rng, 0.2, 6), questions.name_cause(rng, 0.2),
            questions.summarise(rng), inquiries.judge(rng), inquiries.assess(rng), inquiries.state(rng),
            inquiries.verify(rng)]


def test_equal_seeds_make_equal_questions() -> None:
    assert all_questions(3) == all_questions(3)
    assert all_questions(3) != all_questions(4)


def test_worlds_of_any_size_have_distinct_categories() -> None:
    for seed in range(40):
        names = [category.name for category in World(seed, 3 + seed % 22).categories]
        assert len(set(names)) == len(names) == 3 + seed % 22


def test_the_right_option_is_an_incident_of_the_same_category() -> None:
    letters = []
    for seed in range(200):
        asked = questions.choose(random.Random(seed), 0.3, 5)
        letters.append(asked.answers["letter"])
        assert sum(asked.fits) == (asked.answers["letter"] != "A") <= 1
        assert not any(asked.fits) or asked.fits["BCDEF".index(asked.answers["letter"])]
    assert {"A", "B", "C", "D", "E"} <= set(letters)
    assert letters.count("B") > letters.count("E")  # retrieval shows what is alike first


def test_summaries_have_the_length_that_is_asked_for() -> None:
    for seed in range(30):
        asked = questions.summarise(random.Random(seed))
        assert 120 <= len(asked.answers["summary"].split()) <= 140
        assert set(asked.answers["summary"].split()) <= set(asked.arguments["diagnosis"].split())


def test_nothing_of_the_samples_is_in_the_training_data() -> None:
    common = disjoint.of_training(worlds=200).common(disjoint.of_samples())
    assert common == {"categories": [], "texts": [], "names": []}


@pytest.mark.parametrize("data", ["cloud-postmortems", "gaia"])
def test_nothing_of_the_public_sets_is_in_the_training_data(data: str) -> None:
    file = SHARED / data / "incidents.jsonl"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    common = disjoint.of_training(worlds=200).common(disjoint.of_file(str(file)))
    assert common == {"categories": [], "texts": [], "names": []}


def test_what_is_common_would_be_found() -> None:
    runs, wording = disjoint.runs, disjoint.Wording
    one = wording(runs(["Expired certificate of x"], 2), runs(["a b c d e"], 4), frozenset("x"))
    other = wording(runs(["expired certificate"], 2), runs(["z a b c d"], 4), frozenset("xy"))
    assert one.common(other) == {"categories": ["expired certificate"], "texts": ["a b c d"], "names": ["x"]}


def test_lessons_are_the_prompts_of_the_programs(tokenizer: PieceTokenizer) -> None:
    """A choice through predict.sem as users run it, at the highest level, has the tokens of its lesson."""
    asked = questions.choose(random.Random(5), 0.3, 4)
    lesson = Teacher(tokenizer).lesson(asked)
    module = compile_file(str(RCA / "predict.sem"), program="Decisions").module
    run_pipeline(module, pipeline(2), Target({"": ModelTarget(tokenizer, CONTEXT_LENGTH)}))
    engine = TeacherEngine(tokenizer)
    engine.answers = [asked.answers["letter"]]
    given: Any = {key: asked.arguments[key] for key in ("summary", "candidates")}
    result = run_module(module, {"": engine}, {"questions": [given]})
    assert not result.errors
    end = lesson.choices[0] + len(tokenizer.encode_piece(" " + asked.answers["letter"], first=False))
    assert engine.lesson.ids == lesson.ids[:end]
    assert tokenizer.decode(lesson.ids[end:]).strip() == "Explanation: " + asked.answers["rationale"]
    assert lesson.ids[-1] in tokenizer.eos_ids


def test_every_question_becomes_a_lesson_that_holds_its_answers(tokenizer: PieceTokenizer) -> None:
    teacher = Teacher(tokenizer)
    for asked in all_questions(7):
        lesson = teacher.lesson(asked)
        written = tokenizer.decode([token for token, one in zip(lesson.ids, lesson.written, strict=True) if one])
        assert "".join(written.split()) == "".join("".join(asked.answers.values()).split())
        assert all(lesson.written[choice] and not lesson.written[choice - 1] for choice in lesson.choices)


def test_batches_know_where_options_end_and_what_is_repeated(tokenizer: PieceTokenizer) -> None:
    first = batch(Teacher(tokenizer), tokenizer, 0, 11)
    again = batch(Teacher(tokenizer), tokenizer, 0, 11)
    assert first.lessons == again.lessons and (first.echoes == again.echoes).all()
    for lesson, asked, ends, echoes in zip(first.lessons, first.questions, first.ends, first.echoes, strict=True):
        assert len(lesson.ids) <= first.tokens and len(ends) == len(asked.fits)
        for end, candidate in zip(ends, asked.arguments.get("candidates", []), strict=False):
            assert tokenizer.decode(lesson.ids[:end + 1]).endswith(f"category: {candidate['category']}.\n")
        for i in range(1, len(lesson.ids)):
            assert (echoes[i, 2] == 1) == (lesson.ids[i - 1:i + 1] in [lesson.ids[j - 1:j + 1] for j in range(1, i)])
        assert (echoes[len(lesson.ids):] == -1).all()
    assert (first.echoes[..., 0] == 1).any() and (first.echoes[..., 1] == 1).any()


def test_the_network_is_a_llama(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("safetensors")
    from semlang.programs.rca.training.network import Network
    from semlang.programs.rca.training.shape import CONFIG
    from semlang.programs.rca.training.storage import export_weights, write_json

    network = Network(3)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(weight.to(torch.bfloat16))
    write_json(tmp_path / "config.json", CONFIG)
    export_weights(network, tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ids = torch.randint(0, CONFIG["vocab_size"], (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mine = network.logits(network(ids, torch.float32)[2].flatten(0, 1), torch.float32).view(2, 40, -1)
        assert torch.allclose(mine, model(ids).logits, atol=1e-3)


def test_a_training_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from semlang.programs.rca.training import batches, train

    for module in (batches, train):
        monkeypatch.setattr(module, "SIZES", {128: 2, 256: 2})
    monkeypatch.setattr(tokens, "WORLDS", 400)
    for stops in ([2], [1, 2]):
        for stop in stops:
            assert train.main(["--out", str(tmp_path / str(len(stops))), "--steps", "4", "--stop", str(stop)]) == 0
    weights = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("1", "2")]
    assert weights[0]["step"] == weights[1]["step"] == 2
    for name, weight in weights[0]["network"].items():
        assert torch.equal(weight, weights[1]["network"][name]), name
    log = [json.loads(line) for line in (tmp_path / "2" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [0, 1] and all(row["loss"] > 0 for row in log)
    assert (tmp_path / "1" / "model" / "model.safetensors").stat().st_size < 8_400_000
