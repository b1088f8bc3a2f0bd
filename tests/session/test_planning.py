"""`llama.plan`: every way to name a model says where its shape came from; what cannot be planned is named."""

import json

import pytest

import llama_nb
from llama_nb.catalog import catalog
from llama_nb.core.errors import CatalogError, LlamaError, LoadError, UnsupportedError
from llama_nb.planner.plan import Plan
from llama_nb.runtime.environment import Environment
from llama_nb.session.planning import plan, read_context
from tests.gguf_models import write_gguf
from tests.planner.configs import EIGHT, SCOUT


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_the_public_name():
    assert llama_nb.plan is plan


@pytest.mark.parametrize("name", ["llama-3.3-70b-instruct", "3.3 70b", "meta-llama/Llama-3.3-70B-Instruct"])
def test_a_name_of_the_catalogue(name):
    found = plan(name, gpus="2x24GB")
    assert isinstance(found, Plan)
    assert found.job.shape.parameters == 70_553_706_496
    assert found.verdict == "does not fit"
    assert "catalogue" in found.notes[0]
    assert "Llama" in found.notes[0]


def test_a_card_and_a_config():
    card = catalog.find("llama-4-scout")
    assert plan(card, gpus="H100").job.shape.experts == 16
    assert plan(SCOUT, gpus="H100").job.shape.experts == 16
    assert "config given" in plan(EIGHT, gpus="H100").notes[0]


def test_a_folder_its_config_and_the_bundled_model(stories260k):
    folder, file = plan(stories260k, here=True), plan(stories260k / "config.json", here=True)
    assert folder.weights_bytes == file.weights_bytes == 4 * folder.job.shape.parameters
    assert folder.job.dtype == "float32"
    assert "config.json" in folder.notes[0]
    cria = plan("cria", here=True)
    assert cria.verdict == "fits"
    assert cria.job.converted_from  # float16 on disk, float32 in memory


def test_a_hub_id_whose_config_alone_is_cached(cache):
    snapshot = cache / "models--someone--else" / "snapshots" / "1"
    snapshot.mkdir(parents=True)
    with pytest.raises(LoadError, match="not in the cache") as caught:
        plan("someone/else")
    assert "hf download someone/else config.json" in caught.value.hint
    (snapshot / "config.json").write_text(json.dumps(EIGHT), encoding="utf-8")
    found = plan("someone/else", gpus="H100")
    assert found.job.shape.parameters == 8_030_261_248
    assert "someone/else" in found.notes[0]


def test_a_gguf_by_its_header(tmp_path, stories260k):
    path = write_gguf(stories260k, tmp_path / "small.gguf", kind="Q8_0")
    found = plan(path, here=True)
    assert found.job.quant == "q8_0"
    assert 260_000 < found.weights_bytes < 600_000
    assert any("saves no memory" in note for note in found.notes)


@pytest.mark.parametrize(
    ("settings", "quant"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq-4bit"),
        ({"quant_method": "awq", "bits": 4}, "awq-4bit"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4"),
    ],
)
def test_a_config_that_says_how_its_weights_are_stored(settings, quant):
    found = plan({**EIGHT, "quantization_config": settings}, gpus="H100")
    assert found.job.quant == quant
    assert found.weights_bytes < 10e9


def test_contexts_in_words():
    assert read_context("128k") == 131_072
    assert read_context("8,192") == read_context(8192) == 8192
    for text in ("", "k", "-1", "8.5k", "8192 tokens"):
        with pytest.raises(LoadError, match="128k"):
            read_context(text)


@pytest.mark.parametrize(
    ("asked", "kind", "named"),
    [
        ({"model": "llama-9"}, CatalogError, "llama-9"),
        ({"model": "./nope"}, LoadError, "does not exist"),
        ({"model": ""}, LoadError, "No model given"),
        ({"model": "llama 3"}, CatalogError, "llama-3-8b"),
        ({"model": "llama-3.2-11b-vision"}, UnsupportedError, "no sourced shape"),
        ({"model": {"model_type": "mllama"}}, UnsupportedError, "mllama"),
        ({"model": "cria", "gpus": "4x"}, CatalogError, "4x"),
        ({"model": "cria", "gpus": "RTX 409O"}, CatalogError, "RTX 4090"),
        ({"model": "cria", "gpus": "H100", "here": True}, LoadError, "gpus and here"),
        ({"model": "cria", "dtype": "fp17"}, LoadError, "fp17"),
    ],
)
def test_what_cannot_be_planned_is_named(asked, kind, named):
    with pytest.raises(LlamaError) as caught:
        plan(**asked)
    assert isinstance(caught.value, kind)
    assert named in str(caught.value)


def test_where_nobody_watches_there_is_no_figure_of_the_machine(monkeypatch):
    batch = Environment("batch", watched=False, widgets=False)
    monkeypatch.setattr("llama_nb.runtime.environment.detect", lambda: batch)
    unknown = plan("cria")
    assert unknown.verdict == "unknown"
    here = plan("cria", here=True)
    assert here.verdict == "fits"
    assert here.speed.decode is None
    assert here.to_record()["device"]["memory"] is None
    assert "has" not in here.sentence
    monkeypatch.setattr("llama_nb.runtime.devices.available_memory", lambda *_: 10**18)
    again = plan("cria", here=True)
    assert again._repr_mimebundle_() == here._repr_mimebundle_()


@pytest.mark.parametrize(("asked", "dtype"), [({}, "float32"), ({"quant": "nf4"}, "bfloat16")])
def test_the_dtype_is_the_one_that_loading_chooses(asked, dtype):
    from llama_nb.loading.open import load_checked
    from llama_nb.loading.weights import release

    loaded = load_checked("cria", device="cpu", **asked)
    found = plan("cria", here=True, **asked)
    assert found.job.dtype == loaded.dtype == dtype
    assert found.weights_bytes == pytest.approx(loaded.bytes, rel=0.01)
    release(loaded)


def test_qlora_of_a_small_model_computes_in_half_precision():
    assert plan("cria", train="qlora", here=True).job.dtype == "bfloat16"
    assert plan("cria", train="lora", here=True).job.dtype == "float32"
