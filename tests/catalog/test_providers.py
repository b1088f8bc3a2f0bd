"""Providers: every row of the course's list, no key anywhere, names that engines can rely on."""

import json
import re
from pathlib import Path

import pytest

from llama_nb.catalog import catalog
from llama_nb.catalog import providers as module
from llama_nb.catalog.providers import KINDS, Provider, providers
from llama_nb.core.errors import CatalogError

OWN = ["transformers", "llama.cpp", "Ollama", "LM Studio", "vLLM", "TGI", "TensorRT-LLM", "ONNX Runtime"]
ELSEWHERE = ["Together AI", "Groq", "Fireworks AI", "Replicate", "Anyscale", "AWS Bedrock", "Azure AI"]
REST = ["OpenVINO", "ExecuTorch", "Google Vertex AI", "OCI Generative AI", "Axolotl", "torchtune", "Modal"]


@pytest.mark.parametrize("name", [*OWN, *ELSEWHERE, *REST, "Databricks", "Hugging Face (peft, trl)"])
def test_who_must_be_there_is_found_by_name(name: str) -> None:
    assert providers.find(name).name == name
    assert providers.find(name.upper()).name == name
    assert name in providers


def test_names_are_unique() -> None:
    names = [name for provider in providers for name in {provider.key, provider.name.lower()}]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("provider", list(providers), ids=lambda provider: provider.key)
def test_every_field_is_well_formed(provider: Provider) -> None:
    assert provider.kind in KINDS
    assert provider.source
    assert provider.start
    assert re.fullmatch(r"[a-z0-9.-]+", provider.key)
    assert provider.protocol in (None, "openai", "ollama", "bedrock", "vertex", "oci", "replicate")
    if provider.key_env is not None:
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", provider.key_env)
    if provider.kind == "own":
        assert provider.key_env is None
        assert provider.base_url is None or re.fullmatch(r"http://127\.0\.0\.1:\d+/v\d", provider.base_url)
    elif provider.base_url is not None:
        assert re.fullmatch(r"https://[\w{}./-]+", provider.base_url)
        assert not provider.base_url.endswith("/")
    for model, name in provider.models.items():
        assert catalog.find(model) is not None
        assert name.strip() == name != ""


def test_no_value_looks_like_a_key() -> None:
    text = Path(module.__file__).with_name("providers.json").read_text("utf-8")
    assert not re.search(r"(sk|gsk|hf|esecret|r8|fw)[-_][A-Za-z0-9]{8}", text)
    assert json.loads(text)["schema"] == 1


def test_an_unknown_provider_names_the_nearest() -> None:
    with pytest.raises(CatalogError, match="grok") as caught:
        providers.find("grok")
    assert "groq" in caught.value.hint
    assert "grok" not in providers


def test_the_list_reads_as_text() -> None:
    assert "Together AI, Groq" in repr(providers)
    assert len(providers) == len(list(providers))
