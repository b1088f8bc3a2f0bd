"""Which tokens end a turn: what a model's files say, and the names that Llamas use where they say nothing."""

from collections.abc import Collection
from typing import Final

from llama_nb.engines.base import LoadedModel

_NAMES: Final = ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|eot|>", "<|eom|>")


def end_tokens(loaded: LoadedModel, special: Collection[int]) -> frozenset[int]:
    """Return the ids of the tokens behind which a reply is over; `special` are the control tokens."""
    given = loaded.generation.get("eos_token_id")
    if given is None:
        given = getattr(loaded.module.config, "eos_token_id", None)
    ends = set(given if isinstance(given, list | tuple) else [] if given is None else [given])
    if loaded.tokenizer.eos_token_id is not None:
        ends.add(loaded.tokenizer.eos_token_id)
    for name in _NAMES:
        token = loaded.tokenizer.backend_tokenizer.token_to_id(name)
        if token in special:
            ends.add(token)
    return frozenset(int(end) for end in ends if end is not None)
