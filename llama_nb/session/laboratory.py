"""The sampling laboratory: a place in a reply or text, parameters to try there, and what comes of them.

Everything but a look at a new place and a continuation is computed from the logits that were recorded there,
in milliseconds and without the model. Knows no page; `laboratory_view` says what a page gets of it.
"""

import dataclasses
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import MessageError, SamplingError, Stopped
from llama_nb.core.events import TokenEvent
from llama_nb.core.sampling import FIELDS, STAGES, Sampling, check_names
from llama_nb.core.stop import StopFlag
from llama_nb.runtime import presets, settings
from llama_nb.session import controls
from llama_nb.session.distribution import HEAD, Distribution, TokenCount
from llama_nb.session.next_token import examine
from llama_nb.session.subject import Places, Subject, with_chances

if TYPE_CHECKING:
    from llama_nb.session.model import Model

DRAWS: Final = 1000
AHEAD: Final = 24  # tokens of a continuation
_PURPOSE: Final = "the sampling laboratory"
_PLACES_HELD: Final = 8  # 0.5 MB of logits each at V = 128,256, and three times that once it was drawn
# What belongs to a single reply: tried here, but never made the session's.
_OF_A_REPLY: Final = ("seed", "stop")


class Laboratory:
    """Parameters that are tried at one place after another.

    Made by the page's widget; in Python `Model.distribution` gives each step of it as a value.

    Parameters
    ----------
    model
        Whose logits these are.
    subject
        What is walked through.
    sampling
        The parameters to begin with and to go back to; default those of the reply, else the session's.

    Attributes
    ----------
    position
        The place that is shown; None before the first look.
    sampling
        The parameters as they stand.
    distribution
        The place's distribution with them; None before the first look.
    lock
        Held while position, parameters and distribution change together.
    seed
        Of the draws and of the continuation: the same one while parameters change, so that what differs is
        their doing.
    """

    def __init__(self, model: "Model", subject: Subject, sampling: Sampling | None = None) -> None:
        self.lock = threading.RLock()
        self.model, self.subject = model, subject
        self._places = Places(model.engine, subject)
        given = sampling or (subject.reply.sampling if subject.reply else model.sampling)
        self.begun_with = given.replace(seed=None)
        self.sampling = self.begun_with
        self.position: int | None = None
        self.distribution: Distribution | None = None
        self.seed = secrets.randbits(16)
        self._held: OrderedDict[int, Distribution] = OrderedDict()

    # --- places ---------------------------------------------------------------------------------------

    def look(self, position: int | None, stop: StopFlag) -> bool:
        """Go to a place; return whether it came to that, which it did not where `stop` was set.

        Raises
        ------
        MessageError
            If there is no such place.
        ModelGone
            If the place was not looked at before and the model was unloaded.
        """
        at = self.subject.check(position)
        found = self._held.get(at) or self._examined(at, stop)
        if found is None or stop.is_set():
            return False
        self._held[at] = found
        self._held.move_to_end(at)
        while len(self._held) > _PLACES_HELD:
            self._held.popitem(last=False)
        with self.lock:
            self.position = at
            self.distribution = found.replace(**_everything(self.sampling))
        return True

    @property
    def unread(self) -> bool:
        """Whether it is not known how likely the tokens of a text are."""
        return len(self.subject.tokens) > 1 and self.subject.tokens[-1].logprob is None

    def name_of(self, token: int | None) -> str:
        """Return the text of a token; nothing for none."""
        if token is None or self.distribution is None or not 0 <= token < self.distribution.vocabulary:
            return ""
        return self.distribution.token(token).text

    def read_chances(self, stop: StopFlag, told: Callable[[], None]) -> None:
        """Compute how likely each token of a text is, in one pass; `told` hears when `subject` knows more."""
        from llama_nb.interpret.token_chances import Chance, token_chances

        found: list[Chance] = []

        def more(chances: list[Chance]) -> None:
            found.extend(chances)
            self.subject = with_chances(self.subject, found)
            told()

        def work(module: Any, stopped: Callable[[], str | None]) -> None:
            token_chances(module, self.subject.ids, stopped, more)

        self.model.engine.examine(work, _PURPOSE, stop)

    # --- parameters -----------------------------------------------------------------------------------

    def change(self, values: Mapping[str, Any]) -> None:
        """Try other parameters (or a `preset`); None is where the laboratory began.

        Raises
        ------
        SamplingError, PresetError
            If a name or a value is wrong; nothing changes then.
        """
        asked = presets.expand(values)
        check_names(asked)
        given = {name: getattr(self.begun_with, name) if v is None else v for name, v in asked.items()}
        self._try(self.sampling.replace(**given))

    def reorder(self, names: Sequence[str]) -> None:
        """Let these stages act in this order; those that are not named stay behind them, in theirs."""
        if sorted(names) != sorted(set(names)) or any(name not in STAGES for name in names):
            raise SamplingError(f"{', '.join(map(str, names))} is no order of stages.")
        self._try(self.sampling.replace(order=shortest_order(names)))

    def reset(self) -> None:
        """Go back to where the laboratory began."""
        self._try(self.begun_with)

    def as_session(self) -> None:
        """Take the session's parameters."""
        self._try(self.model.sampling.replace(seed=None))

    def _try(self, sampling: Sampling) -> None:
        with self.lock:
            if self.distribution is not None:
                self.distribution = self.distribution.replace(**_everything(sampling))
            self.sampling = sampling

    # --- what comes of them -----------------------------------------------------------------------------

    def draw(self, n: int = DRAWS) -> tuple[TokenCount, ...]:
        """Draw the next token `n` times."""
        return self.distribution.resample(n, seed=self.seed) if self.distribution is not None else ()

    def roll(self) -> None:
        """Take other dice."""
        self.seed = secrets.randbits(16)

    def ahead(self, stop: StopFlag, first: int | None = None) -> Iterator[TokenEvent]:
        """Go on from the place with these parameters, AHEAD tokens at most.

        Parameters
        ----------
        first
            A token that stands there instead of the one that would be drawn.
        """
        if self.position is None or self.distribution is None:
            raise MessageError("There is no place to go on from yet.")
        if first is not None and not 0 <= first < self.distribution.vocabulary:
            raise MessageError(f"There is no token {first}.")
        place = self._places.find(self.position, stop)
        asked = place.request
        before = (*asked.begun, *place.after, *(() if first is None else (first,)))
        request = dataclasses.replace(
            asked,
            begun=before,
            sampling=self.sampling.replace(max_tokens=AHEAD + len(before), seed=self.seed, stop=()),
            alternatives=0,
            purpose=_PURPOSE,
        )
        return self.model.engine.stream(request, stop)

    # --- the session's parameters -------------------------------------------------------------------------

    def line(self) -> str:
        """Return the line that sets these parameters for a session; "" where they are the model's own."""
        return controls.set_line(self._differences())

    def applied(self) -> bool:
        """Whether the session uses these parameters."""
        session = self.model.sampling
        return all(getattr(session, name) == getattr(self.sampling, name) for name in _applicable())

    def apply(self) -> str:
        """Make these parameters the session's, and return the line that does."""
        values = self._differences()
        set_now = settings.get_sampling_overrides()
        controls.apply(values, clear=[name for name in _applicable() if name in set_now])
        return self.line()

    def close(self) -> None:
        """Give back what the model keeps for the laboratory."""
        if self.model.alive:
            self._places.forget()

    def _differences(self) -> dict[str, Any]:
        default = self.model.default_sampling
        return {
            name: getattr(self.sampling, name)
            for name in _applicable()
            if getattr(self.sampling, name) != getattr(default, name)
        }

    def _examined(self, position: int, stop: StopFlag) -> Distribution | None:
        place = self._places.find(position, stop)
        if stop.is_set():
            return None
        try:
            return examine(self.model.engine, place, self.sampling, HEAD, stop)
        except Stopped:
            return None


def shortest_order(names: Sequence[str]) -> tuple[str, ...]:
    """Return the shortest `Sampling.order` that has these stages act in this order."""
    for count in range(len(names) + 1):
        full = Sampling(order=tuple(names[:count])).stages()
        if [name for name in full if name in names] == list(names):
            return tuple(names[:count])
    return tuple(names)


def _applicable() -> list[str]:
    return [name for name in FIELDS if name not in _OF_A_REPLY]


def _everything(sampling: Sampling) -> dict[str, Any]:
    return {name: getattr(sampling, name) for name in FIELDS}
