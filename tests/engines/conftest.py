"""One engine over stories260K for the whole run; tests use cache keys of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from llama_nb.engines.transformers_engine import TransformersEngine
from tests.engines.opening import open_folder
from tests.models import write_random_llama


@pytest.fixture(scope="session")
def stories(stories260k: Path) -> Iterator[TransformersEngine]:
    torch.set_num_threads(1)
    engine = open_folder(stories260k)
    yield engine
    engine.close()


LLAMA3_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{{ message.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


@pytest.fixture(scope="session")
def cria_like(
    llama3_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TransformersEngine]:
    """A chat model with random weights and the vocabulary of Llama 3."""
    folder = tmp_path_factory.mktemp("tiny")
    write_random_llama(folder, tokenizer_from=llama3_tokenizer, hidden=32, seed=3, context=2048)
    (folder / "chat_template.jinja").write_text(LLAMA3_TEMPLATE, encoding="utf-8")
    engine = open_folder(folder)
    yield engine
    engine.close()
