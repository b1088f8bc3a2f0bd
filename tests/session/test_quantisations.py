"""`compare_quantisations` on trained models: its figures against direct computations, and how it ends."""

import pytest
import torch

from llama_nb.core.errors import LoadError, MessageError, Stopped
from llama_nb.core.events import Progress, subscribe
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.loading.open import load_checked
from llama_nb.loading.weights import release
from llama_nb.session import registry
from llama_nb.session.quantisations import compare_quantisations

STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. It was very high in the sky. Lily wanted to play with the ball."
)
LESSON = (
    "A tokenizer cuts text into tokens. A token is a piece of text. Attention weighs earlier tokens. " * 2
)


@pytest.fixture
def stories(stories260k):
    torch.set_num_threads(1)
    model = registry.load(stories260k, device="cpu")
    yield model
    model.unload(force=True)


def test_the_figures_are_those_of_a_direct_computation(stories, stories260k):
    report = compare_quantisations(STORY, stories, ["nf4", "int8"])
    assert [row.method for row in report.rows] == ["float32", "nf4", "int8"]
    ids = stories.engine.prompt(Request(STORY)).ids
    assert report.tokens == len(ids)
    loaded = load_checked(stories260k, quant="nf4", device="cpu")
    inputs = torch.tensor([ids])
    with torch.inference_mode():
        ours = torch.log_softmax(loaded.module(inputs).logits[0, :-1].double(), -1)
        theirs = torch.log_softmax(stories.loaded.module(inputs).logits[0, :-1].double(), -1)
    likelihood = ours.gather(1, inputs[0, 1:, None]).mean()
    nf4 = report.rows[1]
    assert nf4.quality.perplexity == pytest.approx(float(torch.exp(-likelihood)), rel=1e-3)
    assert nf4.quality.mean_kl == pytest.approx(
        float((theirs.exp() * (theirs - ours)).sum(1).mean()), rel=1e-2
    )
    same = (ours.argmax(1) == theirs.argmax(1)).double().mean()
    assert nf4.quality.agreement == pytest.approx(float(same))
    assert nf4.bytes == loaded.bytes < report.rows[0].bytes
    release(loaded)


def test_eight_bits_lose_less_than_four(stories):
    frame = compare_quantisations(STORY, stories, ["bfloat16", "nf4", "int8"]).to_frame()
    assert list(frame.index) == ["float32", "bfloat16", "nf4", "int8"]
    assert frame.loc["float32", "mean_kl"] == 0
    assert frame.loc["float32", "agreement"] == 1
    assert 0 < frame.loc["bfloat16", "mean_kl"] < frame.loc["int8", "mean_kl"] < frame.loc["nf4", "mean_kl"]
    assert frame.loc["nf4", "bytes"] < frame.loc["int8", "bytes"] < frame.loc["float32", "bytes"]
    # The frequencies of the rotary embedding stay in float32.
    assert frame.loc["bfloat16", "bytes"] * 2 == pytest.approx(frame.loc["float32", "bytes"], rel=1e-3)
    assert (frame["tokens_per_s"] > 0).all()


def test_where_greedy_decoding_parts_is_found_by_decoding(stories):
    report = compare_quantisations(STORY, stories, ["nf4"], continuation=40)
    (nf4,) = report.rows[1:]
    assert nf4.difference is not None, "nf4 changes what stories260K writes"
    ids = stories.engine.prompt(Request(STORY)).ids[: report.start]
    request = Request(ids, Sampling(temperature=0, max_tokens=40))
    written = [event.id for event in stories.engine.stream(request, StopFlag())]
    rest = "".join(stories.engine.token_texts(written[nf4.difference.place :]))
    assert rest.startswith(nf4.difference.reference)
    assert nf4.difference.text != nf4.difference.reference
    assert 0 <= nf4.difference.place < 40


def test_each_quantised_matrix_has_its_error(stories):
    layers = compare_quantisations(STORY, stories, ["nf4", "int8"]).layers()
    names = {"self_attn.q_proj", "mlp.gate_proj"}
    assert names <= set(layers["name"])
    assert set(layers["layer"]) == set(range(5))
    means = layers.groupby("method")["error"].mean()
    assert 0.05 < means["nf4"] < 0.15, "QLoRA's nf4 leaves about 9 % of a normal matrix's norm"
    assert 0.001 < means["int8"] < 0.02
    assert (layers["largest"] > 2).all()


def test_a_model_with_a_chat_template_and_a_longer_text():
    model = registry.load("cria", device="cpu", name="measured")
    try:
        report = compare_quantisations(LESSON, model, ["int8"], tokens=24)
        assert report.tokens == 24
        assert report.rows[1].quality.agreement > 0.7
        again = compare_quantisations(LESSON, model, ["int8"], tokens=24)
        assert again.rows[1].quality == report.rows[1].quality
    finally:
        model.unload(force=True)


def test_the_reference_of_a_quantised_model_is_loaded_beside_it(stories260k):
    model = registry.load(stories260k, device="cpu", quant="nf4", name="small")
    try:
        report = compare_quantisations(STORY, model, ["nf4"])
        assert [row.method for row in report.rows] == ["bfloat16", "nf4"]
        assert report.rows[1].quality.mean_kl > 0
        assert model.alive
        assert registry.loaded() == {"small": model}
    finally:
        model.unload(force=True)


def test_nothing_stays_loaded_and_the_model_still_answers(stories):
    before = stories.complete("Once", temperature=0, max_tokens=8).text
    compare_quantisations(STORY, stories, ["nf4"])
    assert registry.loaded() == {stories.name: stories}
    assert stories.complete("Once", temperature=0, max_tokens=8).text == before


def test_what_cannot_run_here_is_a_row_with_its_reason(stories):
    report = compare_quantisations(STORY, stories)
    refused = dict(report.refused)
    assert "int4-torchao" in refused
    assert "cpu" in refused["int4-torchao"].lower()
    measured = {row.method for row in report.rows}
    assert {"bfloat16", "nf4", "int8", "int8-quanto"} <= measured
    assert measured.isdisjoint(refused)
    assert "was not measured" in report._repr_mimebundle_()["text/plain"]


def test_bad_input(stories):
    with pytest.raises(MessageError, match="tokens, too few"):
        compare_quantisations("a", stories)
    with pytest.raises(LoadError, match="nf5"):
        compare_quantisations(STORY, stories, ["nf5"])


def test_a_stop_keeps_what_was_measured(stories):
    flag = StopFlag()

    def stop_at_the_second(event):
        if isinstance(event, Progress) and event.done == 1:
            flag.set("enough")

    unsubscribe = subscribe(stop_at_the_second)
    try:
        report = compare_quantisations(STORY, stories, ["nf4", "int8", "fp4"], stop=flag)
    finally:
        unsubscribe()
    assert report.stopped
    assert [row.method for row in report.rows] == ["float32", "nf4"]
    assert "Stopped" in report._repr_mimebundle_()["text/plain"]


def test_a_stop_before_anything_is_measured_is_an_error(stories):
    flag = StopFlag()
    flag.set("never mind")
    with pytest.raises(Stopped):
        compare_quantisations(STORY, stories, ["nf4"], stop=flag)
    assert stories.alive
