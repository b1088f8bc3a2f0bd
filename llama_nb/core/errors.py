"""One base class and a few kinds, so that errors can be caught by type.

An error says what happened and the value (`message`), and what to do next (`hint`: a sentence or a command).
How an error is shown in a cell is the magics' business, not ours.
"""

import difflib
from collections.abc import Iterable


class LlamaError(Exception):
    """Base of every error that llama-nb raises on purpose.

    Parameters
    ----------
    message
        What happened, with the offending value and the likely cause.
    hint
        What to do next: a sentence, or the command to run.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class LoadError(LlamaError):
    """A source cannot be loaded: missing, damaged, refused or not a Llama that we know."""


class FitError(LoadError):
    """The model does not fit into the memory that is free."""


class LoadCancelled(LoadError):
    """Loading was stopped by whoever asked for it; what it took is given back."""


class ConvertError(LlamaError):
    """A model or an adapter cannot be written in another format."""


class ModelGone(LlamaError):
    """A handle is used after its model was unloaded or replaced."""


class ModelBusy(LlamaError):
    """A model cannot be unloaded or replaced because something uses it."""


class CatalogError(LlamaError, LookupError):
    """A name stands for no model, licence, GPU or provider of the catalogue, or for several."""


class SelectionError(LlamaError, ValueError):
    """Wishes for a model contradict each other, or no model fulfils them all."""


class SamplingError(LlamaError, ValueError):
    """A sampling parameter is unknown or out of its range."""


class PresetError(SamplingError):
    """A preset does not exist, cannot be called that, or stands damaged in its file."""


class MessageError(LlamaError, ValueError):
    """A conversation is malformed: no content, an unknown role, nothing to send."""


class SchemaError(LlamaError, ValueError):
    """A schema, pattern or choice cannot be used, or a reply does not hold what it asks for."""


class ToolError(LlamaError, ValueError):
    """A function cannot be a tool, or a call was not run because nobody could be asked."""


class ContextOverflow(LlamaError):
    """The prompt does not fit into the model's context."""


class TemplateError(LlamaError):
    """A `{{ expression }}` in a cell, or a model's chat template, cannot be rendered."""


class EngineError(LlamaError):
    """The engine failed while it computed: non-finite logits, out of memory, an internal error."""


class UnsupportedError(LlamaError):
    """This model or engine cannot do what was asked; the hint names what can."""


class BatchError(LlamaError, ValueError):
    """The data of a batch cannot be read, or its file of results is not this batch's."""


class CostError(LlamaError, ValueError):
    """An amount or a price is missing, impossible, or not written so that it can be read."""


class InterventionError(LlamaError, ValueError):
    """A part of a model that is to be turned off is written wrongly, or the model has none such."""


class TraceError(LlamaError, ValueError):
    """What was captured has no such layer, head or token, is too large, or stands damaged in its file."""


class RecordingError(LlamaError):
    """Replies cannot be recorded or played back, or what is asked differs from what was recorded."""


class DataError(LlamaError, ValueError):
    """Data to train on cannot be read: no such file, a broken line, no known format, no rows."""


class TrainingError(LlamaError):
    """Training cannot begin or go on: a recipe out of range, nothing to learn from, a loss that is none."""


class AdapterError(LlamaError):
    """An adapter does not exist, belongs to another base, or cannot be made, read or merged."""


class Stopped(LlamaError):
    """Work was stopped by the user before it had a result."""


class ChatStoreError(LlamaError):
    """A stored chat cannot be read or written."""


def nearest(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return the entries of `known` that look most like `word`, best first (possibly none)."""
    names = list(known)
    lowered = {name.lower(): name for name in names}
    hits = difflib.get_close_matches(word.lower(), lowered, n=count, cutoff=0.55)
    return [lowered[hit] for hit in hits]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "Did you mean X?" for the nearest known name, or an empty string."""
    hits = nearest(word, known, 1)
    return f"Did you mean {hits[0]!r}?" if hits else ""
