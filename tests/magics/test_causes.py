"""%llama ablate and %llama patch: what they read, what they give back, and what they refuse."""

import pytest

import llama_nb as llama
from llama_nb.core.errors import LlamaError
from llama_nb.magics.commands import ablate, patch
from llama_nb.session.ablation import AblationEffect
from llama_nb.session.patching import SITES, PatchMap

STORY = "Once upon a time, Ida lived in a quiet village."
CORRUPT = STORY.replace("Ida", "Noah")


@pytest.fixture
def cria(shell):
    made = llama.load("cria", name="causes")
    yield made
    made.unload(force=True)


def test_every_example_runs(shell, cria):
    cria.chat("Hello", temperature=0, max_tokens=4)
    for example in (*ablate.EXAMPLES, *patch.EXAMPLES):
        cell = shell(example)
        assert cell.ok, (example, cell.out)
        assert isinstance(cell.value, AblationEffect | PatchMap)


def test_the_body_is_the_text_and_the_effect_is_kept(shell, cria):
    shell("who = 'Ida'")
    assert shell("%%llama ablate e << 5.attn L0 H3 --tokens 6 --position 3\n" + STORY).ok is False
    found = shell(
        "%%llama ablate e << 5.attn 0.3 --tokens 6 --position 3\n" + STORY.replace("Ida", "{{ who }}")
    )
    assert found.ok
    effect = shell.names["e"]
    assert effect == cria.ablation(STORY, "5.attn", "0.3", tokens=6, position=3)
    assert shell("%%llama ablate 5.attn --raw --tokens 0\nA {{ who }}").value.context.endswith("{{ who }}")


def test_on_a_line_it_is_the_last_reply(shell, cria):
    reply = cria.chat("Hello", chat="other", temperature=0, max_tokens=4)
    effect = shell('%llama ablate 3 --mode mean --over "Once upon a time" --tokens 4').value
    assert effect.title == "reply in chat other"
    assert effect.text_before == reply.text
    assert effect.interventions[0].over
    assert shell("%llama ablate 3 --chat other --tokens 4").value.title == "reply in chat other"


def test_the_two_lines_are_the_two_texts(shell, cria):
    found = shell(f'%%llama patch p << --answer " Ida" --wrong " Noah" --site mlp\n\n{STORY}\n{CORRUPT}\n\n')
    assert found.ok
    assert (shell.names["p"].site, shell.names["p"].answer.text) == ("mlp", " Ida")
    assert patch.SITES == SITES


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%llama ablate", "Nothing is named that could be turned off"),
        ("%llama ablate 3.5", "There is no reply yet"),
        ("%%llama ablate 9\nOnce", "causes has no layer 9: it has 6, from 0 to 5"),
        ("%%llama ablate 3.9\nOnce", "causes has no head 9 in layer 3"),
        ("%%llama ablate 3.gate\nOnce", "'3.gate' names no part of a model"),
        ("%%llama ablate 3 --mode noise\nOnce", "--mode is 'noise'"),
        ("%%llama ablate 3 --over x\nOnce", "zeros need none"),
        ("%%llama ablate 3\n  \n", "There is no text"),
        ("%llama patch", "Patching needs two texts"),
        (f"%%llama patch\n{STORY}", "there are 1 lines"),
        (f"%%llama patch\n{STORY}\n{CORRUPT}\n{STORY}", "there are 3 lines"),
        ("%%llama patch\nOnce upon\nOnce", "The clean text has"),
        (f"%%llama patch --site neuron\n{STORY}\n{CORRUPT}", "--site is 'neuron'"),
    ],
)
def test_what_cannot_be_done_is_named(shell, cria, line, message):
    cell = shell(line)
    assert isinstance(cell.error, LlamaError)
    assert message in cell.error.message


def test_in_a_block_of_python_the_verbs_ask_without_the_parts(shell, cria):
    shell(
        "import llama_nb\n"
        "with llama_nb.current().ablate('5.attn'):\n"
        "    %llama chat --chat inside --temperature 0 --max-tokens 4 Hello\n"
        "%llama chat --chat outside --temperature 0 --max-tokens 4 Hello"
    )
    inside, outside = (cria.chats[name].reply(cria.chats[name].head) for name in ("inside", "outside"))
    assert inside.notes == ["While this was written: L5 attention off."]
    assert outside.notes == []
