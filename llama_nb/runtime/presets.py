"""Finds sampling presets by name, and keeps the user's own ones in `presets.json` of their llama-nb folder.

The file is read when a name is asked for that is not built in, so a damaged one stops nothing else.
"""

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from llama_nb.core.errors import PresetError, SamplingError, did_you_mean
from llama_nb.core.presets import PRESETS, Preset
from llama_nb.core.sampling import FIELDS, Sampling, check_names
from llama_nb.runtime.settings import home

_LONGEST_FILE: Final = 1_000_000  # bytes; a thousand presets
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


def presets_file() -> Path:
    """Return where the user's presets are; it need not exist."""
    return home() / "presets.json"


def user_presets() -> dict[str, Preset]:
    """Return the user's own presets by name.

    Raises
    ------
    PresetError
        If the file cannot be read, or something in it is no preset: the file, the name and the key are named.
    """
    return {name: Preset(name, values, "yours") for name, values in _read().items() if name not in PRESETS}


def names() -> list[str]:
    """Return every name that `find` knows; with a damaged file the built-in ones."""
    try:
        return [*PRESETS, *user_presets()]
    except PresetError:
        return list(PRESETS)


def find(name: str) -> Preset:
    """Return the preset called `name`.

    Raises
    ------
    PresetError
        If there is none (the nearest is named), or the user's file is damaged.
    """
    if not isinstance(name, str):
        raise PresetError(f"preset is {name!r}, which is no name.", "%llama presets lists them.")
    if name in PRESETS:
        return PRESETS[name]
    own = user_presets()
    if name not in own:
        hint = did_you_mean(name, [*PRESETS, *own]) or f"The presets are: {', '.join([*PRESETS, *own])}."
        raise PresetError(f"There is no preset {name!r}.", hint)
    return own[name]


def expand(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return sampling options with `preset` replaced by its values; those beside it win."""
    rest = dict(options)
    name = rest.pop("preset", None)
    return rest if name is None else {**find(name).values, **rest}


def save(name: str, values: Mapping[str, Any]) -> bool:
    """Keep `values` as the user's preset `name`; return whether it replaced one.

    Raises
    ------
    PresetError
        If the name is taken by a built-in preset or cannot be one, or the file is damaged: it stays as it is.
    """
    if name in PRESETS:
        raise PresetError(f"{name!r} is a built-in preset.", "Choose another name.")
    if not _NAME.fullmatch(name):
        raise PresetError(
            f"{name[:60]!r} cannot be the name of a preset.",
            "A name has 1 to 40 letters, digits, dots, dashes or underscores.",
        )
    check_names(values)
    checked = Sampling(**values).to_dict()
    everything = _read()
    replaced = name in everything
    everything[name] = {key: checked[key] for key in FIELDS if key in values}
    _write(everything)
    return replaced


def delete(name: str) -> None:
    """Forget the user's preset `name`.

    Raises
    ------
    PresetError
        If it is built in or does not exist, or the file is damaged.
    """
    if name in PRESETS:
        raise PresetError(f"{name!r} is a built-in preset; it cannot be deleted.")
    everything = _read()
    if name not in everything:
        own = ", ".join(everything) or "none yet"
        raise PresetError(f"You have no preset {name!r}.", did_you_mean(name, everything) or f"Yours: {own}.")
    del everything[name]
    _write(everything)


def _read() -> dict[str, dict[str, Any]]:
    """The file's content, checked: parameters by preset."""
    path = presets_file()
    try:
        with path.open("rb") as file:
            raw = file.read(_LONGEST_FILE + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _damaged(f"cannot be read ({error.strerror})") from None
    if len(raw) > _LONGEST_FILE:
        raise _damaged(f"is larger than {_LONGEST_FILE:,} bytes")
    try:
        found = json.loads(raw.decode())
    except UnicodeDecodeError:
        raise _damaged("is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise _damaged(f"is not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except (RecursionError, ValueError):
        raise _damaged("is not JSON that can be read") from None
    if not isinstance(found, dict):
        raise _damaged("does not hold an object of presets")
    for name, values in found.items():
        _check(name, values)
    return found


def _check(name: str, values: Any) -> None:
    if not _NAME.fullmatch(name):
        raise _damaged(f"names a preset {name[:60]!r}, which no preset can be called")
    if not isinstance(values, dict):
        raise _damaged(f"has no object of parameters for {name!r}")
    for key, value in values.items():
        try:
            check_names({key: value})
            Sampling(**{key: value})
        except (SamplingError, TypeError) as error:
            said = error.message if isinstance(error, SamplingError) else f"{value!r} cannot be its value."
            raise _damaged(f"is wrong at {name!r}, {key!r}: {said.rstrip('.')}") from None


def _damaged(what: str) -> PresetError:
    return PresetError(
        f"The file of your presets {what}: {presets_file()}",
        "Correct or delete that file; the built-in presets work without it.",
    )


def _write(everything: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace the file as a whole: what is read is the old one or the new one."""
    path = presets_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(everything, indent=1, sort_keys=True, ensure_ascii=False)
    handle, temporary = tempfile.mkstemp(prefix=".presets-", suffix=".json", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
