"""`m.adapters.merge`, `.push` and `.look`: what comes of an adapter, and what is said of it."""

import json
import threading
from pathlib import Path

import pytest
import torch

import llama_nb as llama
from llama_nb.core.errors import AdapterError, FitError
from llama_nb.loading import hub
from llama_nb.session import merging
from llama_nb.tuning import adapter_hub
from tests.gguf_models import write_gguf
from tests.models import write_random_llama
from tests.session.adapter_models import add_adapter, drop_adapters

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def made(tmp_path_factory, stories260k):
    torch.set_num_threads(1)
    folder = write_random_llama(tmp_path_factory.mktemp("base") / "tiny", tokenizer_from=stories260k)
    model = llama.load(folder, name="tiny")
    yield model
    model.unload(force=True)


@pytest.fixture
def tiny(made):
    yield made
    drop_adapters(made)


def test_a_merged_model_answers_as_the_base_with_its_adapter(tiny, tmp_path):
    add_adapter(tiny, "persona", target="all-linear")
    tiny.adapters.use("persona")
    expected = tiny.complete("Once upon a time", temperature=0, max_tokens=20).text
    found = tiny.adapters.merge(tmp_path / "merged")
    assert (found.adapter, found.dtype) == ("persona", "float32")
    assert found.largest < 1e-4
    assert found.same == found.tokens > 30
    assert "Logits are off by" not in repr(found)  # nobody watches
    assert "agree to 0.05" in repr(found)
    merged = llama.load(found.folder, name="merged")
    assert merged.complete("Once upon a time", temperature=0, max_tokens=20).text == expected
    assert merged.fingerprint != tiny.fingerprint
    merged.unload()
    facts = json.loads((found.folder / "llama_nb.json").read_text())
    assert facts["merged"] == {"persona": 1.0}
    assert facts["base"]["fingerprint"] == tiny.fingerprint
    assert tiny.adapters.active == {"persona": 1.0}


def test_a_mix_is_merged_as_it_is(tiny, tmp_path):
    add_adapter(tiny, "a", seed=1)
    add_adapter(tiny, "b", seed=2)
    tiny.adapters.mix("a:0.7 b:0.3")
    found = tiny.adapters.merge(tmp_path / "mixed")
    assert found.adapter == "a:0.7 b:0.3"
    assert found.largest < 1e-4
    alone = tiny.adapters.merge(tmp_path / "alone", "b")
    assert alone.adapter == "b"
    assert alone.largest < 1e-4


def test_a_quantised_model_is_merged_into_its_plain_weights(tiny, tmp_path):
    add_adapter(tiny, "a")
    folder = tiny.adapters.save("a", tmp_path / "a")
    quantised = llama.load(tiny.source, quant="int8", name="small")
    quantised.adapters.load(folder)
    found = quantised.adapters.merge(tmp_path / "merged")
    quantised.unload()
    again = tiny.adapters.merge(tmp_path / "again", "a")
    assert found.largest < 1e-4
    for file in ("model.safetensors", "config.json"):
        assert (found.folder / file).read_bytes() == (again.folder / file).read_bytes()


def test_a_merge_during_a_training_is_of_one_moment(tiny, tmp_path):
    add_adapter(tiny, "persona")
    adapters, over = tiny.adapter_set(), threading.Event()

    def work(module, stopped, serve):
        with adapters.training("persona"):
            while not over.is_set() and stopped() is None:
                with torch.no_grad():
                    for value in adapters.weights("persona").values():
                        value.add_(0.01)
                serve(adapters.as_chats_see, 0.01)

    running = tiny.plain_engine.begin(work, "a training")
    try:
        found = tiny.adapters.merge(tmp_path / "merged", "persona")
    finally:
        over.set()
        running.wait(90)
    assert running.error is None
    assert found.largest < 1e-4


def test_what_is_in_the_way_of_a_merge(tiny, tmp_path, monkeypatch, stories260k):
    with pytest.raises(AdapterError, match="has no adapters"):
        tiny.adapters.merge(tmp_path / "none")
    add_adapter(tiny, "a")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "thesis.txt").write_text("years")
    with pytest.raises(AdapterError, match="holds something else"):
        tiny.adapters.merge(tmp_path / "there")
    write_gguf(stories260k, tmp_path / "model.gguf")
    packed = llama.load(tmp_path / "model.gguf", name="packed")
    add_adapter(packed, "a")
    with pytest.raises(AdapterError, match="is stored in a GGUF file"):
        packed.adapters.merge(tmp_path / "none")
    packed.unload()

    def no_room(*_args, **_options):
        raise FitError("It does not fit.")

    monkeypatch.setattr(merging, "open_beside", no_room)
    found = tiny.adapters.merge(tmp_path / "unmeasured", "a")
    assert found.largest is None
    assert "no room to measure" in repr(found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.gguf", "there", "unmeasured"]


# --- the hub ------------------------------------------------------------------------------------------------


class FakeHub:
    """Remembers what would be uploaded."""

    def __init__(self, error=None):
        self.error, self.files, self.repos = error, {}, []

    def __call__(self, **_options):
        return self

    def create_repo(self, repo, **options):
        if self.error is not None:
            raise self.error
        self.repos.append((repo, options))
        return f"https://huggingface.co/{repo}"

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, commit_message):
        self.files = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}


@pytest.fixture
def online(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(adapter_hub.hub_settings, "offline", lambda: False)

    def install(error=None):
        made = FakeHub(error)
        monkeypatch.setattr("huggingface_hub.HfApi", made)
        return made

    return install


def test_a_push_uploads_the_adapter_and_no_path_of_this_machine(tiny, online):
    add_adapter(tiny, "persona", sample_prompts=["a secret of mine"])
    fake = online()
    assert tiny.adapters.push("someone/persona") == "https://huggingface.co/someone/persona"
    assert fake.repos == [("someone/persona", {"private": True, "exist_ok": True})]
    assert {"adapter_config.json", "adapter_model.safetensors", "llama_nb.json", "README.md"} == set(
        fake.files
    )
    everything = b"".join(fake.files.values()).decode("utf-8", "replace")
    assert str(Path(tiny.source).parent) not in everything
    assert "secret" not in everything
    assert 'm.adapters.load("someone/persona")' in everything
    assert json.loads(fake.files["adapter_config.json"])["base_model_name_or_path"] == "tiny"


@pytest.mark.parametrize(
    ("status", "said", "next_step"),
    [
        (401, "does not know who pushes", "%llama login"),
        (403, "may not write", "%llama login"),
        (500, "500", "later"),
    ],
)
def test_what_the_hub_refuses(tiny, online, status, said, next_step):
    from types import SimpleNamespace

    error = RuntimeError("hf_abcdefghijklmnopqrstuvwxyz012345 was wrong")
    error.response = SimpleNamespace(status_code=status)
    online(error)
    add_adapter(tiny, "persona")
    with pytest.raises(AdapterError, match=said) as caught:
        tiny.adapters.push("someone/persona")
    assert next_step in caught.value.hint
    assert "hf_abc" not in str(caught.value)


def test_without_a_network_a_push_says_so(tiny, monkeypatch):
    monkeypatch.setattr(adapter_hub.hub_settings, "offline", lambda: True)
    add_adapter(tiny, "persona")
    with pytest.raises(AdapterError, match="HF_HUB_OFFLINE"):
        tiny.adapters.push("someone/persona")


def test_an_adapter_comes_from_the_hubs_cache_without_a_network(tiny, tmp_path, monkeypatch):
    add_adapter(tiny, "persona")
    folder = tiny.adapters.save("persona", tmp_path / "persona")
    tiny.adapters.delete("persona")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub.hub_settings, "offline", lambda: True)
    monkeypatch.setattr(hub.hub_cache, "snapshot", lambda repo: folder if repo == "someone/thing" else None)
    assert tiny.adapters.load("someone/thing") == "persona"


# --- a look -------------------------------------------------------------------------------------------------


def test_a_look_at_an_update(tiny):
    add_adapter(tiny, "persona", target="q_proj,down_proj")
    view = tiny.adapters.look()
    text = repr(view)
    assert "The update of persona in tiny: LoRA, rank 4" in text
    assert "layer 0 q_proj" in text
    bundle = view._repr_mimebundle_()
    assert bundle["text/html"].count("<table") == 2
    assert "Effective rank" in bundle["text/html"]
    frame = view.to_frame()
    assert list(frame["kind"]) == ["q_proj", "down_proj"] * 2
    assert (frame["relative"] > 0).all()


def test_a_look_at_a_model_with_a_hostile_name(tiny, monkeypatch):
    add_adapter(tiny, "persona")
    monkeypatch.setattr(tiny, "name", HOSTILE)
    html = tiny.adapters.look()._repr_mimebundle_()["text/html"]
    assert "<img" not in html
    assert "<img" not in tiny.adapters._repr_mimebundle_()["text/html"]
