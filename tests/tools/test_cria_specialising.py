"""What a domain tells of an expert: in bits, on tables whose answer is known, and on a model."""

import pytest
import torch

from tools.cria import specialising
from tools.cria.specialising import DOMAINS, mutual_information, texts


def test_a_domain_with_its_own_expert_tells_all_and_one_that_uses_all_alike_tells_nothing():
    assert mutual_information(torch.eye(8)) == pytest.approx(3)
    assert mutual_information(torch.eye(8) * torch.arange(1, 9)[:, None]) == pytest.approx(3)
    assert mutual_information(torch.ones(6, 8)) == pytest.approx(0, abs=1e-6)
    halves = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]])
    assert mutual_information(halves) == pytest.approx(1)


def test_texts_of_a_domain_are_held_out_and_repeatable():
    for domain in DOMAINS:
        assert texts(domain, 3, 4) == texts(domain, 3, 4)
        assert all(text.startswith("<|begin_of_text|>") for text in texts(domain, 3, 4))
    assert "<|python_tag|>" in texts("tool calls", 3, 1)[0]


def test_every_token_is_counted_once_in_each_layer():
    from transformers import AutoTokenizer

    from llama_nb import bundled
    from tools.cria.model import build

    tokenizer = AutoTokenizer.from_pretrained(bundled.folder("cria"))
    shape = {"hidden_size": 16, "intermediate_size": 8, "intermediate_size_mlp": 8, "num_hidden_layers": 4}
    model = build("moe", tokenizer.backend_tokenizer, 1, shape).eval()
    found = specialising.counts(model, tokenizer, seed=1, conversations=2)
    assert list(found) == [1, 3]
    expected = [
        sum(len(tokenizer(text, add_special_tokens=False).input_ids) for text in texts(domain, 1, 2))
        for domain in DOMAINS
    ]
    for table in found.values():
        assert table.sum(1).tolist() == expected
    assert not any(module._forward_hooks for module in model.modules())
