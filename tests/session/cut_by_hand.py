"""A text, parts of cria, and those parts turned off by hooks of the tests' own."""

import contextlib

import torch

STORY = "Once upon a time, Ida lived in a quiet village."
PARTS = ("5.attn", "0.3")
GREEDY = {"temperature": 0, "max_tokens": 12}


@contextlib.contextmanager
def cut(module):
    """Turn PARTS off."""

    def nothing(_module, _given, output):
        return (torch.zeros_like(output[0]), *output[1:])

    def without_head(_module, given):
        mixed = given[0].clone()
        mixed[..., 3 * 32 : 4 * 32] = 0
        return (mixed,)

    layers = module.model.layers
    handles = [
        layers[5].self_attn.register_forward_hook(nothing),
        layers[0].self_attn.o_proj.register_forward_pre_hook(without_head),
    ]
    yield
    for handle in handles:
        handle.remove()


@torch.inference_mode()
def logprobs(module, ids):
    """Return log-probabilities at every position, shape (T, V)."""
    return module(torch.tensor([ids]), use_cache=False).logits[0].log_softmax(-1)


def goes_on(module, ids, count):
    """Return how `ids` go on, greedily and computed anew each time, with PARTS off."""
    text = list(ids)
    with cut(module):
        for _ in range(count):
            text.append(int(logprobs(module, text)[-1].argmax()))
    return text[len(ids) :]


def hooks(module):
    """Count the hooks of a model."""
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in module.modules())
