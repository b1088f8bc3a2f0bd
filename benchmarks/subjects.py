"""The models that the engine is measured on: the bundled one, a real small one, a random 110 M Llama."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from llama_nb.engines.transformers_engine import TransformersEngine

if TYPE_CHECKING:
    from llama_nb.engines.head import Floats

ROOT = Path(__file__).resolve().parents[1]


def stories260k() -> Path | None:
    """Return the folder of stories260K, if it is there."""
    folder = Path(os.environ.get("LLAMA_NB_STORIES260K") or ROOT.parent / "shared" / "models" / "stories260K")
    return folder if (folder / "model.safetensors").is_file() else None


def cria() -> Path | None:
    """Return the folder of the bundled model, if its weights are there."""
    folder = ROOT / "llama_nb" / "bundled" / "cria"
    return folder if (folder / "model.safetensors").is_file() else None


def llama3_tokenizer() -> Path | None:
    """Return the folder of Llama 3's tokenizer, if it is there."""
    named = os.environ.get("LLAMA_NB_LLAMA3_TOKENIZER")
    folder = Path(named or ROOT.parent / "shared" / "models" / "llama3-tokenizer")
    return folder if (folder / "tokenizer.json").is_file() else None


def write_tokenizer(folder: Path, tokens: int, source: Path) -> Path:
    """Write the first `tokens` - 2 tokens of a byte-level BPE, a begin and an end; return the folder.

    A vocabulary takes memory: one that was made up, or a smaller one, would not take what a real one does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    if tokens >= len(content["model"]["vocab"]) + len(content["added_tokens"]):
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(source / name, folder / name)
        return folder
    model = content["model"]
    kept = {text: place for text, place in model["vocab"].items() if place < tokens - 2}
    merges = [pair for pair in model["merges"] if {*pair, "".join(pair)} <= kept.keys()]
    content["model"] = {**model, "vocab": kept, "merges": merges}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    ends = ("<|begin_of_text|>", "<|eot_id|>")
    content["added_tokens"] = [
        {"id": tokens - 2 + place, "content": text, **special} for place, text in enumerate(ends)
    ]
    content["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    settings = {"bos_token": ends[0], "eos_token": ends[1], "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def open_folder(folder: Path) -> TransformersEngine:
    """Return an engine over a model's folder."""
    from llama_nb.loading.open import load_checked

    return TransformersEngine(load_checked(folder, device="cpu"))


def random_110m(dtype: str, context: int = 2048) -> TransformersEngine:
    """Return an engine over a Llama of 110 M random parameters, without a tokenizer of its own."""
    import torch
    from tokenizers import Tokenizer, decoders, models
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=12,
        num_attention_heads=12,
        num_key_value_heads=12,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    module = LlamaForCausalLM(config).eval().to(getattr(torch, dtype))
    backend = Tokenizer(models.BPE({f"t{i} ": i for i in range(32_000)}, []))
    backend.decoder = decoders.Fuse()
    tokenizer = SimpleNamespace(
        backend_tokenizer=backend, bos_token_id=None, eos_token_id=None, special_tokens_map={}
    )
    checked = SimpleNamespace(
        name="random 110 M", folder=ROOT, context=context, parameters=module.num_parameters()
    )
    loaded: Any = SimpleNamespace(
        module=module, tokenizer=tokenizer, checked=checked, device="cpu", generation={}, chat_template=None
    )
    return TransformersEngine(loaded)


def likely_logits(count: int, vocabulary: int) -> "list[Floats]":
    """Return rows of logits, each with some likely tokens above a broad floor, as a language model has them.

    The entropy of each is about 4 nats.
    """
    import numpy as np

    random = np.random.default_rng(0)
    logits = [(random.standard_normal(vocabulary) * 1.5).astype(np.float32) for _ in range(count)]
    for one in logits:
        one[random.integers(0, vocabulary, 200)] += np.linspace(4, 14, 200, dtype=np.float32)
    return logits


def engines(dtypes: tuple[str, ...]) -> Iterator[tuple[str, TransformersEngine]]:
    """Yield each engine with what to call it."""
    for name, folder in (("cria", cria()), ("stories260K", stories260k())):
        if folder is not None:
            yield f"{name} float32", open_folder(folder)
    for dtype in dtypes:
        yield f"random 110 M {dtype}", random_110m(dtype)
