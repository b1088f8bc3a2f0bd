"""A tiny random mixture of experts as a folder, with the tokenizer and the chat template of cria."""

import shutil
from pathlib import Path

from llama_nb.loading.expected import quiet_transformers
from tests.conftest import ROOT
from tests.interpret.routing_models import mixture
from tests.models import TOKENIZER_FILES, _special_ids, _vocabulary

CRIA = ROOT / "llama_nb" / "bundled" / "cria"


def write_mixture(folder: Path, name: str = "llama 4", **changes: object) -> Path:
    """Write one of `routing_models.MIXTURES` into `folder` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in TOKENIZER_FILES:
        if (CRIA / file).is_file():
            shutil.copyfile(CRIA / file, folder / file)
    sizes = {"vocab_size": _vocabulary(folder), "max_position_embeddings": 512} | _special_ids(folder)
    with quiet_transformers():
        mixture(name, **(sizes | changes)).save_pretrained(folder)
    return folder
