"""`%llama convert`: a line over `llama_nb.convert`; the file is a model that loads and answers alike."""

from llama_nb.core.errors import ConvertError
from llama_nb.magics.commands import convert
from llama_nb.session import registry
from tests.magics import fake


def test_a_bundled_model_and_a_loaded_one(shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = shell("%llama convert cria --type Q8_0").value
    assert (made.path.name, made.type) == ("cria-Q8_0.gguf", "Q8_0")
    assert "Next: %llama load ./cria-Q8_0.gguf" in repr(made)
    fake.install("cria")
    assert shell("%llama convert --out ./mine").value.path == tmp_path / "mine.gguf"
    registry._models.clear()


def test_what_is_wrong_is_said(shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = shell("%llama convert cria --type Q9_0")
    assert isinstance(cell.error, ConvertError)
    assert "Did you mean 'Q8_0'?" in cell.out
    assert "--to" in shell("%llama convert cria --to onnx").out
    assert list(tmp_path.iterdir()) == []


def test_tab_offers_what_can_be_converted(shell):
    fake.install("mine")
    assert {"mine", "cria"} <= set(convert.complete([]))
    assert list(convert.complete(["cria"])) == []
    registry._models.clear()
