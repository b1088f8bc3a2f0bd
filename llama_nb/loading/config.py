"""config.json read as what this version can load: a model that writes text, sane numbers, no custom code.

Cheap: no torch, no transformers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from llama_nb.core.errors import LoadError, did_you_mean
from llama_nb.loading.folder import listing, read_json
from llama_nb.loading.stored import find as find_stored

# model_type -> the architecture that writes text with it.
KINDS: Final[Mapping[str, str]] = {"llama": "LlamaForCausalLM", "llama4_text": "Llama4ForCausalLM"}
_SIZES: Final[Mapping[str, int]] = {  # each with the largest value that a Llama could have
    "hidden_size": 1 << 20,
    "num_hidden_layers": 2048,
    "num_attention_heads": 1 << 14,
    "num_key_value_heads": 1 << 14,
    "head_dim": 1 << 14,
    "intermediate_size": 1 << 22,
    "vocab_size": 1 << 24,
    "max_position_embeddings": 1 << 30,
}
_OPTIONAL: Final = {"num_key_value_heads", "head_dim", "max_position_embeddings"}
# What a mixture of experts says beside, where it says it: transformers knows the rest by the kind.
_MIXTURE_SIZES: Final[Mapping[str, int]] = {
    "intermediate_size_mlp": 1 << 22,
    "num_local_experts": 1 << 12,
    "num_experts_per_tok": 1 << 12,
    "interleave_moe_layer_step": 2048,
    "attention_chunk_size": 1 << 30,
    "no_rope_layer_interval": 2048,
}


def read_config(folder: Path) -> dict[str, Any]:
    """Return the checked config.json of `folder`.

    Raises
    ------
    LoadError
        If it is missing or broken, asks for custom code, is of another kind, is quantised in a way that
        nothing here reads, or has impossible numbers.
    """
    if not (folder / "config.json").is_file():
        raise LoadError(
            f"{folder.name} has no config.json; in it: {listing(folder)}.",
            "A model is a folder with config.json, tokenizer.json and *.safetensors.",
        )
    config = read_json(folder, "config.json")
    refuse_custom_code(config, "config.json")
    check_config(config, "config.json")
    find_stored(config)
    return config


def check_config(config: Mapping[str, Any], where: str) -> None:
    """Raise LoadError unless a config is that of a Llama with numbers that one could have.

    `where` is the file that says it.
    """
    _check_kind(config, where)
    for name, largest in {**_SIZES, **_MIXTURE_SIZES}.items():
        value = config.get(name)
        if value is None and (name in _OPTIONAL or name in _MIXTURE_SIZES):
            continue
        if value is None:
            raise LoadError(
                f"{where} does not say {name}.", "It is not the whole config of a Llama: get it again."
            )
        if type(value) is not int or not 1 <= value <= largest:
            raise LoadError(
                f"{where} says {name} {repr(value)[:40]}; it must be a whole number from 1 to {largest:,}.",
                f"Correct {where} or download it again.",
            )
    _check_division(config, where)
    _check_experts(config, where)


def refuse_custom_code(values: Mapping[str, Any], name: str) -> None:
    """Raise LoadError when a JSON file of the model wants Python files of its own to be run."""
    if values.get("auto_map"):
        raise LoadError(
            f"{name} asks to run Python code that comes with the model (auto_map): refused.",
            "llama-nb runs no code from models. Get a version of it that transformers knows by itself.",
        )


def _check_division(config: Mapping[str, Any], where: str) -> None:
    heads, kv_heads = config["num_attention_heads"], config.get("num_key_value_heads")
    if kv_heads is not None and heads % kv_heads:
        what = f"{heads} attention heads over {kv_heads} key/value heads"
    elif config.get("head_dim") is None and config["hidden_size"] % heads:
        what = f"hidden_size {config['hidden_size']} over {heads} heads"
    else:
        return
    raise LoadError(f"{where} says {what}: not a multiple.", f"Correct {where} or download it again.")


def _check_experts(config: Mapping[str, Any], where: str) -> None:
    experts, chosen = config.get("num_local_experts"), config.get("num_experts_per_tok")
    if experts is not None and chosen is not None and chosen > experts:
        raise LoadError(
            f"{where} says {chosen} experts for each token, of {experts} that there are.",
            f"Correct {where} or download it again.",
        )
    layers = config["num_hidden_layers"]
    listed = config.get("moe_layers")
    if listed is not None and not (
        isinstance(listed, list) and all(type(layer) is int and 0 <= layer < layers for layer in listed)
    ):
        raise LoadError(
            f"{where} says moe_layers {repr(listed)[:60]}; it must list layers from 0 to {layers - 1}.",
            f"Correct {where} or download it again.",
        )


def _check_kind(config: Mapping[str, Any], where: str) -> None:
    kind = config.get("model_type")
    if kind is None:
        raise LoadError(f"{where} does not say model_type.", f"Kinds that load here: {', '.join(KINDS)}.")
    if not isinstance(kind, str) or kind not in KINDS:
        raise LoadError(
            f"{where} says model_type {str(kind)[:80]!r}; this version loads: {', '.join(KINDS)}.",
            did_you_mean(str(kind), KINDS)
            or "Load a model of one of these kinds, `%llama load cria` for one.",
        )
    architectures = config.get("architectures")
    if isinstance(architectures, list) and architectures and KINDS[kind] not in architectures:
        raise LoadError(
            f"{where} says {architectures[0]!r}, which is no model that writes text ({KINDS[kind]}).",
            "Load the language model that it was made from.",
        )
