"""Random tiny Llamas written to disk in Hugging Face layout, for tests that need a folder and not a mind."""

import json
import shutil
from pathlib import Path

from llama_nb.loading.expected import quiet_transformers

# What tiny mixtures of experts say beside the sizes that all have.
MIXTURES: dict[str, dict[str, object]] = {
    "llama4_text": {
        "num_local_experts": 4, "intermediate_size_mlp": 128, "interleave_moe_layer_step": 2,
        "attention_chunk_size": 64,
    },
    "mixtral": {"num_local_experts": 4},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 32},
}  # fmt: skip
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)


def write_random_llama(
    folder: Path,
    *,
    tokenizer_from: Path,
    layers: int = 2,
    hidden: int = 64,
    heads: int = 4,
    kv_heads: int = 2,
    ffn: int | None = None,
    vocab: int | None = None,
    context: int = 512,
    dtype: str = "float32",
    tie: bool = False,
    seed: int = 0,
    shard_bytes: int | None = None,
) -> Path:
    """Write a Llama with random weights into `folder` and return it.

    The vocabulary is that of the tokenizer in `tokenizer_from` unless `vocab` says more; `shard_bytes` makes
    a sharded checkpoint with an index. The global random state is left as it was.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (tokenizer_from / name).is_file():
            shutil.copyfile(tokenizer_from / name, folder / name)
    ids = _special_ids(folder)
    config = LlamaConfig(
        vocab_size=vocab or _vocabulary(folder),
        hidden_size=hidden,
        intermediate_size=ffn or hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=context,
        tie_word_embeddings=tie,
        **ids,
    )
    config.architectures = ["LlamaForCausalLM"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).to(getattr(torch, dtype))
    with quiet_transformers():
        model.save_pretrained(folder, max_shard_size=shard_bytes or 2**40)
    return folder


def write_random_mixture(folder: Path, kind: str, *, tokenizer_from: Path, **changes: object) -> Path:
    """Write a tiny model of model_type `kind` with random weights into `folder`, as it is published.

    The vocabulary is that of the tokenizer in `tokenizer_from`; `changes` are keys of its config. The global
    random state is left as it was.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (tokenizer_from / name).is_file():
            shutil.copyfile(tokenizer_from / name, folder / name)
    sizes = {
        "vocab_size": _vocabulary(folder),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 256,
        **_special_ids(folder),
    }
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, **sizes | MIXTURES.get(kind, {}) | changes)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():  # transformers leaves GPT-OSS' sinks as they come
            if not bool(torch.isfinite(parameter).all()):
                torch.nn.init.zeros_(parameter)
        model.save_pretrained(folder)
    return folder


def write_tuned_lens(folder: Path, *, layers: int, hidden: int) -> Path:
    """Write a tuned lens whose translators change nothing into `folder` and return it."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    zeros = {f"{layer}.weight": torch.zeros(hidden, hidden) for layer in range(layers)}
    save_file(zeros, folder / "params.safetensors")
    config = {"d_model": hidden, "num_hidden_layers": layers, "bias": False}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def edit_json(path: Path, **changes: object) -> None:
    """Change keys of a JSON file; None removes a key."""
    values = json.loads(path.read_text(encoding="utf-8"))
    values.update(changes)
    kept = {key: value for key, value in values.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def _vocabulary(folder: Path) -> int:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    ids = [*content["model"]["vocab"].values(), *(token["id"] for token in content["added_tokens"])]
    return max(ids) + 1


def _special_ids(folder: Path) -> dict[str, int]:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    by_text = {token["content"]: token["id"] for token in content["added_tokens"]}
    found = {}
    for kind in ("bos", "eos", "pad"):
        token = settings.get(f"{kind}_token")
        text = token["content"] if isinstance(token, dict) else token
        identity = by_text.get(text, content["model"]["vocab"].get(text)) if text else None
        if identity is not None:
            found[f"{kind}_token_id"] = identity
    return found
