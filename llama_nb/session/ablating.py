"""Parts of a model turned off: for a block of code, or to see on one text what that changes.

What is off stands in a context variable: requests that are made in the block copy it, nothing else sees it.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from llama_nb.core.errors import InterventionError, Stopped, UnsupportedError
from llama_nb.core.intervention import Intervention, Mode, Site, check_parts, merged, names, read_part
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.session.asking import check_text
from llama_nb.session.generation import interrupt_stops
from llama_nb.session.measuring import measured

if TYPE_CHECKING:
    from llama_nb.interpret.ablation import Predicted
    from llama_nb.session.handle import Handle
    from llama_nb.session.model import Model
    from llama_nb.session.reading import Reading

LIKELIEST: Final = 10  # tokens of each of the two distributions that are kept
_MOST_TOKENS: Final = 1_000
_PURPOSE: Final = "a look at what changes"

T = TypeVar("T")
Work = Callable[[Any, Callable[[], str | None]], T]
_Off = tuple[tuple["Handle", tuple[Intervention, ...]], ...]
_off: contextvars.ContextVar[_Off] = contextvars.ContextVar("what is turned off in models", default=())


def active(model: "Handle") -> tuple[Intervention, ...]:
    """Return what is turned off in `model` for who asks here; nothing outside of `Model.ablate`."""
    return next((parts for held, parts in _off.get() if held is model), ())


@contextlib.contextmanager
def turned_off(model: "Handle", parts: Sequence[Intervention]) -> Iterator[tuple[Intervention, ...]]:
    """Turn `parts` off, besides those that are off already, for what is asked of `model` in the block."""
    together = merged(active(model), parts)
    token = _off.set((*(pair for pair in _off.get() if pair[0] is not model), (model, together)))
    try:
        yield together
    finally:
        # Left in another context than it was entered in: there nothing was ever off.
        with contextlib.suppress(ValueError):
            _off.reset(token)


def carrying(model: "Handle", request: Request) -> Request:
    """Return a request to `model` with what is turned off here."""
    return dataclasses.replace(request, interventions=active(model))


def without(parts: Sequence[Intervention], prompt: Sequence[int], work: Work[T]) -> Work[T]:
    """Return `work(module, stopped)` with parts turned off around it; means are taken over `prompt`."""

    def changed(module: Any, stopped: Callable[[], str | None]) -> T:
        from llama_nb.interpret.interventions import applied

        with applied(module, parts, prompt=prompt, stopped=stopped):
            return work(module, stopped)

    return changed if parts else work


def refuse_in_block(model: "Handle", what: str) -> None:
    """Raise UnsupportedError where something is turned off and `what` would not heed it."""
    off = active(model)
    if off:
        raise UnsupportedError(
            f"{what} takes the whole of {model.name}, and here {names(off)}.",
            "Call it behind the block of m.ablate.",
        )


def read_parts(
    model: "Model",
    written: Iterable[str | Intervention] = (),
    *,
    heads: Iterable[tuple[int, int]] = (),
    attention: Iterable[int] = (),
    mlps: Iterable[int] = (),
    layers: Iterable[int] = (),
    mode: Mode = "zero",
    over: str | None = None,
) -> tuple[Intervention, ...]:
    """Return the parts of `model` that a call names; see `Looker.ablate`.

    Parameters
    ----------
    written
        Parts as they are written on a line: "3.5", "3.mlp", "3.attn", "3".

    Raises
    ------
    InterventionError
        If there is none, or the model has not got one of them.
    UnsupportedError
        If the model's weights are not in this kernel.
    """
    engine = model.engine
    if not engine.capabilities.introspect:
        raise UnsupportedError(
            f"To turn parts off, the weights of {engine.name} must be in this kernel.",
            "Load a model into it: %llama load cria",
        )
    if mode == "zero" and over is not None:
        raise InterventionError("over= names the text of a mean, and zeros need none.", 'Say mode="mean".')
    text = () if over is None else _ids(model, over)
    given: list[Intervention] = [
        each if isinstance(each, Intervention) else read_part(each, mode=mode, over=text) for each in written
    ]
    for pair in _list("heads", heads):
        layer, head = _pair(pair)
        given.append(Intervention("head", layer, head, mode, text))
    blocks: tuple[tuple[Site, str, Iterable[int]], ...] = (
        ("attention", "attention", attention), ("mlp", "mlps", mlps), ("layer", "layers", layers)
    )  # fmt: skip
    for site, name, chosen in blocks:
        given += [Intervention(site, layer, None, mode, text) for layer in _list(name, chosen)]
    parts = merged((), given)
    if not parts:
        raise InterventionError(
            "There is nothing to turn off.", 'Name a part: heads=[(3, 5)], mlps=[3], or "3.5" on a line.'
        )
    check_parts(parts, *_extent(model), model.name)
    return parts


@dataclass(frozen=True, slots=True)
class ChangedToken:
    """A token that could come next: how likely it is in the whole model, and with parts of it off."""

    id: int
    text: str
    special: bool
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class LikelyToken:
    """A token that could come next, and its probability."""

    id: int
    text: str
    special: bool
    probability: float


@dataclass(frozen=True, slots=True, repr=False)
class AblationEffect:
    """What changes on one text when parts of a model are turned off.

    Attributes
    ----------
    model, fingerprint, title
        Which weights, and what was read: "text", "reply in chat main".
    interventions
        What was off.
    context
        The end of the text up to the place that was looked at.
    position
        The number of the last token before that place.
    tokens
        The likeliest tokens there, of the one or the other.
    kl
        D(before || after) of the two distributions of the next token, in nats.
    loss_before, loss_after
        Mean negative log-likelihood of the text's tokens but the first, in nats; None for a single token.
    text_before, text_after
        How the text goes on from that place when the likeliest token is taken each time.
    """

    model: str
    fingerprint: str
    title: str
    interventions: tuple[Intervention, ...]
    context: str
    position: int
    tokens: tuple[ChangedToken, ...]
    kl: float
    loss_before: float | None
    loss_after: float | None
    text_before: str = ""
    text_after: str = ""

    @property
    def off(self) -> str:
        """What was off, in words: "L3 H5 off"."""
        return names(self.interventions)

    @property
    def before(self) -> tuple[LikelyToken, ...]:
        """The likeliest tokens of the whole model, most likely first."""
        return self._likeliest(lambda token: token.before)

    @property
    def after(self) -> tuple[LikelyToken, ...]:
        """The likeliest tokens with the parts off, most likely first."""
        return self._likeliest(lambda token: token.after)

    def _likeliest(self, chance: Callable[[ChangedToken], float]) -> tuple[LikelyToken, ...]:
        ordered = sorted(self.tokens, key=chance, reverse=True)[:LIKELIEST]
        return tuple(LikelyToken(each.id, each.text, each.special, chance(each)) for each in ordered)

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON values."""
        record = dataclasses.asdict(self)
        return record | {"interventions": [each.record() for each in self.interventions], "off": self.off}

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.ablation import bundle
        from llama_nb.runtime.environment import detect

        return bundle(self.to_record(), watched=detect().watched)

    def __repr__(self) -> str:
        return f"AblationEffect({self.off} in {self.model}: KL {self.kl:.3g} nats after {self.context!r})"


def ablation_effect(
    model: "Model",
    reading: "Reading",
    interventions: Sequence[Intervention],
    *,
    position: int | None = None,
    tokens: int = 24,
    stop: StopFlag | None = None,
    on_text: Callable[[str], None] | None = None,
) -> AblationEffect:
    """Compute what changes on a text when parts of a model are turned off.

    In a block of `Model.ablate` what is off there is off in both, and a mean that names no text is taken over
    the prompt.

    Parameters
    ----------
    position
        The token behind which one looks, negative ones from the end; default the end of a text, and of a
        reply the place where it begins.
    tokens
        How many tokens the two texts go on for; 0 leaves them out.
    on_text
        Is given the text with the parts off as it grows; the whole model's comes before it.

    Raises
    ------
    InterventionError
        If the model has no such part, or there is no such position.
    Stopped
        If `stop` was set or somebody interrupted it.
    """
    flag = stop or StopFlag()
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
        raise InterventionError(f"tokens is {tokens!r}; it must be a whole number, 0 or more.")
    check_parts(interventions, *_extent(model), model.name)
    at = _position(reading, position)
    prompt = reading.ids[: reading.prompt]
    already = _over(active(model), prompt)
    off = _over(merged(already, interventions), prompt)

    def work(module: Any, stopped: Callable[[], str | None]) -> "tuple[Predicted, Predicted]":
        from llama_nb.interpret.ablation import predict

        whole = predict(module, reading.ids, at, already, stopped=stopped)
        return whole, predict(module, reading.ids, at, off, stopped=stopped)

    with interrupt_stops(flag):
        whole, cut = measured(model.engine, flag, work, _PURPOSE)
        before, after = _go_on(model, reading.ids[: at + 1], (already, off), tokens, flag, on_text)
    return _effect(model, reading, at, tuple(interventions), (whole, cut), (before, after))


def _effect(
    model: "Model",
    reading: "Reading",
    at: int,
    interventions: tuple[Intervention, ...],
    predicted: "tuple[Predicted, Predicted]",
    texts: tuple[str, str],
) -> AblationEffect:
    from llama_nb.interpret.ablation import divergence

    whole, cut = predicted
    most = min(LIKELIEST, len(whole.logprobs))
    ids = [int(token) for each in predicted for token in each.logprobs.topk(most).indices]
    ids = list(dict.fromkeys(ids))
    engine = model.engine
    chances = [each.logprobs.exp() for each in predicted]
    return AblationEffect(
        model=model.name,
        fingerprint=model.fingerprint,
        title=reading.title,
        interventions=interventions,
        context="".join(reading.texts[max(0, at - 15) : at + 1]),
        position=at,
        tokens=tuple(
            ChangedToken(token, text, engine.is_special(token), *(float(each[token]) for each in chances))
            for token, text in zip(ids, engine.token_texts(ids), strict=True)
        ),
        kl=divergence(whole.logprobs, cut.logprobs),
        loss_before=whole.loss,
        loss_after=cut.loss,
        text_before=texts[0],
        text_after=texts[1],
    )


def _go_on(
    model: "Model",
    ids: tuple[int, ...],
    both: tuple[tuple[Intervention, ...], tuple[Intervention, ...]],
    tokens: int,
    flag: StopFlag,
    on_text: Callable[[str], None] | None,
) -> tuple[str, str]:
    """Return how `ids` go on, with the one and with the other turned off."""
    texts = ["", ""]
    room = min(tokens, _MOST_TOKENS, model.context - len(ids))
    if room < 1:
        return "", ""
    for number, off in enumerate(both):
        request = Request(
            ids,
            Sampling(temperature=0, max_tokens=room),
            alternatives=0,
            interventions=off,
            purpose=_PURPOSE,
        )
        for event in model.engine.stream(request, flag):
            texts[number] += event.text
            if number and on_text is not None and event.text:
                on_text(texts[number])
        if flag.is_set():
            raise Stopped("The look at what changes was stopped.")
    return texts[0], texts[1]


def _over(parts: Iterable[Intervention], prompt: tuple[int, ...]) -> tuple[Intervention, ...]:
    """Return the parts with the text that their means are taken over."""
    return tuple(
        dataclasses.replace(each, over=prompt) if each.mode == "mean" and not each.over else each
        for each in parts
    )


def _position(reading: "Reading", position: int | None) -> int:
    count = len(reading)
    if position is None:
        return min(reading.prompt, count) - 1
    if isinstance(position, bool) or not isinstance(position, int) or not -count <= position < count:
        raise InterventionError(
            f"There is no position {position!r} in the {reading.title}: it has {count:,} tokens.",
            "Positions count from 0, negative ones from the end.",
        )
    return position % count


def _extent(model: "Model") -> tuple[int, int]:
    """Return how many layers a model has, and heads a layer."""
    config = model.checked.config
    config = config.get("text_config") or config
    return int(config["num_hidden_layers"]), int(config["num_attention_heads"])


def _ids(model: "Model", over: Any) -> tuple[int, ...]:
    if not isinstance(over, str) or not over.strip():
        raise InterventionError(f"over is {over!r}: there is no text.", 'over="Once upon a time"')
    check_text(over, "The text of over")
    ids = model.engine.prompt(Request(over)).ids
    if len(ids) > model.context:
        raise InterventionError(
            f"over has {len(ids):,} tokens, and the context of {model.name} is {model.context:,}."
        )
    return ids


def _list(name: str, given: Any) -> list[Any]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InterventionError(
            f"{name} is {given!r}, not a list.", f"{name}=[(3, 5)]" if name == "heads" else f"{name}=[3]"
        )
    return list(given)


def _pair(given: Any) -> tuple[int, int]:
    try:
        layer, head = given
    except (TypeError, ValueError):
        raise InterventionError(
            f"A head is named by its layer and its number, not by {given!r}.", "heads=[(3, 5)]"
        ) from None
    return layer, head
