"""From a run's folder to what the loop takes: rows of tokens, micro-batches, and what was left open decided.

What is decided for the machine (the longest row, checkpointing) is kept in plan.json, so that a run that goes
on does what it did before.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.data import TrainingData, load_data
from llama_nb.tuning.encoding import Encoded, encode
from llama_nb.tuning.json_lines import replace_json
from llama_nb.tuning.packing import BatchPlan, MicroBatch
from llama_nb.tuning.preference import PreferencePlan
from llama_nb.tuning.preference_rows import EncodedPreferences, encode_preferences
from llama_nb.tuning.run_folder import RunFolder

if TYPE_CHECKING:
    from llama_nb.tuning.parts import Parts
    from llama_nb.tuning.recipe import Recipe

# Rows are as long as the longest example, within these; longer ones are chosen with max_tokens.
_SHORTEST: Final = 256
_LONGEST: Final = 2048
_PROMPTS: Final = 2  # taken from the data where the recipe names none
_PROMPT_LENGTH: Final = 400


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run computes.

    Parameters
    ----------
    recipe
        With nothing left open.
    batches, validation
        Micro-batches to train on, and to measure with.
    steps
        Optimiser steps in all.
    prompts
        Fixed prompts.
    notes
        What became of the data.
    """

    recipe: "Recipe"
    batches: BatchPlan | PreferencePlan
    validation: list[MicroBatch]
    steps: int
    prompts: tuple[str, ...]
    notes: tuple[str, ...]


def prepare(folder: RunFolder, parts: "Parts", between: Callable[[], object] | None = None) -> Prepared:
    """Read and encode the data of a run, and decide what its recipe leaves open.

    Parameters
    ----------
    between
        Called now and then, while there is much to encode.

    Raises
    ------
    DataError, TrainingError
        If the data cannot be read, or hold nothing to learn.
    """
    recipe = folder.recipe
    train, held = load_data(folder.train_file), load_data(folder.validation_file)
    date = _date(folder)
    decided = folder.plan
    if isinstance(decided.get("max_tokens"), int):
        recipe = dataclasses.replace(recipe, max_tokens=decided["max_tokens"])
    if isinstance(decided.get("checkpointing"), bool):
        recipe = dataclasses.replace(recipe, checkpointing=decided["checkpointing"])
    encoded, recipe = rows_to_train(train, recipe, parts, date, between)
    assert recipe.max_tokens is not None
    measured = _encode_held(held, recipe, parts, recipe.max_tokens, date)
    batches = batch_plan(encoded, recipe)
    _keep_counts(folder, encoded, measured)
    return Prepared(
        recipe,
        batches,
        _all_of(batch_plan(measured, recipe)) if measured is not None else [],
        recipe.steps_for(batches.per_epoch),
        recipe.sample_prompts or _prompts_of(held if len(held) else train),
        encoded.notes,
    )


def rows_to_train(
    train: TrainingData,
    recipe: "Recipe",
    parts: "Parts",
    date: str,
    between: Callable[[], object] | None = None,
) -> tuple[Encoded | EncodedPreferences, "Recipe"]:
    """Return the rows of a run, and its recipe with the longest row decided.

    Raises
    ------
    DataError, TrainingError
        As `encode` and, for the objective "dpo", `encode_preferences`.
    """
    limit = min(recipe.max_tokens or parts.engine.context, parts.engine.context)
    if recipe.max_tokens is not None:
        recipe = dataclasses.replace(recipe, max_tokens=limit)
        return _encode(train, recipe, parts, limit, date, between), recipe
    whole = dataclasses.replace(recipe, overlong="cut")
    encoded = _encode(train, whole, parts, limit, date, between)
    longest = max(len(row) + row.cut for row in encoded.rows)
    most = min(limit, max(_SHORTEST, min(longest, _LONGEST)))
    if longest > most:
        encoded = _encode(train, recipe, parts, most, date, between)
    return encoded, dataclasses.replace(recipe, max_tokens=most)


def batch_plan(encoded: Encoded | EncodedPreferences, recipe: "Recipe") -> BatchPlan | PreferencePlan:
    """Return the micro-batches of rows that `rows_to_train` gave with this recipe."""
    if isinstance(encoded, EncodedPreferences):
        return PreferencePlan(encoded.rows, batch=recipe.batch, seed=recipe.seed)
    assert recipe.max_tokens is not None
    return BatchPlan(
        encoded.rows,
        batch=recipe.batch,
        packing=recipe.packing,
        max_tokens=recipe.max_tokens,
        seed=recipe.seed,
    )


def today() -> str:
    """Return the date as templates write it."""
    return time.strftime("%d %b %Y")


def look_at(data: TrainingData, recipe: "Recipe", parts: "Parts", most: int) -> None:
    """Encode the first `most` examples, to find out early what is wrong with them.

    Raises
    ------
    DataError, TrainingError
        As `encode`; that nothing is trained only where these are all examples.
    """
    first = dataclasses.replace(data, examples=data.examples[:most])
    context = parts.engine.context
    try:
        _encode(first, recipe, parts, min(recipe.max_tokens or context, context), today())
    except TrainingError:
        if len(first) == len(data):
            raise


def _encode(
    data: TrainingData,
    recipe: "Recipe",
    parts: "Parts",
    most: int,
    date: str,
    between: Callable[[], object] | None = None,
) -> Encoded | EncodedPreferences:
    loaded = parts.loaded
    options: dict[str, Any] = {
        "max_tokens": most,
        "overlong": recipe.overlong,
        "name": parts.name,
        "date": date,
        "trusted": parts.engine.trusted,
        "between": between,
    }
    if recipe.objective == "dpo":
        return encode_preferences(data, loaded.tokenizer, loaded.chat_template, **options)
    mask: Any = recipe.mask
    return encode(data, loaded.tokenizer, loaded.chat_template, mask=mask, **options)


def _encode_held(
    held: TrainingData, recipe: "Recipe", parts: "Parts", most: int, date: str
) -> Encoded | EncodedPreferences | None:
    try:
        return _encode(held, recipe, parts, most, date) if len(held) else None
    except TrainingError:  # nothing in these few examples is trained, so nothing can be measured
        return None


def _all_of(plan: BatchPlan | PreferencePlan) -> list[MicroBatch]:
    return [plan.micro_batch(number) for number in range(plan.per_epoch)]


def _prompts_of(data: TrainingData) -> tuple[str, ...]:
    """Return the first questions of a few examples, to be answered as the model learns."""
    found: list[str] = []
    for example in data.examples:
        asked = next((each.content for each in example.messages if each.role == "user"), example.prompt)
        if asked.strip() and len(asked) <= _PROMPT_LENGTH and asked not in found:
            found.append(asked)
        if len(found) == _PROMPTS:
            break
    return tuple(found)


def _date(folder: RunFolder) -> str:
    """Return the date that templates write: that of the run's first day, whenever it goes on."""
    kept: Any = folder.data.get("date")
    if isinstance(kept, str):
        return kept
    date = today()
    replace_json(folder.data_file, {**folder.data, "date": date})
    return date


def _keep_counts(
    folder: RunFolder, train: Encoded | EncodedPreferences, held: Encoded | EncodedPreferences | None
) -> None:
    counts = {
        "rows": train.counts["rows"],
        "validation_rows": held.counts["rows"] if held is not None else 0,
        "tokens": train.counts["tokens"],
        "trained": train.counts["trained"],
    }
    replace_json(folder.data_file, {**folder.data, **counts})
