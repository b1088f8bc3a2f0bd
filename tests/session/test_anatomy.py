"""The anatomy as a value: sums that are the model's, figures that outlive it, refusals with a way on."""

import json

import numpy as np
import pytest
import torch

import llama_nb as llama
from llama_nb.core.errors import ContextOverflow, MessageError, Stopped, UnsupportedError
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag
from llama_nb.session.anatomy_view import BARS, detail_record
from llama_nb.session.model import Model
from tests.session.fakes import FakeEngine

TEXT = "Once upon a time there was a llama who lived on a hill."


@pytest.fixture(scope="module")
def cria():
    model = llama.load("cria", name="cria for its anatomy")
    yield model
    model.unload()


@pytest.fixture(scope="module")
def read(cria: Model):
    return cria.anatomy(TEXT)


def test_the_sum_of_the_parts_is_the_model(cria: Model, stories260k):
    stories = llama.load(str(stories260k), name="stories for its anatomy")
    for model in (cria, stories):
        found = model.anatomy()
        frame = found.to_frame()
        assert frame["parameters"].sum() == found.parameters == model.parameters
        assert frame["bytes"].sum() == found.bytes == model.bytes
        record = found.to_record()
        assert sum(parameters for _, parameters, _ in record["parts"]) == model.parameters
        assert sum(size for *_, size in record["parts"]) == model.bytes
    stories.unload()


def test_each_tensor_has_a_row(cria: Model):
    frame = cria.anatomy().to_frame()
    parameters = dict(cria.loaded.module.named_parameters())
    assert len(frame[frame["parameters"] > 0]) == len(parameters)
    row = frame[(frame["layer"] == 4) & (frame["tensor"] == "gate_proj.weight")].iloc[0]
    assert (row["block"], row["shape"], row["dtype"], row["bytes"]) == (
        "mlp",
        (512, 192),
        "float32",
        512 * 192 * 4,
    )
    assert frame[frame["layer"].isna()]["block"].tolist()[0] == "model.embed_tokens"


def test_grouped_queries_and_their_cache(cria: Model):
    found = cria.anatomy()
    assert [found.kv_head(head) for head in range(6)] == [0, 0, 0, 1, 1, 1]
    assert found.kv_bytes_per_token() == 2 * 6 * 2 * 32 * 4
    assert found.kv_bytes_per_token(grouped=False) == 3 * found.kv_bytes_per_token()
    with pytest.raises(MessageError, match=r"no head 6.*heads 0 to 5"):
        found.kv_head(6)
    with pytest.raises(MessageError, match=r"no layer 6.*layers 0 to 5"):
        found.attention(6)


def test_angles_by_position(cria: Model):
    angles = cria.anatomy().angles([0, 1, 100])
    assert angles.shape == (3, 16)
    assert angles[0].tolist() == [0.0] * 16
    assert angles[1] == pytest.approx([10_000 ** (-2 * pair / 32) for pair in range(16)], rel=1e-6)
    assert angles[2] == pytest.approx(100 * angles[1])


def test_statistics_by_layer_are_those_of_the_states(cria: Model, read):
    frame = read.statistics().set_index(["place", "layer"])
    ids = torch.tensor([cria.engine.prompt(Request(TEXT)).ids])
    with torch.inference_mode():
        states = cria.loaded.module(input_ids=ids, output_hidden_states=True).hidden_states
    for layer in range(5):
        behind = states[layer + 1].numpy().astype(np.float64)
        row = frame.loc[("residual", layer)]
        assert row["mean"] == pytest.approx(behind.mean(), rel=1e-4, abs=1e-6)
        assert row["std"] == pytest.approx(behind.std(), rel=1e-5)
        assert row["max_abs"] == pytest.approx(np.abs(behind).max(), rel=1e-5)
        assert row["negative"] == pytest.approx((behind < 0).mean())
    assert read.activations.tokens == ids.shape[1]
    assert len(frame.loc["mlp.gate_proj"]) == 6


@pytest.mark.parametrize(
    ("norm", "layer"), [("input_layernorm", 2), ("post_attention_layernorm", 5), ("norm", 0)]
)
def test_a_norm_is_what_the_model_computes(cria: Model, read, norm: str, layer: int):
    before, weight, behind = read.normed(norm, layer, token=-1)
    module = cria.loaded.module.model
    part = module.norm if norm == "norm" else getattr(module.layers[layer], norm)
    with torch.inference_mode():
        expected = part(torch.tensor(before))
    assert behind == pytest.approx(expected.numpy(), rel=1e-5, abs=1e-6)
    assert weight == pytest.approx(part.weight.numpy())


def test_it_outlives_the_model(stories260k):
    model = llama.load(str(stories260k), name="stories to be unloaded")
    found = model.anatomy("Once upon a time")
    model.unload()
    assert found.to_frame()["parameters"].sum() == found.parameters
    assert found.normed("input_layernorm", 1)[1].any()
    assert "Anatomy of stories to be unloaded" in found._repr_mimebundle_()["text/plain"]
    assert detail_record(found, 0, "norm", 0)["gates"]["counts"]


def test_replies_and_chats_are_read_as_they_stood(cria: Model):
    reply = cria.chat("Tell me a story.", chat="for anatomy", max_tokens=5, temperature=0)
    found = cria.anatomy(reply)
    assert found.measured.title == "reply in chat for anatomy"
    assert found.measured.texts == cria.anatomy(chat="for anatomy").measured.texts
    assert found.activations.tokens == len(found.measured.texts)


def test_what_is_turned_off_is_off_while_it_reads(cria: Model):
    with cria.ablate(mlps=[2]):
        found = cria.anatomy(TEXT)
    rms = found.statistics().set_index(["place", "layer"])["rms"]
    assert rms[("mlp", 2)] == 0.0
    assert rms[("mlp", 3)] > 0.0
    assert "L2" in found.measured.off
    assert "L2" in found._repr_mimebundle_()["text/plain"]
    assert cria.anatomy(TEXT).measured.off == ""


def test_the_record_is_json_also_where_figures_are_none(stories260k):
    model = llama.load(str(stories260k), name="stories with a hole")
    with torch.no_grad():
        model.loaded.module.model.layers[1].mlp.up_proj.weight[0, 0] = torch.nan
    found = model.anatomy("Once upon a time")
    record = json.loads(json.dumps(found.to_record(), allow_nan=False))
    site = next(site for site in record["measured"]["sites"] if site["place"] == "mlp.up_proj")
    assert site["rows"][1][:4] == [None] * 4
    assert None not in site["rows"][0]
    json.dumps(detail_record(found, 3, "input_layernorm", 0), allow_nan=False)
    found._repr_mimebundle_()
    model.unload()


def test_tokens_are_cleaned_before_a_page_gets_them(cria: Model):
    found = cria.anatomy("a\u202eb \x1b[31m<b>")
    shown = "".join(text for _, text, _ in found.to_record()["measured"]["positions"])
    assert "\u202e" not in shown
    assert "\x1b" not in shown
    assert "<b>" in shown


def test_a_page_gets_no_more_bars_than_it_can_show(read):
    record = detail_record(read, 1, "input_layernorm", read.activations.tokens - 1)
    assert len(record["channels"]) == min(BARS, 192) == len(record["behind"])
    sizes = [abs(row[1]) for row in record["largest"]]
    assert sizes == sorted(sizes, reverse=True)
    gates = record["gates"]
    assert sum(gates["counts"]) + gates["below"] + gates["above"] == 512 * read.activations.tokens


def test_what_cannot_be_read_is_refused(cria: Model, read, monkeypatch):
    with pytest.raises(MessageError, match="no text"):
        cria.anatomy("  ")
    with pytest.raises(ContextOverflow, match="1,024"):
        cria.anatomy("llama " * 2000)
    with pytest.raises(MessageError, match="No text was read"):
        cria.anatomy().statistics()
    with pytest.raises(MessageError, match=r"no norm 'input_layernrm'") as caught:
        read.normed("input_layernrm")
    assert "input_layernorm" in str(caught.value.hint)
    with pytest.raises(MessageError, match="not kept"):
        read.normed("norm", token=10**6)
    stop = StopFlag()
    stop.set("stopped")
    with pytest.raises(Stopped):
        cria.anatomy(TEXT, stop=stop)
    monkeypatch.setattr(Model, "engine", FakeEngine())
    with pytest.raises(UnsupportedError, match="anatomy needs the weights"):
        cria.anatomy()
