"""Keys of config.json files of published models, and of a small one."""

from typing import Any, Final

EIGHT: Final[dict[str, Any]] = {
    "model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128_256,
    "max_position_embeddings": 131_072, "tie_word_embeddings": False,
}  # fmt: skip
SEVENTY: Final[dict[str, Any]] = {
    **EIGHT, "num_hidden_layers": 80, "hidden_size": 8192, "num_attention_heads": 64,
    "intermediate_size": 28_672,
}  # fmt: skip
SCOUT: Final[dict[str, Any]] = {
    "model_type": "llama4_text", "num_hidden_layers": 48, "hidden_size": 5120, "num_attention_heads": 40,
    "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 8192, "intermediate_size_mlp": 16384,
    "vocab_size": 202_048, "num_local_experts": 16, "num_experts_per_tok": 1, "interleave_moe_layer_step": 1,
    "max_position_embeddings": 10_485_760, "attention_chunk_size": 8192, "tie_word_embeddings": False,
}  # fmt: skip
MAVERICK: Final[dict[str, Any]] = {**SCOUT, "num_local_experts": 128, "interleave_moe_layer_step": 2}
SMALL: Final[dict[str, Any]] = {
    "num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 96, "vocab_size": 100, "max_position_embeddings": 512,
}  # fmt: skip
