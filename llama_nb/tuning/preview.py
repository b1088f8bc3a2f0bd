"""What training would learn of data, before anything is trained: rows as the run would make them, counted.

How it is shown is `render`'s business.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from llama_nb.engines.token_text import TokenTexts
from llama_nb.render.training_data import Lengths, Sample, SampleToken, View, training_data_bundle
from llama_nb.tuning.data import TrainingData
from llama_nb.tuning.encoding import Encoded, Row
from llama_nb.tuning.example import counted
from llama_nb.tuning.preference_rows import with_chosen
from llama_nb.tuning.preparing import batch_plan, rows_to_train, today
from llama_nb.tuning.records import READERS

if TYPE_CHECKING:
    from llama_nb.tuning.parts import Parts
    from llama_nb.tuning.recipe import Recipe

_COLUMNS: Final = 16  # of the histogram of lengths


@dataclass(frozen=True, slots=True)
class Preview:
    """What training would learn of data.

    Parameters
    ----------
    data
        The examples, those for validation among them.
    encoded
        The rows to train on, what is cut and left out, and the counts.
    view
        What is shown.
    """

    data: TrainingData
    encoded: Encoded
    view: View

    def __repr__(self) -> str:
        text: str = training_data_bundle(self.view)["text/plain"]
        return text

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return training_data_bundle(self.view)


def preview(data: TrainingData, parts: "Parts", recipe: "Recipe", *, command: str = "") -> Preview:
    """Return what a run of this recipe on this model would learn of the data; nothing is written.

    Parameters
    ----------
    command
        What starts the training; default: made of the data's source.

    Raises
    ------
    DataError, TrainingError, UnsupportedError
        As when training is started: no token to train on, a row that the template refuses.
    """
    notes, preferred = data.notes, recipe.objective == "dpo"
    learned = data
    if preferred:
        rows_to_train(data, recipe, parts, today())  # which refuses what is no preference
        notes = (*notes, "The chosen answers are shown; each is learned against the rejected one.")
        learned = dataclasses.replace(data, examples=tuple(map(with_chosen, data.examples)))
        recipe = dataclasses.replace(recipe, objective="sft", mask="last", packing=False)
    train, held = learned.split(recipe.validation, recipe.seed)
    encoded, recipe = rows_to_train(train, recipe, parts, today())
    assert isinstance(encoded, Encoded)
    assert recipe.max_tokens is not None
    view: View = {
        "title": _title(data, parts.name),
        "figures": _figures(
            encoded, held, recipe, "pairs" if preferred else "packs" if recipe.packing else "rows"
        ),
        "trained": encoded.counts["trained"],
        "tokens": encoded.counts["tokens"],
        "most": recipe.max_tokens,
        "lengths": _lengths(encoded.rows),
        "notes": (*notes, *encoded.notes),
        "samples": [_sample(row, parts.loaded.tokenizer) for row in _picked(encoded.rows)],
        "command": command or _command(data, preferred=preferred),
    }
    return Preview(data, encoded, view)


def _title(data: TrainingData, model: str) -> str:
    return f"{counted(len(data), data.kind)} from {data.source}, as {model} would learn"


def _figures(encoded: Encoded, held: TrainingData, recipe: "Recipe", lines: str) -> list[tuple[str, str]]:
    lengths = sorted(len(row) for row in encoded.rows)
    batches = batch_plan(encoded, recipe).per_epoch
    steps = -(-batches // recipe.accumulate)
    return [
        ("rows", f"{len(lengths):,}" + (f" + {len(held):,} for validation" if len(held) else "")),
        ("tokens an epoch", f"{encoded.counts['tokens']:,}"),
        ("trained", f"{encoded.counts['trained']:,}"),
        (
            "row, median and longest",
            f"{lengths[len(lengths) // 2]:,} and {lengths[-1]:,} of {recipe.max_tokens:,} tokens",
        ),
        ("steps an epoch", f"{steps:,} of {recipe.batch * recipe.accumulate:,} {lines}"),
        ("mask", recipe.mask),
    ]


def _lengths(rows: Sequence[Row]) -> Lengths:
    """Return how many rows are how long, cut ones with what was cut off."""
    whole = np.array([len(row) + row.cut for row in rows])
    low, high = int(whole.min()), int(whole.max())
    wide = max(1, -(-(high - low + 1) // _COLUMNS))
    columns = -(-(high - low + 1) // wide)
    edges = [low + wide * index for index in range(columns + 1)]
    counts, _ = np.histogram(whole, bins=edges)
    return {"edges": edges, "counts": counts.tolist()}


def _picked(rows: Sequence[Row]) -> list[Row]:
    """Return the first row, one of middle length, and the longest."""
    by_length = sorted(range(len(rows)), key=lambda index: len(rows[index]) + rows[index].cut)
    wanted = dict.fromkeys((0, by_length[len(rows) // 2], by_length[-1]))
    return [rows[index] for index in wanted]


def _sample(row: Row, tokenizer: Any) -> Sample:
    backend = tokenizer.backend_tokenizer
    texts = TokenTexts(backend)
    special = {id_ for id_, token in backend.get_added_tokens_decoder().items() if token.special}
    tokens: list[SampleToken] = []
    for id_, trained in zip(row.ids.tolist(), row.trained.tolist(), strict=True):
        token: SampleToken = {"id": id_, "text": texts.one(id_), "trained": trained}
        if id_ in special:
            token["special"] = True
        tokens.append(token)
    return {"where": row.where, "tokens": tokens, "cut": row.cut}


def _command(data: TrainingData, *, preferred: bool) -> str:
    if data.source.endswith(tuple(READERS)):
        return f"%llama train {data.source}" + (" --objective dpo" if preferred else "")
    return 'm.train(data, objective="dpo")' if preferred else "m.train(data)"
