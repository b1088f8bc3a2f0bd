"""A model's shape: what of its config.json decides how many parameters it has and what it keeps per token.

Counts tensors; bytes are memory's. Dense Llamas and their relatives with the same keys, and mixtures of
experts: Llama 4, Mixtral, Qwen 3, OLMoE, GPT-OSS. Llama 4's vision tower is not counted: the text model
writes text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from llama_nb.core.errors import LoadError, UnsupportedError

Part = Literal["attention", "feed-forward", "experts", "embedding", "head", "norms"]
KINDS: Final = (
    "llama", "llama4", "llama4_text", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "olmoe", "gpt_oss",
)  # fmt: skip

# How many experts there are and how many a token passes through, where a config does not say it.
_USUAL_EXPERTS: Final[Mapping[str, tuple[int, int]]] = {
    "llama4_text": (16, 1), "mixtral": (8, 2), "qwen3_moe": (128, 8), "olmoe": (64, 8), "gpt_oss": (128, 4),
}  # fmt: skip
_USUAL_WINDOWS: Final[Mapping[str, int]] = {"mistral": 4096, "gpt_oss": 128}
_LARGEST: Final = 1 << 30
_MOST_LAYERS: Final = 2048


@dataclass(frozen=True, slots=True)
class TensorGroup:
    """All tensors of one kind: `count` matrices of `rows` outputs and `columns` inputs.

    Attributes
    ----------
    part
        What a reader calls it: "attention", "feed-forward", "experts", "embedding", "head", "norms".
    quantised
        Whether methods that quantise linear layers take it, where its width allows.
    active
        The share of it that one token passes through: below 1 for routed experts only.
    """

    name: str
    part: Part
    count: int
    rows: int
    columns: int
    quantised: bool = True
    active: float = 1.0

    @property
    def parameters(self) -> int:
        """How many numbers there are."""
        return self.count * self.rows * self.columns


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of a config.json that decide the size.

    Attributes
    ----------
    ffn
        Width of a dense feed-forward, or of the dense ones between layers with experts.
    context
        The longest sequence in tokens; None where the config does not say it.
    experts, experts_per_token, expert_ffn, expert_layers
        Routed experts in a layer, how many of them a token passes through, their width, and how many layers
        have them; zeros for a dense model.
    shared_expert
        Whether every token passes through one more expert.
    window, local_layers
        So many layers keep at most so many tokens (sliding window, or chunked attention of Llama 4).
    qkv_bias, output_bias, ffn_bias, head_norms
        Biases of the linear layers, and norms of query and key heads.
    own
        The small tensors that only models of this kind have.
    """

    kind: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocabulary: int
    tied: bool
    context: int | None = None
    experts: int = 0
    experts_per_token: int = 0
    expert_ffn: int = 0
    expert_layers: int = 0
    shared_expert: bool = False
    window: int | None = None
    local_layers: int = 0
    qkv_bias: bool = False
    output_bias: bool = False
    ffn_bias: bool = False
    head_norms: bool = False
    own: tuple[TensorGroup, ...] = ()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Shape":
        """Read a shape from the keys of a Hugging Face config.json.

        A missing model_type means a plain Llama. Llama 4 keeps its text model under `text_config`.

        Raises
        ------
        UnsupportedError
            If the model_type is of another kind.
        LoadError
            If a number is missing or impossible.
        """
        kind = _kind(config)
        if kind == "llama4":
            config, kind = {**config, **_nested(config)}, "llama4_text"
        found = {**_sizes(config, kind), **_experts(config, kind), **_locality(config, kind)}
        return cls(**found, own=_own(found))

    def groups(self) -> tuple[TensorGroup, ...]:
        """Return every tensor of the model by kind; tied tensors stand once, as the embedding."""
        found = [TensorGroup("embed_tokens", "embedding", 1, self.vocabulary, self.hidden, quantised=False)]
        found += self._attention()
        dense = self.layers - self.expert_layers
        if dense:
            found += self._feed_forward("feed-forward", dense, self.ffn, "")
        if self.expert_layers:
            found += self._mixture()
        found.append(TensorGroup("norms", "norms", 2 * self.layers + 1, self.hidden, 1, quantised=False))
        if self.head_norms:
            count = 2 * self.layers
            found.append(TensorGroup("q_norm, k_norm", "norms", count, self.head_dim, 1, quantised=False))
        if not self.tied:
            found.append(TensorGroup("lm_head", "head", 1, self.vocabulary, self.hidden, quantised=False))
        return (*found, *self.own)

    @property
    def parameters(self) -> int:
        """Distinct parameters: tied tensors count once."""
        return sum(group.parameters for group in self.groups())

    @property
    def active_parameters(self) -> int:
        """Parameters that one token passes through, embedding and head included."""
        return round(sum(group.parameters * group.active for group in self.groups()))

    def kept_tokens(self, context: int) -> int:
        """Return the tokens that all layers keep together: layers x context, fewer where they are local."""
        near = min(context, self.window) if self.window else context
        return (self.layers - self.local_layers) * context + self.local_layers * near

    def _attention(self) -> list[TensorGroup]:
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        found = [
            TensorGroup("q_proj", "attention", self.layers, queries, self.hidden),
            TensorGroup("k_proj", "attention", self.layers, keys, self.hidden),
            TensorGroup("v_proj", "attention", self.layers, keys, self.hidden),
            TensorGroup("o_proj", "attention", self.layers, self.hidden, queries),
        ]
        biases = (queries + 2 * keys if self.qkv_bias else 0) + (self.hidden if self.output_bias else 0)
        if biases:
            found.append(TensorGroup("biases", "attention", self.layers, biases, 1, quantised=False))
        return found

    def _feed_forward(self, part: Part, count: int, ffn: int, prefix: str) -> list[TensorGroup]:
        found = [
            TensorGroup(f"{prefix}gate_proj", part, count, ffn, self.hidden),
            TensorGroup(f"{prefix}up_proj", part, count, ffn, self.hidden),
            TensorGroup(f"{prefix}down_proj", part, count, self.hidden, ffn),
        ]
        if self.ffn_bias:
            biases = 2 * ffn + self.hidden
            found.append(TensorGroup(f"{prefix}biases", part, count, biases, 1, quantised=False))
        return found

    def _mixture(self) -> list[TensorGroup]:
        count, share = self.expert_layers * self.experts, self.experts_per_token / self.experts
        size, layers = self.expert_ffn, self.expert_layers
        found = [
            TensorGroup("experts.gate_up_proj", "experts", count, 2 * size, self.hidden, active=share),
            TensorGroup("experts.down_proj", "experts", count, self.hidden, size, active=share),
            TensorGroup("router", "experts", layers, self.experts, self.hidden, quantised=False),
        ]
        if self.shared_expert:
            found += self._feed_forward("feed-forward", layers, size, "shared_expert.")
        return found


def _kind(config: Mapping[str, Any]) -> str:
    kind = config.get("model_type")
    if kind is None:
        return "llama4_text" if config.get("num_local_experts") else "llama"
    if kind not in KINDS:
        raise UnsupportedError(
            f"There is no plan for model_type {str(kind)[:80]!r}: its shape is not known here.",
            f"Plans are made for {', '.join(KINDS)}.",
        )
    return str(kind)


def _nested(config: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = config.get("text_config", {})
    if not isinstance(nested, Mapping):
        raise LoadError("config.json has a text_config that is no object.", "Download config.json again.")
    return nested


def _sizes(config: Mapping[str, Any], kind: str) -> dict[str, Any]:
    hidden, heads = _whole(config, "hidden_size"), _whole(config, "num_attention_heads")
    bias = bool(config.get("attention_bias", kind == "gpt_oss"))
    dense = "intermediate_size_mlp" if kind == "llama4_text" else "intermediate_size"
    return {
        "kind": kind,
        "layers": _whole(config, "num_hidden_layers", most=_MOST_LAYERS),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": _whole(config, "num_key_value_heads", heads),
        "head_dim": _whole(config, "head_dim", max(1, hidden // heads)),
        "ffn": _whole(config, dense, 16384 if kind == "llama4_text" else None),
        "vocabulary": _whole(config, "vocab_size"),
        "tied": bool(config.get("tie_word_embeddings")),
        "context": _whole(config, "max_position_embeddings")
        if _says(config, "max_position_embeddings")
        else None,
        "qkv_bias": kind == "qwen2" or bias,
        "output_bias": kind != "qwen2" and bias,
        "ffn_bias": bool(config.get("mlp_bias")),
        "head_norms": kind in ("qwen3", "qwen3_moe"),
    }


def _experts(config: Mapping[str, Any], kind: str) -> dict[str, Any]:
    if kind not in _USUAL_EXPERTS:
        return {}
    experts, chosen = _USUAL_EXPERTS[kind]
    key = "num_experts" if _says(config, "num_experts") else "num_local_experts"
    width = "moe_intermediate_size" if kind == "qwen3_moe" else "intermediate_size"
    return {
        "experts": _whole(config, key, experts),
        "experts_per_token": _whole(config, "num_experts_per_tok", chosen),
        "expert_ffn": _whole(config, width, 768 if kind == "qwen3_moe" else None),
        "expert_layers": len(_expert_layers(config, kind)),
        "shared_expert": kind == "llama4_text",
    }


def _expert_layers(config: Mapping[str, Any], kind: str) -> set[int]:
    layers = _whole(config, "num_hidden_layers", most=_MOST_LAYERS)
    steps = {"llama4_text": "interleave_moe_layer_step", "qwen3_moe": "decoder_sparse_step"}
    step = _whole(config, steps[kind], 1) if kind in steps else 1
    listed, dense = config.get("moe_layers"), config.get("mlp_only_layers")
    if kind == "llama4_text" and isinstance(listed, Sequence):
        return set(listed) & set(range(layers))
    without = set(dense) if kind == "qwen3_moe" and isinstance(dense, Sequence) else set()
    return set(range(step - 1, layers, step)) - without


def _own(sizes: Mapping[str, Any]) -> tuple[TensorGroup, ...]:
    """The norms of OLMoE's whole queries and keys; GPT-OSS' sinks, and the biases of its experts."""
    layers, experts, heads = sizes["layers"], sizes.get("experts", 0), sizes["heads"]

    def small(name: str, part: Part, count: int, size: int, active: float = 1.0) -> TensorGroup:
        return TensorGroup(name, part, count, size, 1, quantised=False, active=active)

    if sizes["kind"] == "olmoe":
        width = (heads + sizes["kv_heads"]) * sizes["head_dim"]
        return (small("q_norm, k_norm", "norms", layers, width),)
    if sizes["kind"] == "gpt_oss":
        width, share = 2 * sizes["expert_ffn"] + sizes["hidden"], sizes["experts_per_token"] / experts
        return (
            small("sinks", "attention", layers, heads),
            small("experts.biases", "experts", layers * experts, width, share),
            small("router.bias", "experts", layers, experts),
        )
    return ()


def _locality(config: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Which layers keep a window only, as transformers' caches see it."""
    layers = _whole(config, "num_hidden_layers", most=_MOST_LAYERS)
    if kind == "llama4_text":
        window = _whole(config, "attention_chunk_size", 8192)
        interval = _whole(config, "no_rope_layer_interval", 4)
        rotary = config.get("no_rope_layers") or [(index + 1) % interval for index in range(layers)]
        local = sum(bool(value) for value in rotary[:layers])
    else:
        window = _window(config, kind)
        first = _whole(config, "max_window_layers", 28) if kind in ("qwen2", "qwen3") else 0
        local = max(0, layers - first) if window else 0
        local = (local + 1) // 2 if kind == "gpt_oss" else local  # every second layer, the first among them
    types = config.get("layer_types")
    if isinstance(types, Sequence) and window:
        local = sum(name in ("chunked_attention", "sliding_attention") for name in types[:layers])
    return {"window": window, "local_layers": local} if local else {}


def _window(config: Mapping[str, Any], kind: str) -> int:
    """The sliding window in tokens, 0 for none. Configs that say nothing mean what transformers does."""
    if "sliding_window" not in config and kind in _USUAL_WINDOWS:
        return _USUAL_WINDOWS[kind]
    if kind in ("qwen2", "qwen3", "qwen3_moe") and not config.get("use_sliding_window"):
        return 0
    return _whole(config, "sliding_window") if kind != "llama" and _says(config, "sliding_window") else 0


def _says(config: Mapping[str, Any], key: str) -> bool:
    return config.get(key) is not None


def _whole(config: Mapping[str, Any], key: str, default: int | None = None, most: int = _LARGEST) -> int:
    value = config.get(key)
    if value is None:
        value = default
    if value is None:
        raise LoadError(f"config.json does not say {key}.", "A plan needs the whole config of the model.")
    if type(value) is not int or not 1 <= value <= most:
        raise LoadError(
            f"config.json says {key} {str(value)[:40]!r}; it must be a whole number from 1 to {most:,}.",
            "Correct config.json or download it again.",
        )
    return value
