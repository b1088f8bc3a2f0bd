"""What routing is watched in: random mixtures of experts with the bundled tokenizer, texts of like length."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

from benchmarks.attention_subject import BUNDLED, SENTENCES

FILES: Final = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
CONTEXT: Final = 4608
# Model type and config: 33 and 28 M parameters, of which 9 M work for a token.
DECODED: Final[dict[str, dict[str, Any]]] = {
    "random Llama 4, 1 of 16": {
        "model_type": "llama4_text",
        "num_local_experts": 16,
        "interleave_moe_layer_step": 2,
        "intermediate_size_mlp": 1024,
        "head_dim": 32,
    },
    "random Mixtral, 2 of 8": {"model_type": "mixtral", "num_local_experts": 8, "head_dim": 32},
}
DECODED_SIZES: Final = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 8}
# As many scores a token as the explorer must bear, in a model that is narrow otherwise.
LAYERS, EXPERTS = 24, 128
WIDE: Final[dict[str, Any]] = {
    "model_type": "llama4_text",
    "num_hidden_layers": LAYERS,
    "num_local_experts": EXPERTS,
    "interleave_moe_layer_step": 1,
    "hidden_size": 64,
    "intermediate_size": 32,
    "head_dim": 8,
}


def write_mixture(folder: Path, **config: Any) -> Path:
    """Write a mixture with random weights and the bundled model's tokenizer; return the folder."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(BUNDLED / name, folder / name)
    bundled = json.loads((BUNDLED / "config.json").read_text(encoding="utf-8"))
    usual = {
        "vocab_size": bundled["vocab_size"],
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": bundled["bos_token_id"],
        "eos_token_id": bundled["eos_token_id"],
        "pad_token_id": bundled["pad_token_id"],
    }
    kind = config.pop("model_type")
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **usual | config)).save_pretrained(folder)
    return folder


def texts_of(tokenizer: Any, tokens: int, each: int = 200) -> list[str]:
    """Return texts of about `each` tokens that have at least `tokens` together, no two alike."""
    found: list[str] = []
    count = number = 0
    while count < tokens:
        written: list[str] = []
        length = 0
        while length < each:
            sentence = SENTENCES[number % len(SENTENCES)].format(number, 2 * number + 1)
            length += len(tokenizer.encode(sentence, add_special_tokens=False))
            written.append(sentence)
            number += 1
        found.append(" ".join(written))
        count += length
    return found
