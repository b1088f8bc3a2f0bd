"""`%llama adapter`: what it says, what it refuses, and that its examples run on cria."""

import shutil
from pathlib import Path

import pytest
import torch

import llama_nb as llama
from llama_nb.core.errors import AdapterError
from llama_nb.magics.commands import adapter
from llama_nb.session import registry
from tests.session.adapter_models import add_adapter, drop_adapters


@pytest.fixture(scope="module")
def made():
    torch.set_num_threads(1)
    model = llama.load("cria", name="cria")
    yield model
    model.unload(force=True)


@pytest.fixture
def cria(made, shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    registry.use("cria")
    yield made
    drop_adapters(made)


def test_every_example_runs(cria, shell, monkeypatch):
    add_adapter(cria, "persona")
    cria.adapters.save("persona", "adapters/persona")
    run = Path("runs/persona")
    shutil.copytree("adapters/persona", run / "adapter")
    (run / "recipe.json").write_text("{}")
    shutil.rmtree("adapters")
    drop_adapters(cria)
    add_adapter(cria, "tone", seed=2)
    pushed = []
    monkeypatch.setattr(
        "llama_nb.tuning.adapter_hub.push_folder",
        lambda repo, folder, private: pushed.append(private) or repo,
    )
    for example in adapter.EXAMPLES:
        cell = shell(example)
        assert cell.ok, (example, cell.error)
    assert cria.adapters.names == ("tone",)
    assert pushed == [True]
    assert {path.name for path in Path().iterdir()} == {"adapters", "merged", "runs"}


def test_what_is_said(cria, shell):
    add_adapter(cria, "persona")
    add_adapter(cria, "tone", seed=2)
    say = lambda line: str(shell(f"%llama adapter {line}").value)  # noqa: E731
    assert say("use persona") == "cria answers with persona from now on."
    assert say("mix persona:0.7 tone:.3") == "cria answers with persona:0.7 tone:0.3 from now on."
    assert say("off") == "cria answers alone."
    assert (
        say("save persona --out p") == "Saved persona to p, in peft's format. Load it: %llama adapter load p"
    )
    assert say("delete persona") == "Took persona out of the model. cria answers alone."
    assert say("load p --name q --off") == "Loaded q: rank 4 on 24 layers. cria answers alone."
    assert say("load p") == "Loaded persona: rank 4 on 24 layers. cria answers with persona from now on."
    assert "persona" in say("")
    assert say("list") == say("")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("uze persona", "Did you mean 'use'?"),
        ("use", "Which adapter?"),
        ("use persona tone", "'tone' is one word too many"),
        ("use persone", "Did you mean 'persona'?"),
        ("mix", "There is nothing to mix"),
        ("mix persona:x", "is no adapter with a weight"),
        ("mix persona persona", "is there twice"),
        ("merge", "Where to?"),
        ("push persona", "Where to?"),
        ("off --out x", "takes no --out"),
        ("load", "Which adapter?"),
        ("load runs/nope", "There is no"),
        ("delete nope", "has no adapter 'nope'"),
        ("use persona --force", "takes no --force"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_changes(cria, shell, line, says, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    add_adapter(cria, "persona")
    cell = shell(f"%llama adapter {line}")
    assert not cell.ok
    assert says in cell.out
    assert cria.adapters.active == {}


def test_a_message_may_name_its_adapter(cria, shell):
    add_adapter(cria, "persona")
    on = shell("r = %llama chat --adapter persona --temperature 0 --max-tokens 4 hi")
    assert on.ok
    assert shell.names["r"].adapter == "persona"
    assert shell("r = %llama complete --adapter off --max-tokens 2 Once").ok
    assert shell.names["r"].adapter == ""
    assert isinstance(shell("%llama chat --adapter nope hi").error, AdapterError)


def test_tab_offers_adapters_and_runs(cria):
    assert "mix" in adapter.complete([])
    add_adapter(cria, "persona")
    assert list(adapter.complete(["use"])) == ["persona"]
    assert list(adapter.complete(["use", "persona"])) == []
    assert list(adapter.complete(["mix", "persona:1"])) == ["persona:"]
    Path("runs/first").mkdir(parents=True)
    Path("runs/first/recipe.json").write_text("{}")
    assert list(adapter.complete(["load"])) == ["runs/first"]
