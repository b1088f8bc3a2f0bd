"""How sure a model was of each token of a reply, and what it could have said instead, as a value.

Made of what was recorded while the reply was generated. How it looks is `render/why.py`'s business.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from llama_nb.core.errors import MessageError, did_you_mean
from llama_nb.core.events import Alternative, TokenEvent

if TYPE_CHECKING:
    import pandas as pd

    from llama_nb.session.reply import Reply

By = Literal["probability", "entropy"]
BY: Final = get_args(By)


@dataclass(frozen=True, slots=True)
class WhyToken:
    """One token of a reply.

    Attributes
    ----------
    text
        What the token shows as by itself; the reply's own text may hold less (an end of turn) or more (the
        end of a character).
    special
        Whether it is a control token.
    logprob, entropy
        Natural-log probability and entropy (nats) before the sampler; None where the engine gives none.
    sampled
        Natural-log probability after the sampler; None where it is not known.
    rank
        Its place among the likeliest tokens, 1 the likeliest; None for one behind the recorded alternatives.
    forbidden
        The probability of all tokens that the reply's grammar ruled out here; None without one.
    alternatives
        The likeliest tokens, this one among them if it was likely; and which of them are control tokens.
    """

    id: int
    text: str
    special: bool
    logprob: float | None
    entropy: float | None
    sampled: float | None
    rank: int | None
    forbidden: float | None
    alternatives: tuple[tuple[Alternative, bool], ...]


class WhyView:
    """A reply's tokens, shaded by probability or entropy, with what could have stood there.

    Attributes
    ----------
    reply
        The reply.
    by
        What shades: "probability" or "entropy".
    tokens
        Its tokens as they were when the view was made.
    """

    def __init__(self, reply: "Reply", by: By = "probability") -> None:
        self.reply, self.by = reply, by
        self.tokens = tuple(_token(event, reply.special) for event in reply.tokens if event.id is not None)

    def to_frame(self) -> "pd.DataFrame":
        """Return a row a token: what it is, its figures, the likeliest one, and what was forbidden."""
        import pandas as pd

        rows = [
            {
                "id": token.id,
                "text": token.text,
                "special": token.special,
                "probability": None if token.logprob is None else math.exp(token.logprob),
                "logprob": token.logprob,
                "entropy": token.entropy,
                "sampled": None if token.sampled is None else math.exp(token.sampled),
                "rank": token.rank,
                "likeliest": token.alternatives[0][0].text if token.alternatives else None,
                "forbidden": token.forbidden,
            }
            for token in self.tokens
        ]
        return pd.DataFrame(rows)

    def to_record(self) -> dict[str, Any]:
        """Return the view as JSON values."""
        return {
            "by": self.by,
            "model": self.reply.model_name,
            "greedy": self.reply.sampling.greedy,
            "tokens": [
                {
                    **{name: getattr(token, name) for name in WhyToken.__slots__ if name != "alternatives"},
                    "alternatives": [
                        {
                            "id": other.id,
                            "text": other.text,
                            "special": special,
                            "logprob": other.logprob,
                            "sampled": other.sampled,
                            "forbidden": other.forbidden,
                        }
                        for other, special in token.alternatives
                    ],
                }
                for token in self.tokens
            ],
        }

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.why import bundle
        from llama_nb.runtime.environment import detect

        return bundle(self.to_record(), watched=detect().watched)

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"WhyView({len(self.tokens)} tokens by {self.by})"


def view_why(reply: "Reply", by: str = "probability") -> WhyView:
    """Return the view of `reply`.

    Raises
    ------
    MessageError
        If `by` is neither probability nor entropy, or the reply has no tokens with probabilities.
    """
    if by not in BY:
        hint = f"One of: {', '.join(BY)}."
        raise MessageError(f"by is {by!r}.", f"{did_you_mean(str(by), BY)} {hint}".strip())
    if all(event.logprob is None for event in reply.tokens):
        raise MessageError(
            "No probabilities were recorded with this reply"
            + (": its engine gives none." if reply.tokens else ": it has no tokens."),
            "Ask a model that runs in this kernel: %llama load cria",
        )
    return WhyView(reply, "entropy" if by == "entropy" else "probability")


def _token(event: TokenEvent, special: frozenset[int]) -> WhyToken:
    assert event.id is not None
    places = [number for number, other in enumerate(event.alternatives) if other.id == event.id]
    own = event.alternatives[places[0]] if places else None
    return WhyToken(
        id=event.id,
        # By itself: what it adds to the text depends on its neighbours.
        text=own.text if own is not None else event.text,
        special=event.id in special,
        logprob=event.logprob,
        entropy=event.entropy,
        sampled=own.sampled if own is not None else None,
        rank=places[0] + 1 if places else None,
        forbidden=event.forbidden,
        alternatives=tuple((other, other.id in special) for other in event.alternatives),
    )
