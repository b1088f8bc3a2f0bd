"""What is asked of an engine, as one frozen value."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Literal

from llama_nb.core.grammar import Grammar
from llama_nb.core.intervention import Intervention
from llama_nb.core.messages import Message
from llama_nb.core.sampling import Sampling

Overflow = Literal["drop-oldest", "error"]
APART: Final = "\0"  # between a chat's cache key and an adapter's name: a cache apart


@dataclass(frozen=True, slots=True)
class Request:
    """One generation.

    Parameters
    ----------
    input
        Messages (rendered with the model's chat template), text (tokenised as it is) or token ids.
    sampling
        How tokens are chosen.
    cache_key
        Names the KV cache to reuse and extend; None uses a cache that is dropped afterwards.
    tools
        JSON descriptions of the functions that the model may call.
    alternatives
        How many of the likeliest tokens each TokenEvent records (0 to 100).
    continue_last
        Go on with the last message, an assistant's, instead of answering it.
    begun
        Token ids that the reply begins with already: the engine goes on behind them as if it had chosen them
        in this request, and yields what follows. They count for `max_tokens`. A stop string that stands whole
        in their text ends nothing.
    surprise
        Where mirostat stands behind `begun`, in bits; None: where it begins.
    grammar
        What the reply must be; for engines that can (`Capabilities.schema`).
    interventions
        What is turned off in the model while it answers this request and no other. Such a request runs alone,
        with a cache of its own that is dropped afterwards.
    watch
        Looks on while the model works: entered with the module on the thread that owns it, around all that is
        computed for this request, which runs alone, and left before the last event is out. It must leave the
        module as it found it.
    adapter
        The adapter that answers this request, with a cache apart; `core.adapter.NO_ADAPTER` is the base model
        alone, None whatever is switched on. A request that names one runs alone.
    purpose
        What this is, for the one who waits for it: "chat main", "complete".
    """

    input: tuple[Message, ...] | str | tuple[int, ...]
    sampling: Sampling = Sampling()
    cache_key: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    alternatives: int = 10
    continue_last: bool = False
    begun: tuple[int, ...] = ()
    surprise: float | None = None
    grammar: Grammar | None = None
    interventions: tuple[Intervention, ...] = ()
    watch: Callable[[Any], AbstractContextManager[Any]] | None = None
    adapter: str | None = None
    purpose: str = "request"

    @property
    def kept_in(self) -> str | None:
        """The cache that it reads and extends; None with interventions, whose keys and values are its own."""
        if self.interventions or self.cache_key is None:
            return None
        return self.cache_key if self.adapter is None else f"{self.cache_key}{APART}{self.adapter}"

    @property
    def alone(self) -> bool:
        """Whether it can share no computation with others."""
        return bool(self.interventions) or self.watch is not None or self.adapter is not None
