"""The model that travels with the package is what its card says, and does what the gates ask."""

import json

import pytest
import torch
from safetensors import safe_open

from llama_nb import bundled
from tools import evaluate_cria
from tools.cria.judging import SKILLS
from tools.cria.rendering import SPECIAL, TEMPLATE

FOLDER = bundled.folder("cria")
SAMPLE = 20


@pytest.fixture(scope="module")
def cria():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield evaluate_cria.load(FOLDER)
    torch.set_num_threads(before)


def test_names_and_folders():
    assert "cria" in bundled.names()
    with pytest.raises(KeyError, match="bundled: "):
        bundled.folder("alpaca")


def test_weights_are_small_and_in_half_precision():
    assert (FOLDER / "model.safetensors").stat().st_size <= 8_000_000
    with safe_open(FOLDER / "model.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no dict)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    assert 2_500_000 <= sum(tensor.numel() for tensor in tensors.values()) <= 4_000_000


def test_config_and_tokenizer_belong_together(cria):
    model, tokenizer = cria
    config = json.loads((FOLDER / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["num_key_value_heads"] < config["num_attention_heads"]
    assert config["max_position_embeddings"] >= 1024
    assert len(tokenizer) == config["vocab_size"] == model.get_input_embeddings().weight.shape[0]
    assert [tokenizer.convert_ids_to_tokens(i) for i in model.generation_config.eos_token_id] == [
        "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>",
    ]  # fmt: skip
    assert all(mark in tokenizer.all_special_tokens or mark in tokenizer.get_vocab() for mark in SPECIAL)
    assert (FOLDER / "chat_template.jinja").read_text() == TEMPLATE.read_text()


def test_the_card_holds_the_measured_table():
    card = (FOLDER / "README.md").read_text()
    result = json.loads((FOLDER / "evaluation.json").read_text())
    assert evaluate_cria.table(result) in card
    assert evaluate_cria.passes(result)
    assert set(result["skills"]) == {skill.name for skill in SKILLS}
    assert "2,755,008" in card
    assert "no model of Meta's" in card


@pytest.mark.parametrize("skill", SKILLS, ids=[skill.name for skill in SKILLS])
def test_a_sample_of_each_skill(cria, skill):
    figures = evaluate_cria.measure(*cria, skill, seed=11, count=SAMPLE)
    # Twenty prompts scatter: two more than the gate allows may fail before this says anything.
    allowed = (1 - (skill.gate or 0.8)) * SAMPLE + 2
    assert SAMPLE - figures["correct"] <= allowed, figures


def test_an_induction_head_exists(cria):
    assert evaluate_cria.induction(cria[0], 11)["score"] >= evaluate_cria.INDUCTION_GATE
