"""Chat templates of real models: split at their contents, with a fixed date and without thinking; broken ones refused.

See docs/language.md, Roles.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from semlang.backend.embedded import embedded_tokenizer_directory

PROGRAM = '''
semantic F(x: text) -> (y: text, z: text) {
  system """Be {{x}}."""
  user """Hi"""
  assistant """A: {{output:y max_tokens=3 stop="\\n"}}"""
  user """more"""
  assistant """{{output:z max_tokens=2}}"""
}
program Main(x: text = "kind") -> (y: text, z: text) { let r = F(x)
  return r.y, r.z
}
'''
PLAIN = ("{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}[/]{% endfor %}"
         "{% if add_generation_prompt %}[assistant]{% endif %}")


@pytest.fixture
def model(sem: Any) -> Any:
    """Makes a model directory with a chat template, or without one."""
    def make(template: str | None) -> str:
        directory = sem.folder / "model"
        shutil.copytree(embedded_tokenizer_directory(), directory)
        path = Path(directory, "chat_template.jinja")
        path.unlink() if template is None else path.write_text(template)
        sem.write(PROGRAM)
        return str(directory)
    return make


@pytest.mark.parametrize(("template", "scaffolds"), [
    (PLAIN, ["[system]", "[/][user]", "[/][assistant]", "[/][user]", "[/][assistant]"]),
    (PLAIN.replace("[{{ m", "{{ strftime_now('%Y-%m-%d') }}[{{ m"),
     ["2024-01-01[system]", "[/]2024-01-01[user]", "[/][assistant]", "[/]2024-01-01[user]", "[/][assistant]"]),
    (PLAIN + "{% if enable_thinking is false %}<think></think>{% endif %}",
     ["[system]", "[/][user]", "[/][assistant]<think></think>", "[/][user]", "[/][assistant]<think></think>"]),
    ("{% if tools or documents %}T{% endif %}"
     + PLAIN.replace("{{ m.content }}", "{% generation %}{{ m.content }}{% endgeneration %}"),
     ["[system]", "[/][user]", "[/][assistant]", "[/][user]", "[/][assistant]"]),
])
def test_scaffold(semc: Any, model: Any, template: str, scaffolds: list[str]) -> None:
    shown = semc("compile", "main.sem", "--model", model(template))
    assert re.findall(r'scaffold<\d+ : "(.*?)" :', shown) == scaffolds
    assert re.findall(r' tokens<\d+ : "(.*?)" :', shown) == ["Be", ".", "Hi", "A:", "more"]
    assert semc.json("main.sem", "--model", str(Path("model")))["stats"]["calls"] == 2


@pytest.mark.parametrize(("template", "message"), [
    (PLAIN.replace("{{ m.content }}", "{% if m.role != 'system' %}{{ m.content }}{% endif %}"), "loses or changes"),
    (PLAIN.replace("m.content", "m.content | upper"), "loses or changes"),
    (PLAIN.replace("m.content", "m.content[:5]"), "loses or changes"),
    (PLAIN.replace("m.content", "m.content | e"), "loses or changes"),
    (PLAIN.replace("{{ m.content }}", "{{ m.content }}{{ m.content }}"), "2 times"),
    (PLAIN.replace("in messages", "in messages | reverse"), "reorders the parts"),
    (PLAIN.replace("[{{ m", "{% if loop.last %}!{% endif %}[{{ m"), "rewrites the text before part 1"),
    (PLAIN.replace("[{{ m", "{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}[{{ m"),
     "no system"),
    ("{{ ''.__class__.__mro__ }}" + PLAIN, "is unsafe"), (None, "the model has no chat template"),
])
def test_refused_templates(semc: Any, model: Any, template: str | None, message: str) -> None:
    semc("compile", "main.sem", "--model", model(template), code=2)
    assert "error[E0940]" in semc.err and message in semc.err
    assert "--> main.sem:3:3" in semc.err or "--> main.sem:4:3" in semc.err
    semc("run", "main.sem", "--engine", "reference", "--model", "model", code=2)


def test_a_template_that_cannot_be_read(semc: Any, model: Any) -> None:
    semc("compile", "main.sem", "--model", model("{% for %}"), code=2)
    assert "the chat template has a syntax error in line 1" in semc.err


def test_prompts_without_roles_need_no_template(sem: Any, semc: Any, model: Any) -> None:
    directory = model(None)
    sem.write('semantic F(x: text) -> y: text { """{{x}}: {{output:y max_tokens=2}}""" }\n'
              'program Main() -> y: text { return F("a") }')
    assert semc.json("main.sem", "--model", directory)["errors"] == {}
