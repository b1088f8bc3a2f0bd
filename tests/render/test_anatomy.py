"""The twins of an anatomy: every block with its shapes and sums, hostile names as text."""

import pytest

from llama_nb.render.anatomy import bundle, depth_rows
from llama_nb.render.anatomy_words import Sizes, layers_text, shape_text, words
from tests.render.html_reader import read

HOSTILE = "<img src=x onerror=alert(1)><script>alert(1)</script>"


def block(name: str, group: int | None, kind: str, title: str, *, tied: bool = False) -> dict:
    tensors = [["q_proj.weight", "64 × 32", 2048, 8192, "float32", tied]]
    said = {"title": title, "summary": "6 heads", "about": "", "formula": [["q = W_q x̂", "T × 64"]]}
    figures = {"parameters": 2048, "bytes": 8192, "tied": tied, "tensors": tensors}
    return {"id": name, "name": name, "group": group, "kind": kind, "adds": True, **said, **figures}


def record(**changes: object) -> dict:
    model = {"model": "tiny", "architecture": "LlamaForCausalLM", "dtype": "float32", "quant": "", "depth": 3}
    attention = block("self_attn", 0, "attention", "Attention")
    return {
        **model,
        "parameters": 12_345,
        "bytes": 49_380,
        "parts": [["attention", 6144, 24_576], ["head", 0, 0]],
        "groups": [{"layers": [0, 1, 2], "text": "0–2"}],
        "blocks": [attention, block("lm_head", None, "head", "Head", tied=True)],
        "cache": {"token": 128, "ungrouped": 512},
        "measured": None,
        **changes,
    }


def measured() -> dict:
    rows = [[0.0, 1.0, 1.23456, 4.0, 0.0, 0.5]] * 3
    sites = [
        {"place": "self_attn", "symbol": "y", "rows": rows},
        {"place": "mlp.gate_proj", "symbol": "g", "rows": [*rows[:2], None]},
    ]
    residual = {"first": [1.0, 2.0, 3.0, 4.0], "others": [1.5, 234.56, None, 1e7]}
    return {"title": f"reply {HOSTILE}", "tokens": 7, "off": "", "sites": sites, "residual": residual}


def test_the_text_names_every_block_with_its_shapes_and_folds_layers():
    text = bundle(record(), watched=True)["text/plain"]
    assert (
        text.splitlines()[0]
        == "Anatomy of tiny: LlamaForCausalLM, 3 layers, 12,345 parameters, 49.4 kB in float32"
    )
    assert "3 × (layers 0–2), each:" in text
    assert "  Attention (6 heads)" in text
    assert "64 × 32" in text
    assert "tied" in text
    assert "KV cache: 128 B a token; without grouped queries it would be 512 B, 4 times as much." in text


def test_the_page_has_the_same_and_formulas_as_titles():
    html = bundle(record(), watched=True)["text/html"]
    shown = read(html)
    assert shown.faults == []
    assert "Attention 6 heads" in shown.text
    assert "q = W_q x̂   T × 64" in html


def test_statistics_stand_layer_by_layer_with_what_is_missing_left_out():
    assert depth_rows(record(measured=measured()))[2] == [1e7, 1.23456, None, None]
    text = bundle(record(measured=measured()), watched=True)["text/plain"]
    assert "Activations on 7 tokens of the reply" in text
    assert "235" in text
    assert "50 %" in text
    unwatched = bundle(record(measured=measured()), watched=False)["text/plain"]
    assert "230" in unwatched
    assert "1.2 " in unwatched
    assert "1.23" not in unwatched


def test_many_layers_are_cut_with_their_number():
    long = measured()
    long["residual"]["others"] = [1.0] * 301
    for site in long["sites"]:
        site["rows"] = [None] * 300
    text = bundle(record(depth=300, measured=long), watched=True)["text/plain"]
    assert "… 100 more" in text


def test_hostile_names_are_text():
    made = bundle(record(model=HOSTILE, measured=measured()), watched=True)
    assert read(made["text/html"]).faults == []
    assert "<img" not in made["text/html"]
    assert "<script" not in made["text/html"]
    assert "onerror" in made["text/plain"]


LOCAL = {"reach": "chunked", "window": 8192, "rope": False}
SIGMOID = {"shared": True, "router": "sigmoid", "activation": "silu"}
FACTS = {
    "embedding": {},
    "rope": {},
    "norm": {"eps": 1e-5},
    "attention": {"heads": 32, "kv_heads": 8, "head_dim": 64, **LOCAL},
    "feed-forward": {"activation": "silu"},
    "experts": {"experts": 16, "per_token": 1, "width": 8192, **SIGMOID},
    "head": {},
    "other": {},
}


@pytest.mark.parametrize("kind", FACTS)
def test_every_kind_of_block_has_words(kind: str):
    said = words(kind, FACTS[kind], {"gate_proj.weight": (128, 32)}, Sizes(32, 100, 8, 1e4), tied=False)
    assert said.title
    assert said.about.endswith(".")
    assert bool(said.formula) == (kind != "other")


def test_words_have_the_numbers_of_this_model():
    attention = words("attention", FACTS["attention"], {}, Sizes(2048, 100), tied=False)
    assert attention.summary == "32 heads, 8 kv × 64, no RoPE"
    assert "4 query heads share" in attention.about
    assert "chunk of 8,192" in attention.about
    assert "NoPE" in attention.about
    assert ("A = softmax(q kᵀ / √64 + mask)", "32 heads × T × T") in attention.formula
    assert not any("RoPE" in line for line, _ in attention.formula)
    experts = words("experts", FACTS["experts"], {}, Sizes(2048, 100), tied=False)
    assert experts.summary == "1 of 16 × 8,192"
    assert "σ(r)" in experts.formula[1][0]
    assert "SwiGLU_shared" in experts.formula[2][0]
    gelu = words(
        "feed-forward", {"activation": "gelu"}, {"gate_proj.weight": (4, 2)}, Sizes(2, 9), tied=False
    )
    assert gelu.title == "Gated feed-forward"
    assert not any("silu" in line for line, _ in gelu.formula)


def test_ranges_and_shapes():
    assert layers_text([0, 1, 2, 4, 5, 7]) == "0–2, 4–5, 7"
    assert layers_text([3]) == "3"
    assert shape_text((128_256, 4096)) == "128,256 × 4,096"
