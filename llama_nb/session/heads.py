"""What the heads of a model do: on a text, or on random tokens that come twice.

Chooses what is read; capturing and scoring are the business of `session.attention` and of `interpret`.
"""

from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.events import Progress, publisher
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag
from llama_nb.interpret.score_kinds import find_kind
from llama_nb.session.attention import capture
from llama_nb.session.generation import interrupt_stops
from llama_nb.session.measuring import measured
from llama_nb.session.reading import Reading, check_weights

if TYPE_CHECKING:
    from llama_nb.interpret.head_scores import HeadScores
    from llama_nb.session.model import Model

COPY: Final = 50  # tokens that come twice, as TransformerLens takes
SEQUENCES: Final = 4  # with other tokens each: their mean varies by about 0.02
RANDOM: Final = "random tokens, twice"
_WHAT: Final = "the scores of the heads"
_LONG: Final = 512  # tokens from which on it is said how far the work is


def score(
    model: "Model", reading: Reading | None, kind: str | None = None, *, stop: StopFlag | None = None
) -> "HeadScores":
    """Return the scores of all heads on a reading, or on random tokens; see `Looker.heads`."""
    from llama_nb.interpret.head_scores import score_heads

    chosen = None if kind is None else find_kind(kind)
    check_weights(model.engine, "heads")
    flag = stop or StopFlag()
    publish = publisher()
    with interrupt_stops(flag):
        readings = [reading] if reading is not None else random_readings(model, flag)
        traces = capture(model, readings, stop=flag)
        told = sum(map(len, readings)) >= _LONG

        def advanced(done: int, total: int) -> None:
            if told:
                publish(Progress(_WHAT, done, total, "layers", ended=done == total))

        scores = score_heads(*traces, stopped=lambda: flag.reason if flag.is_set() else None, told=advanced)
    return scores if chosen is None else scores.only(chosen.name)


def random_readings(model: "Model", flag: StopFlag) -> list[Reading]:
    """Return SEQUENCES readings of COPY random tokens that come twice; the same ones every time.

    They begin with the control tokens that every text of this model begins with.
    """
    from llama_nb.interpret.head_scores import repeated_tokens

    engine = model.engine

    def count(module: Any, _stopped: Any) -> int:
        return int(module.config.get_text_config().vocab_size)

    every = range(measured(engine, flag, count, _WHAT))
    vocabulary = [token for token in every if not engine.is_special(token)]
    first = [token for token in engine.prompt(Request("a")).ids if engine.is_special(token)]
    length = min(COPY, (engine.context - len(first)) // 2)
    found = []
    for seed in range(SEQUENCES):
        ids = tuple(repeated_tokens(vocabulary, first, length, seed))
        special = tuple(engine.is_special(token) for token in ids)
        found.append(Reading(RANDOM, ids, tuple(engine.token_texts(ids)), special, len(ids)))
    return found
