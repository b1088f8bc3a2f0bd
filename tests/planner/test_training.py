"""Training: LoRA's parameters, and the activations counted here against what autograd really keeps."""

import itertools

import pytest

from llama_nb.planner import training
from llama_nb.planner.job import Job, Target
from llama_nb.planner.plan import estimate
from llama_nb.planner.shape import Shape
from tests.planner.configs import EIGHT, SEVENTY

SEVENTY_B = Shape.from_config(SEVENTY)
SHAPE = {
    "num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 8, "num_key_value_heads": 2,
    "intermediate_size": 768, "vocab_size": 512, "max_position_embeddings": 512,
}  # fmt: skip
NOWHERE = Target("", None, kind="cpu")


def test_lora_on_q_and_v_of_the_70b():
    count = training.adapter_parameters(SEVENTY_B, ("q_proj", "v_proj"), 16)
    assert count == 32_768_000
    assert count / SEVENTY_B.parameters == pytest.approx(0.00046, rel=0.02)


@pytest.mark.parametrize("targets", ["q_proj,v_proj", "all-linear"])
def test_adapters_are_counted_as_peft_makes_them(targets):
    import peft
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**SHAPE))
        names = targets if targets == "all-linear" else targets.split(",")
        made = peft.get_peft_model(model, peft.LoraConfig(r=8, target_modules=names, task_type="CAUSAL_LM"))
    shape = Shape.from_config(SHAPE)
    counted = training.adapter_parameters(shape, training.read_targets(shape, targets), 8)
    assert counted == sum(p.numel() for p in made.parameters() if p.requires_grad)


def test_adapter_gradients_and_moments_are_float32():
    plan = estimate(SEVENTY_B, name="70b", device=NOWHERE, train="lora", quant="nf4")
    parts = {part.key: part.bytes for part in plan.parts}
    assert [parts[key] for key in ("adapter", "gradients", "optimizer")] == [
        4 * 32_768_000,
        4 * 32_768_000,
        8 * 32_768_000,
    ]
    assert plan.training_bytes == 16 * 32_768_000
    assert plan.kv_cache_bytes == 0


def test_full_fine_tuning_takes_eighteen_bytes_a_parameter_beside_activations():
    shape = Shape.from_config(EIGHT)
    plan = estimate(shape, name="8b", device=NOWHERE, train="full")
    assert plan.weights_bytes + plan.training_bytes == 18 * shape.parameters
    single = estimate(shape, name="8b", device=NOWHERE, train="full", dtype="float32")
    assert single.weights_bytes + single.training_bytes == 16 * shape.parameters


def test_qlora_is_nf4_with_double_quantisation_unless_told():
    plan = estimate(SEVENTY_B, name="70b", device=NOWHERE, train="qlora")
    assert plan.job.quant == "nf4-double"
    assert estimate(SEVENTY_B, name="70b", device=NOWHERE, train="qlora", quant="nf4").job.quant == "nf4"
    lora = estimate(SEVENTY_B, name="70b", device=NOWHERE, train="lora")
    assert plan.total_bytes < 0.5 * lora.total_bytes


def test_checkpointing_keeps_less():
    asked = {"name": "8b", "device": NOWHERE, "train": "lora", "context": 4096}
    shape = Shape.from_config(EIGHT)
    kept = estimate(shape, **asked).activation_bytes
    again = estimate(shape, **asked, checkpointing=True).activation_bytes
    assert again < 0.4 * kept


@pytest.mark.parametrize(
    ("dtype", "train", "targets"),
    [
        ("float32", "lora", "q_proj,v_proj"),
        ("bfloat16", "lora", "q_proj,v_proj"),
        ("bfloat16", "lora", "q_proj,k_proj,v_proj,o_proj"),
        ("float32", "lora", "all-linear"),
        ("bfloat16", "lora", "all-linear"),
        ("float32", "full", "q_proj,v_proj"),
    ],
)
def test_activations_are_those_that_autograd_keeps(dtype, train, targets):
    kept = _kept(dtype, train, targets, batch=2, tokens=64)
    shape = Shape.from_config(SHAPE)
    job = Job(shape, "none", dtype, 64, 2, None, train, 8, training.read_targets(shape, targets))
    layers = shape.layers * 2 * 64 * training._kept_per_token(job)
    # Beside the layers: the last norm, the logits as log-probabilities.
    rest = 2 * 64 * (shape.vocabulary * 4 + shape.hidden * 4)
    assert kept == pytest.approx(layers + rest, rel=0.06)


def _kept(dtype: str, train: str, targets: str, batch: int, tokens: int) -> int:
    """Bytes that a forward pass keeps for the backward one, beside the parameters."""
    import peft
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**SHAPE, attn_implementation="sdpa")).to(getattr(torch, dtype))
    if train == "lora":
        names = targets if targets == "all-linear" else targets.split(",")
        model = peft.get_peft_model(model, peft.LoraConfig(r=8, target_modules=names, task_type="CAUSAL_LM"))
    model.train()
    own = {t.untyped_storage().data_ptr() for t in itertools.chain(model.parameters(), model.buffers())}
    seen = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no address comes twice
        return tensor

    ids = torch.randint(0, SHAPE["vocab_size"], (batch, tokens))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(input_ids=ids, labels=ids, use_cache=False)
    return sum(count for count, _ in seen.values())
