"""The bundled mixture of experts through every verb that looks at a model, from loading to unloading.

What it says is not the matter here: it decodes exactly, and whatever asks it gets sound answers.
"""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import llama_nb as llama
from llama_nb.bundled import folder as bundled_folder
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.engines.kv_cache import CacheEntry
from llama_nb.loading.check import check
from llama_nb.loading.convert import convert
from llama_nb.session.model import Model

GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 32}
TEXT = "Once upon a time there was a fox who lived in a green valley by the sea."
QUESTIONS = ["What is a token?", "Tell me a story about a fox.", "What is 2 + 3?", "Hello!"]


@pytest.fixture(scope="module")
def loaded() -> Iterator[Model]:
    m = llama.load("cria-moe", name="cria-moe for its verbs")
    yield m
    m.unload(force=True)


@pytest.fixture
def m(loaded: Model) -> Model:
    loaded.chats.clear("main")
    return loaded


def module_of(m: Model) -> Any:
    return m.loaded.module


@torch.inference_mode()
def whole(m: Model, ids: Any) -> Any:
    """Logits behind each token, computed at once and without a cache, (T, V)."""
    return module_of(m)(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0].numpy()


def test_it_is_a_mixture_with_dense_layers_between(m: Model) -> None:
    config = module_of(m).config
    assert config.model_type == m.checked.model_type == "llama4_text"
    assert repr(m).startswith("cria-moe for its verbs: Llama 4 with ")
    assert (m.dtype, m.context) == ("float32", config.max_position_embeddings)
    assert set(config.moe_layers) < set(range(config.num_hidden_layers))
    assert 0 in config.no_rope_layers
    assert sum(file.stat().st_size for file in bundled_folder("cria-moe").glob("*.safetensors")) <= 12e6
    for layer, block in enumerate(module_of(m).model.layers):
        assert hasattr(block.feed_forward, "router") == (layer in config.moe_layers)


def test_the_plan_is_of_this_model(m: Model) -> None:
    plan = llama.plan("cria-moe")
    assert plan.weights_bytes == pytest.approx(m.bytes, rel=1e-3)
    assert "experts" in "".join(plan.notes)
    checked = check(bundled_folder("cria-moe"))
    assert checked.fingerprint == m.fingerprint
    assert 0.3 < checked.experts / checked.parameters < 0.9


def test_logits_are_the_same_however_the_text_was_cached(m: Model) -> None:
    engine: Any = m.engine
    ids = engine.prompt(Request(TEXT * 30)).ids[: m.context - 1]
    expected = whole(m, ids)
    for size in (1, 100, 512):
        entry = CacheEntry(module_of(m).config, 0, m.context)
        for start in range(0, 300 if size == 1 else len(ids), size):
            logits = engine._forward(ids[start : start + size], entry)
            np.testing.assert_allclose(logits, expected[len(entry.ids) - 1], atol=1e-4)


def test_greedy_cached_stopped_and_continued_tokens_are_those_of_the_whole(m: Model) -> None:
    engine: Any = m.engine
    prompt = tuple(engine.prompt(Request([Message("user", QUESTIONS[1])])).ids)
    request = Request(prompt, Sampling(temperature=0, max_tokens=24), cache_key="exact")
    tokens = [event.id for event in engine.stream(request, StopFlag()) if event.id is not None]
    logits = whole(m, (*prompt, *tokens))[len(prompt) - 1 : -1]
    assert logits.argmax(1).tolist() == tokens
    for place in (1, 9, len(tokens) - 1):
        begun = dataclasses.replace(request, begun=tuple(tokens[:place]))
        rest = [event.id for event in engine.stream(begun, StopFlag()) if event.id is not None]
        assert rest == tokens[place:]


def test_a_chat_goes_on_from_its_cache_and_from_a_branch(m: Model) -> None:
    first = m.chat(QUESTIONS[0], **GREEDY)
    second = m.chat("And in one word?", **GREEDY)
    assert second.usage is not None
    assert second.usage.cached_tokens > 10
    past = [Message("user", QUESTIONS[0]), Message("assistant", first.text)]
    assert m.chat([*past, Message("user", "And in one word?")], **GREEDY).text == second.text
    m.chats.clear("main")
    story = m.chat(QUESTIONS[1], **GREEDY)
    branch = m.branch(position=4, token=story.tokens[4].text)
    assert branch.text == story.text
    assert m.edit(QUESTIONS[2], **GREEDY).text
    cut = m.retry(max_tokens=6)
    assert m.go_on(max_tokens=26).text.startswith(cut.text)


def test_a_seed_says_the_same_again(m: Model) -> None:
    drawn = m.chat(QUESTIONS[1], temperature=1, max_tokens=24, seed=4)
    assert drawn.rerun().text == drawn.text
    shown = m.distribution(drawn, position=3)
    assert shown.before.shape == (module_of(m).config.vocab_size,)
    assert f"{len(drawn.tokens)} tokens by probability" in drawn.why()._repr_mimebundle_()["text/plain"]


def test_rows_side_by_side_are_the_same_alone(m: Model) -> None:
    found = m.batch(QUESTIONS, **GREEDY)
    for question, row in zip(QUESTIONS, found.rows, strict=True):
        assert row.reply == m.chat([Message("user", question)], **GREEDY).text


def test_objects_are_of_their_schema(m: Model) -> None:
    assert m.json(QUESTIONS[2], choice=["five", "six"], **GREEDY).text in ("five", "six")


def test_it_is_compared_with_its_sister(m: Model) -> None:
    both = llama.compare(QUESTIONS[0], [m.name, "cria"], **GREEDY)
    assert [bool(cell.reply and cell.reply.text) for cell in both.cells] == [True, True]


def test_attention_heads_and_the_lens_are_its_own(m: Model) -> None:
    config = module_of(m).config
    trace = m.attention(TEXT)
    assert trace.layers == tuple(range(config.num_hidden_layers))
    with torch.inference_mode():
        reference = module_of(m).model
        before = reference.config._attn_implementation
        reference.config._attn_implementation = "eager"
        try:
            maps = reference(torch.tensor([list(trace.ids)]), output_attentions=True).attentions
        finally:
            reference.config._attn_implementation = before
    for layer in trace.layers:
        for head in range(config.num_attention_heads):
            np.testing.assert_allclose(trace.matrix(layer, head), maps[layer][0, head].numpy(), atol=1e-5)
    assert len(m.heads(text=TEXT).to_frame()) >= len(trace.layers) * trace.heads
    lens = m.lens(TEXT)
    logits = torch.from_numpy(whole(m, trace.ids))
    last = lens.layers[-1]
    for position in lens.positions:
        said = lens.top(last, position)[0]
        assert said.id == int(logits[position].argmax())
        assert said.probability == pytest.approx(float(logits[position].softmax(0).max()), abs=1e-4)


def test_parts_can_be_turned_off_and_patched(m: Model) -> None:
    plain = m.chat([Message("user", QUESTIONS[1])], **GREEDY).text
    for parts in (("1.mlp",), ("3.2",), ("3.attn", "0.mlp"), ("5",)):
        with m.ablate(*parts):
            changed = m.chat([Message("user", QUESTIONS[1])], **GREEDY)
        assert any("off" in note for note in changed.notes)
    assert m.chat([Message("user", QUESTIONS[1])], **GREEDY).text == plain
    effect = m.ablation(TEXT, "1.mlp")
    assert effect.kl > 0
    found = m.patch("The fox saw a cat", "The fox saw a dog", 300, 301, site="mlp")
    assert np.isfinite(found.values).all()


def test_its_anatomy_adds_up(m: Model) -> None:
    found = m.anatomy(TEXT)
    frame = found.to_frame()
    assert frame["parameters"].sum() == m.parameters
    assert frame["bytes"].sum() == m.bytes
    text = found._repr_mimebundle_()["text/plain"]
    config = module_of(m).config
    assert f"Mixture of experts ({config.num_experts_per_tok} of {config.num_local_experts} ×" in text
    for name in ("router", "experts.gate_up_proj", "experts.down_proj", "shared_expert.gate_proj", "no RoPE"):
        assert name in text


def test_embeddings_are_means_of_the_last_hidden_states(m: Model) -> None:
    found = m.embed([TEXT, "A fox."], normalise=False)
    ids = m.engine.prompt(Request("A fox.")).ids
    with torch.inference_mode():
        states = module_of(m).model(torch.tensor([list(ids)])).last_hidden_state[0]
    np.testing.assert_allclose(found[1], states.mean(0).numpy(), atol=1e-5)


def test_quantised_it_still_routes_and_says_what_stayed(m: Model) -> None:
    report = llama.compare_quantisations(TEXT, m, ["int8", "int8-quanto"], continuation=4)
    for row in report.rows[1:]:
        assert row.quality.mean_kl < 0.5
        assert "The experts," in row.notes[0]
        assert row.bytes < report.rows[0].bytes


def test_pickles_of_it_are_converted(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = tmp_path / "pickled"
    shutil.copytree(bundled_folder("cria-moe"), folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    convert(folder)
    assert check(folder).experts == check(bundled_folder("cria-moe")).experts


def test_its_replies_are_played_back(m: Model, tmp_path: Path) -> None:
    file = tmp_path / "lesson.replies.jsonl"
    with llama.record(file):
        said = m.chat(QUESTIONS[0], **GREEDY)
    played = llama.load("cria-moe", replay=file, name="played")
    assert played.chat(QUESTIONS[0], **GREEDY).text == said.text
    played.unload()


def test_unloading_gives_the_memory_back() -> None:
    other = llama.load("cria-moe", name="cria-moe to unload")
    module, size = module_of(other), other.bytes
    assert other.unload() >= size
    assert sum(each.numel() for each in module.parameters()) == 0
