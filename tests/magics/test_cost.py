"""`%llama cost` and `%llama providers` in a shell."""

import pytest

from llama_nb.core.errors import LlamaError
from llama_nb.magics.commands import cost as verb
from llama_nb.planner.cost import Cost
from llama_nb.runtime.environment import Environment


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("LLAMA_NB_HOME", str(tmp_path / "own"))
    return tmp_path / "own"


def test_a_cost_is_a_value(shell):
    cell = shell(
        "%llama cost --tokens-per-month 1.5B --model llama-3.1-8b-instruct --gpu L4 --utilisation 60%"
    )
    assert cell.ok, cell.out
    assert isinstance(cell.value, Cost)
    assert cell.value.assumptions.tokens_per_month == 1.5e9
    assert cell.value.assumptions.utilisation == 0.6
    assert [own.rent.gpu for own in cell.value.owns] == ["L4"]
    assert shell("c = %llama cost --input-share 0.8").ok
    assert shell.names["c"].assumptions.input_share == 0.8


def test_quoted_and_hyphened_gpus(shell):
    for name in ('"A100 80GB"', "A100-80GB", "2xH100"):
        assert shell(f"%llama cost --gpu {name}").ok


def test_a_model_in_several_words(shell):
    assert shell("%llama cost --model 3.1 8b instruct --gpu L4").value.model == "llama-3.1-8b-instruct"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--tokens-per-month many", "50M"),
        ("--model llama-9", "llama-9"),
        ("--gpu H1OO", "H100"),
        ("--gpu 24GB", "--edit"),
        ("--input-share 80", "input_share"),
        ("--utilisation 0", "utilisation"),
        ("--hours 1000", "744"),
        ("--batch two", "batch"),
        ("--context 300000", "131,072"),
        ("--token-per-month 5M", "--tokens-per-month"),
        ("--quant 4bits", "4bits"),
    ],
)
def test_a_mistake_is_a_few_lines(shell, options, named):
    cell = shell(f"%llama cost {options}")
    assert isinstance(cell.error, LlamaError), cell.out
    assert named in cell.out
    assert len(cell.out.strip().splitlines()) <= 12
    assert "Traceback" not in cell.out


def test_edit_writes_a_copy_once_and_says_where_to_those_who_watch(shell, home, monkeypatch):
    monkeypatch.setattr(
        "llama_nb.runtime.environment.detect", lambda: Environment("lab", watched=True, widgets=True)
    )
    assert str(home / "prices.json") in shell("%llama cost --edit").value.text
    (home / "prices.json").write_text("{\n", encoding="utf-8")
    assert "stay as they are" in shell("%llama cost --edit").value.text
    assert (home / "prices.json").read_text("utf-8") == "{\n"
    cell = shell("%llama cost")
    assert "prices.json, line" in cell.out
    assert not cell.ok


def test_nobody_who_watches_sees_a_path(shell, home, monkeypatch):
    monkeypatch.setattr(
        "llama_nb.runtime.environment.detect", lambda: Environment("batch", watched=False, widgets=False)
    )
    assert str(home) not in shell("%llama cost --edit").value.text
    assert (home / "prices.json").exists()


def test_tab_offers_models_and_gpus_that_have_a_price():
    assert "llama-3.3-70b-instruct" in verb._models()
    assert "A100-80GB" in verb._gpus()


def test_providers_are_listed_with_their_text_and_html(shell):
    cell = shell("%llama providers")
    for part in ("Groq", "GROQ_API_KEY", "TOGETHER_API_KEY", "vLLM", "for fine-tuning"):
        assert part in cell.value.text
        assert part in cell.value._repr_mimebundle_()["text/html"]


def test_one_provider_has_address_and_names(shell):
    text = shell("%llama providers Together AI").value.text
    assert "https://api.together.ai/v1" in text
    assert "meta-llama/Llama-3.3-70B-Instruct-Turbo" in text
    cell = shell("%llama providers grok")
    assert isinstance(cell.error, LlamaError)
    assert "groq" in cell.out
