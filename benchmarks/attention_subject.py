"""What attention is looked at in: a random Llama with the heads of Llama 3.2 1B, and texts of exact length.

Its width and its feed-forward layers are small, so that a forward over 32,768 tokens is affordable; what is
drawn depends on layers, heads and tokens alone.
"""

import json
import shutil
from pathlib import Path
from typing import Any, Final

LAYERS: Final = 16
HEADS: Final = 32
KV_HEADS: Final = 8
HEAD_DIM: Final = 64
WIDTH: Final = 512
CONTEXT: Final = 32_768
BUNDLED: Final = Path(__file__).resolve().parents[1] / "llama_nb" / "bundled" / "cria"

SENTENCES: Final = (
    "A token is a piece of text with a number, and the model says which of them comes next.",
    "Query heads {} and {} share one key and one value: that is grouped-query attention.",
    "The sea is blue, the sky is {}, and every llama on the hill looks at the other {}.",
    "Each row of the map is a token that reads; each column is a token that is read.",
    "In layer {} the fifth head finds what followed the last time, {} tokens before.",
)


def write_model(folder: Path, layers: int = LAYERS, width: int = WIDTH, ffn: int = 2 * WIDTH) -> Path:
    """Write the model with the bundled model's tokenizer; return the folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(BUNDLED / name, folder / name)
    bundled = json.loads((BUNDLED / "config.json").read_text(encoding="utf-8"))
    config = LlamaConfig(
        vocab_size=bundled["vocab_size"],
        hidden_size=width,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=HEAD_DIM,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=bundled["bos_token_id"],
        eos_token_id=bundled["eos_token_id"],
    )
    config.architectures = ["LlamaForCausalLM"]
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def text_of(tokenizer: Any, tokens: int) -> str:
    """Return a text that `tokenizer` makes exactly `tokens` tokens of, its own leading ones included."""
    written: list[str] = []
    count = 0
    while count < tokens:
        number = len(written)
        written += [sentence.format(number, 2 * number + 1) for sentence in SENTENCES]
        count = len(tokenizer.encode(" ".join(written)))
    ids = tokenizer.encode(" ".join(written))
    for end in range(tokens, len(ids) + 1):
        text = str(tokenizer.decode(ids[:end], skip_special_tokens=True))
        if len(tokenizer.encode(text)) == tokens:
            return text
    raise RuntimeError(f"no text of {tokens} tokens was found")


def tokenizer_of(folder: Path) -> Any:
    """Return the tokenizer of a model's folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, model_max_length=CONTEXT)
