"""Loading from a recording: which file and which model in it answer for a source, without its weights.

Playing the replies back is `engines/replay_engine.py`'s business.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Never

from llama_nb.core.errors import LoadError, RecordingError, UnsupportedError, did_you_mean
from llama_nb.core.events import Note, publish
from llama_nb.engines.recorded import RecordedModel, Recording, read_recording
from llama_nb.runtime.environment import notebook_path
from llama_nb.session.record import SUFFIX, default_file

VARIABLE: Final = "LLAMA_NB_REPLAY"
_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class RecordedFiles:
    """What a recording says of a model's files; as `Checked` of a model that is there.

    Attributes
    ----------
    folder
        The recording.
    """

    folder: Path
    name: str
    config: Mapping[str, Any]
    parameters: int
    context: int
    model_type: str
    has_chat_template: bool
    fingerprint: str


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """A recorded model in the place of one in memory; as `Loaded`, without weights and tokenizer."""

    recorded: RecordedModel
    checked: RecordedFiles
    dtype: str
    device: str
    quant: str | None
    bytes: int
    generation: Mapping[str, Any]
    quant_notes: tuple[str, ...] = ()
    chat_template: str | None = None
    kind: str = field(default="replay", init=False)

    @property
    def module(self) -> Never:
        """Refuse: there are no weights."""
        raise self._refused("weights are")

    @property
    def tokenizer(self) -> Never:
        """Refuse: there is none."""
        raise self._refused("tokenizer is")

    def _refused(self, what: str) -> UnsupportedError:
        return UnsupportedError(
            f"{self.checked.name} is played back from {self.checked.folder.name}: its {what} not here.",
            f"Load the model itself: %llama load {self.recorded.facts.source}",
        )


def find_replayed(
    source: str | Path,
    replay: str | Path | bool | None,
    *,
    name: str | None = None,
    quant: str | None = None,
    dtype: str = "auto",
    context: int | None = None,
    also: Iterable[Path] = (),
) -> Replayed | None:
    """Return the recorded model that stands for `source`; None when it is to be loaded itself.

    Parameters
    ----------
    replay
        The recording; True for the notebook's own. None: the file that LLAMA_NB_REPLAY names, if it holds
        the source. False: none, whatever LLAMA_NB_REPLAY says.
    name, quant, dtype, context
        As of `load`; a model that was recorded otherwise is refused.
    also
        Recordings that are looked into as into that of LLAMA_NB_REPLAY, before it.

    Raises
    ------
    RecordingError
        If the recording is missing or cannot be read.
    LoadError
        If it holds no such model.
    """
    if replay is False:
        return None
    variable = os.environ.get(VARIABLE, "").strip()
    files = [*also] if replay is None else []
    if replay is not None or variable:
        files.append(_chosen(replay, variable))
    for file in dict.fromkeys(files):
        recording = read_recording(file)
        found = [model for model in recording.models.values() if _is(model, str(source))]
        if found:
            names = [name] if name is not None else [str(source), Path(source).name]
            model = _loaded_alike(found, names, quant, dtype, context, file.name)
            _tell(recording, model)
            return _replayed(model, file, name)
        if replay is not None:
            raise _not_there(str(source), recording)
    return None


def _replayed(model: RecordedModel, file: Path, name: str | None) -> Replayed:
    facts = model.facts
    files = RecordedFiles(
        file,
        name or facts.name,
        facts.config,
        facts.parameters,
        facts.context,
        facts.model_type,
        facts.template is not None,
        facts.fingerprint,
    )
    return Replayed(
        model, files, facts.dtype, facts.device, facts.quant, facts.bytes, facts.generation, facts.quant_notes
    )


def _chosen(replay: str | Path | Literal[True] | None, variable: str) -> Path:
    """Return the file that is meant."""
    if replay is None:
        file = Path(variable).expanduser()
        if not file.is_file():
            raise RecordingError(
                f"{VARIABLE} names {file.name}, and there is no such file.",
                f"Record it where the model is (%llama record {file.name}), or unset {VARIABLE}.",
            )
        return file
    if replay is not True:
        return Path(replay).expanduser()
    file = default_file()
    if notebook_path() is None and not file.is_file():
        # Nobody says which notebook this is (nbclient, nbval): the folder's only recording is its.
        there = sorted(Path.cwd().glob(f"*{SUFFIX}"))
        if len(there) == 1:
            return there[0]
        if there:
            names = ", ".join(path.name for path in there[:_MOST_NAMED])
            more = " ..." if len(there) > _MOST_NAMED else ""
            raise RecordingError(
                f"There are {len(there)} recordings here: {names}{more}.",
                f"Name one: --replay {there[0].name}",
            )
    if not file.is_file():
        raise RecordingError(
            f"There is no {file.name} beside the notebook: nothing was recorded.",
            "Record it where the model is: %llama record, then run the notebook. Another file: --replay FILE",
        )
    return file


def _is(model: RecordedModel, source: str) -> bool:
    """Whether a recorded model was loaded from `source`; of a folder or file the last name is enough."""
    recorded = model.facts.source
    if recorded.startswith(("/", ".", "~")):
        return Path(recorded).name == Path(source).name
    return recorded == source


def _not_there(source: str, recording: Recording) -> LoadError:
    sources = list(dict.fromkeys(model.facts.source for model in recording.models.values()))
    if not sources:
        return LoadError(
            f"{recording.path.name} holds no recorded replies.",
            "Name a file that %llama record wrote: --replay FILE",
        )
    near = did_you_mean(source, sources) or f"To play back: %llama load {sources[0]} --replay"
    named = ", ".join(sources[:_MOST_NAMED])
    return LoadError(f"{recording.path.name} holds replies of {named}, none of {source!r}.", near)


def _loaded_alike(
    found: Sequence[RecordedModel],
    names: Collection[str],
    quant: str | None,
    dtype: str,
    context: int | None,
    file: str,
) -> RecordedModel:
    """Return the model that was loaded as is asked now: the newest one, best one of `names`."""
    differing: list[str] = []
    ordered = sorted(enumerate(found), key=lambda pair: (pair[1].facts.name not in names, -pair[0]))
    for _, model in ordered:
        facts = model.facts
        asked = {
            "quant": (facts.quant, facts.quant if quant == "auto" else quant),
            "dtype": (facts.dtype, facts.dtype if dtype == "auto" else dtype),
            "context": (facts.context, context or facts.context),
        }
        differing = [
            f"{what} was {was or 'none'}, and is {now or 'none'} now"
            for what, (was, now) in asked.items()
            if was != now
        ]
        if not differing:
            return model
    source = found[-1].facts.source
    raise RecordingError(
        f"{source} was recorded otherwise in {file}: {'; '.join(differing)}.",
        f"Load it as it was recorded, or record it anew: %llama record {file}",
    )


def _tell(recording: Recording, model: RecordedModel) -> None:
    """Say what is played back, and what of the file could not be read."""
    count = sum(len(lines) for question in model.questions.values() for lines in question.lines.values())
    replies = f"{count:,} recorded {'reply' if count == 1 else 'replies'} of {recording.path.name}"
    skipped = ""
    if recording.skipped:
        number, why = recording.skipped[0]
        lines = "1 line" if len(recording.skipped) == 1 else f"{len(recording.skipped)} lines"
        skipped = f" {lines} of the file could not be read and are left out (line {number}: {why})."
    publish(
        Note(
            f"{model.facts.name} itself is not loaded: {replies} {'is' if count == 1 else 'are'} played back."
            f"{skipped}"
        )
    )
