"""config.json read as what this version can load: a model that writes text, sane numbers, no custom code.

Cheap: no torch, no transformers.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from llama_nb.core.errors import LoadError, did_you_mean
from llama_nb.loading.folder import listing, read_json
from llama_nb.loading.stored import find as find_stored

# model_type -> the architecture that writes text with it.
KINDS: Final[Mapping[str, str]] = {
    "llama": "LlamaForCausalLM",
    "llama4_text": "Llama4ForCausalLM",
    "mistral": "MistralForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "olmoe": "OlmoeForCausalLM",
    "gpt_oss": "GptOssForCausalLM",
}
# What people call the kinds whose model_type does not say it when it begins with a capital.
_LABELS: Final[Mapping[str, str]] = {
    "llama4_text": "Llama 4",
    "qwen2": "Qwen 2",
    "qwen3": "Qwen 3",
    "qwen3_moe": "Qwen 3 mixture",
    "olmoe": "OLMoE",
    "gpt_oss": "GPT-OSS",
}
# model_type of a model that sees, too -> its architecture, and the model_type of the one in it that writes.
_COMPOSITES: Final[Mapping[str, tuple[str, str]]] = {
    "llama4": ("Llama4ForConditionalGeneration", "llama4_text"),
}
# What a composite says beside the config of the model in it.
_SHARED: Final = (
    "quantization_config",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)
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
# What mixtures of experts and models with windows say besides, where they do: the kind implies the rest.
_OWN_SIZES: Final[Mapping[str, int]] = {
    "intermediate_size_mlp": 1 << 22,
    "moe_intermediate_size": 1 << 22,
    "num_local_experts": 1 << 12,
    "num_experts": 1 << 12,
    "num_experts_per_tok": 1 << 12,
    "interleave_moe_layer_step": 2048,
    "decoder_sparse_step": 2048,
    "attention_chunk_size": 1 << 30,
    "no_rope_layer_interval": 2048,
    "sliding_window": 1 << 30,
}
_LAYER_LISTS: Final = ("moe_layers", "mlp_only_layers")


def kind_label(model_type: str) -> str:
    """Return what to call models of this model_type: "Llama", "Llama 4"."""
    return _LABELS.get(model_type, model_type.capitalize())


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
    config = _text_config(config)
    check_config(config, "config.json")
    find_stored(config)
    return config


def check_config(config: Mapping[str, Any], where: str, kinds: Collection[str] = KINDS) -> None:
    """Raise LoadError unless a config is that of one of `kinds`, with numbers that a model could have.

    `where` is the file that says it.
    """
    _check_kind(config, where, kinds)
    for name, largest in {**_SIZES, **_OWN_SIZES}.items():
        value = config.get(name)
        if value is None and (name in _OPTIONAL or name in _OWN_SIZES):
            continue
        if value is None:
            raise LoadError(
                f"{where} does not say {name}.", "It is not the whole config of a model: get it again."
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


def _text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the model that writes text: for a composite, that of the model in it."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in _COMPOSITES:
        return dict(config)
    architecture, inner = _COMPOSITES[kind]
    nested, listed = config.get("text_config"), config.get("architectures")
    if not isinstance(nested, dict):
        raise LoadError(
            f"config.json says model_type {kind!r} and has no text_config.", "Download config.json again."
        )
    shared = {key: config[key] for key in _SHARED if key in config}
    own = [KINDS[inner]] if listed == [architecture] else listed
    return {**shared, **nested, "model_type": inner, "architectures": own}


def _check_experts(config: Mapping[str, Any], where: str) -> None:
    experts = config.get("num_experts") or config.get("num_local_experts")
    chosen = config.get("num_experts_per_tok")
    if experts is not None and chosen is not None and chosen > experts:
        raise LoadError(
            f"{where} says {chosen} experts for each token, of {experts} that there are.",
            f"Correct {where} or download it again.",
        )
    layers = config["num_hidden_layers"]
    for name in _LAYER_LISTS:
        listed = config.get(name)
        if listed is None or (
            isinstance(listed, list) and all(type(layer) is int and 0 <= layer < layers for layer in listed)
        ):
            continue
        raise LoadError(
            f"{where} says {name} {repr(listed)[:60]}; it must list layers from 0 to {layers - 1}.",
            f"Correct {where} or download it again.",
        )


def _check_kind(config: Mapping[str, Any], where: str, kinds: Collection[str]) -> None:
    kind = config.get("model_type")
    if kind is None:
        raise LoadError(f"{where} does not say model_type.", f"Kinds that load here: {', '.join(kinds)}.")
    if not isinstance(kind, str) or kind not in kinds:
        raise LoadError(
            f"{where} says model_type {str(kind)[:80]!r}; this version loads: {', '.join(kinds)}.",
            did_you_mean(str(kind), kinds)
            or "Load a model of one of these kinds, `%llama load cria` for one.",
        )
    architectures = config.get("architectures")
    if isinstance(architectures, list) and architectures and KINDS[kind] not in architectures:
        raise LoadError(
            f"{where} says {architectures[0]!r}, which is no model that writes text ({KINDS[kind]}).",
            "Load the language model that it was made from.",
        )
