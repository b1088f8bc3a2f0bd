"""%llama route: what it reads, what it gives back, and what it refuses."""

import pytest

import llama_nb as llama
from llama_nb.core.errors import LlamaError
from llama_nb.core.intervention import names
from llama_nb.magics.commands import route
from llama_nb.session.ablation import AblationEffect

STORY = "Once upon a time, Ida lived in a quiet village."


@pytest.fixture(scope="module")
def loaded():
    made = llama.load("cria-moe", name="routed")
    yield made
    made.unload(force=True)


@pytest.fixture
def moe(shell, loaded):
    yield loaded
    for name in tuple(loaded.chats):
        loaded.chats.delete(name)
    loaded._last = None


def test_every_example_runs(shell, moe):
    moe.chat("Hello", temperature=0, max_tokens=4)
    for example in route.EXAMPLES:
        cell = shell(example)
        assert cell.ok, (example, cell.out)
        assert isinstance(cell.value, AblationEffect)


def test_the_body_is_the_text_and_the_effect_is_kept(shell, moe):
    shell("who = 'Ida'")
    line = "%%llama route e << --ban 1.0,L3 --tokens 4\n"
    assert shell(line + STORY).ok is False
    body = STORY.replace("Ida", "{{ who }}")
    found = shell(f"%%llama route e << --ban 1.0,3.2 --force L5.E1 --tokens 4 --position 3\n{body}")
    assert found.ok
    effect = shell.names["e"]
    expected = moe.routing_effect(STORY, ban=[(1, 0), (3, 2)], force=[(5, 1)], tokens=4, position=3)
    assert effect == expected
    raw = shell("%%llama route --top-k 2 --raw --tokens 0\nA {{ who }}").value
    assert raw.context.endswith("{{ who }}")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--ban 3.2", "L3 E2 forbidden"),
        ("--ban 3.2 --ban '5.1, L1 E0'", "L3 E2, L5 E1, L1 E0 forbidden"),
        ("--force=1.4", "L1 E4 forced"),
        ("--drop-shared", "L1 shared expert, L3 shared expert, L5 shared expert off"),
        ("--drop-shared all", "L1 shared expert, L3 shared expert, L5 shared expert off"),
        ("--drop-shared 3", "L3 shared expert off"),
        ("--drop-shared 3,5", "L3 shared expert, L5 shared expert off"),
        ("--drop-shared [1,5]", "L1 shared expert, L5 shared expert off"),
        ("--top-k 2", "top-2 of 8"),
        ("0.attn 3.E4 --top-k 2", "L0 attention off; L3 E4 forbidden; top-2 of 8"),
        ("--drop-shared --top-k 2", "L1 shared expert, L3 shared expert, L5 shared expert off; top-2 of 8"),
    ],
)
def test_what_is_named_is_changed(shell, moe, monkeypatch, options, said):
    def changes(_self, text, *parts, **given):
        asked = {name: given[name] for name in ("ban", "force", "drop_shared", "top_k")}
        with moe.route(*parts, **asked) as changes:
            return text, names(changes)

    monkeypatch.setattr(type(moe), "routing_effect", changes)
    assert shell(f"%%llama route {options}\n{STORY}").value == (STORY, said)


def test_on_a_line_it_is_the_last_reply(shell, moe):
    reply = moe.chat("Hello", chat="other", temperature=0, max_tokens=4)
    effect = shell("%llama route --drop-shared --tokens 4").value
    assert effect.title == "reply in chat other"
    assert effect.text_before == reply.text
    assert shell("%llama route --top-k 2 --chat other --tokens 4").value.title == "reply in chat other"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%llama route", "Nothing is named that could be changed"),
        ("%llama route --ban 3.2", "There is no reply yet"),
        ("%%llama route --ban 3\nOnce", "--ban is '3'"),
        ("%%llama route --force 3.x\nOnce", "--force is '3.x'"),
        ("%%llama route --ban\nOnce", "--ban needs a value: --ban L.E"),
        ("%%llama route --ban 2.0\nOnce", "Layer 2 of routed is no MoE layer"),
        ("%%llama route --ban 3.8\nOnce", "routed has no expert 8 in layer 3: a layer has 8"),
        ("%%llama route --force 3.1,3.2\nOnce", "2 experts of layer 3 are forced"),
        ("%%llama route --ban 3.1 --force 3.1\nOnce", "L3 E1 is forbidden and forced"),
        ("%%llama route --drop-shared most\nOnce", "--drop-shared is 'most'"),
        ("%%llama route --drop-shared []\nOnce", "--drop-shared is '[]'"),
        ("%%llama route --drop-shared 2\nOnce", "Layer 2 of routed is no MoE layer"),
        ("%%llama route --top-k 9\nOnce", "top_k is 9: a layer of routed has 8 experts"),
        ("%%llama route --top-k 0\nOnce", "top_k is 0"),
        ("%%llama route --top-k two\nOnce", "invalid int value: 'two'"),
        ("%%llama route --topk 2\nOnce", "has no option '--topk'"),
        ("%%llama route 3.gate\nOnce", "'3.gate' names no part of a model"),
        ("%%llama route --top-k 2\n  \n", "There is no text"),
    ],
)
def test_what_cannot_be_done_is_named(shell, moe, line, message):
    cell = shell(line)
    assert isinstance(cell.error, LlamaError)
    assert message in cell.error.message


def test_a_dense_model_says_what_to_load(shell, moe):
    made = llama.load("cria", name="dense")
    try:
        cell = shell("%%llama route --ban 3.2\nOnce")
        assert "dense has no experts" in cell.error.message
        assert "%llama load cria-moe" in cell.error.hint
    finally:
        made.unload(force=True)
        llama.use("routed")


def test_in_a_block_of_python_the_verbs_ask_with_the_changes(shell, moe):
    shell(
        "import llama_nb\n"
        "with llama_nb.current().route(ban=[(3, 2)]):\n"
        "    %llama chat --chat inside --temperature 0 --max-tokens 4 Hello\n"
        "%llama chat --chat outside --temperature 0 --max-tokens 4 Hello"
    )
    inside, outside = (moe.chats[name].reply(moe.chats[name].head) for name in ("inside", "outside"))
    assert inside.notes == ["While this was written: L3 E2 forbidden."]
    assert outside.notes == []
