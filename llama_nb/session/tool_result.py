"""What a function returned, as the text that a model is told; never more than it can take."""

import json
from collections.abc import Callable
from typing import Any, Final

from llama_nb.runtime.secrets import redact

LONGEST_RESULT: Final = 20_000  # characters
LONGEST_ERROR: Final = 300


def result_text(value: Any, count_tokens: Callable[[str], int], most: int) -> tuple[str, bool]:
    """Return `value` as text, and whether it was cut.

    A text stays as it is; anything else becomes JSON, and what JSON does not know its `str`. It is cut to
    `LONGEST_RESULT` characters and to `most` tokens, and says so.
    """
    text = sendable(value if isinstance(value, str) else _as_json(value))
    whole = len(text)
    kept = text[:LONGEST_RESULT]
    while kept and (tokens := count_tokens(kept)) > most:
        kept = kept[: min(len(kept) - 1, len(kept) * most // tokens)]
    if len(kept) == whole:
        return text, False
    return f"{kept}\u2026 (cut: {whole:,} characters in all)", True


def error_text(told: str) -> str:
    """Return what a model is told in the place of a result."""
    return json.dumps({"error": sendable(told)[:LONGEST_ERROR]}, ensure_ascii=False)


def sentence_of(error: BaseException) -> str:
    """Return an error of a function in one line, without keys and passwords."""
    try:
        said = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - whatever an error of a stranger's library does when it is printed
        said = ""
    name = type(error).__name__
    return redact(f"{name}: {said}" if said else name)[:LONGEST_ERROR]


def _as_json(value: Any) -> str:
    import pydantic_core

    try:
        text = pydantic_core.to_json(value, fallback=_plain, inf_nan_mode="constants").decode()
        plain = json.loads(text)
        # Spaces behind the signs, as models were trained on and as json.dumps writes.
        return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    except Exception:  # noqa: BLE001 - a value may raise whatever it likes when it is looked at
        return _text(value)


def _plain(value: Any) -> Any:
    """Return a number of numpy's or torch's as Python's, a table or an array as lists, the rest as text."""
    for name in ("tolist", "to_dict"):
        convert = getattr(value, name, None)
        if callable(convert) and not isinstance(value, type):
            return convert()
    return _text(value)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - see `_as_json`
        return f"a {type(value).__name__} that cannot be printed"


def sendable(text: str) -> str:
    """Return `text` without halves of characters, which no tokenizer takes."""
    return text.encode("utf-8", "replace").decode("utf-8")
