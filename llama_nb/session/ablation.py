"""What changes on one text when a model is changed: the next token, the loss, how it goes on.

How it is computed is `interpret.ablation` and the engine's business; how it looks is render's.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import InterventionError, Stopped
from llama_nb.core.intervention import Intervention, merged, names
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.session.ablating import active, check_against
from llama_nb.session.generation import interrupt_stops
from llama_nb.session.measuring import measured

if TYPE_CHECKING:
    from llama_nb.interpret.ablation import Predicted
    from llama_nb.session.model import Model
    from llama_nb.session.reading import Reading

LIKELIEST: Final = 10  # tokens of each of the two distributions that are kept
_MOST_TOKENS: Final = 1_000
_PURPOSE: Final = "a look at what changes"


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
    """What changes on one text when parts of a model are turned off, or its experts chosen otherwise.

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
        """What was changed, in words: "L3 H5 off", "L3 E2 forbidden"."""
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
    at = _position(reading, position)
    prompt = reading.ids[: reading.prompt]
    already = _over(active(model), prompt)
    off = _over(merged(already, interventions), prompt)
    check_against(model, off)

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
