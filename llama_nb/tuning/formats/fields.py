"""Fields of a record, with errors that name the nearest one; shared by the formats, and no format itself."""

from collections.abc import Mapping
from typing import Any

from llama_nb.core.errors import DataError, did_you_mean


def text_of(record: Mapping[str, Any], name: str, where: str, *, required: bool = True) -> str:
    """Return the text under `name`; an empty one for what is null, and for what need not be there.

    Raises
    ------
    DataError
        If the field is missing or holds no text, with the fields there are.
    """
    if name not in record:
        if not required:
            return ""
        given = [str(key) for key in record]
        raise DataError(
            f"{where}: there is no {name!r} (its fields: {', '.join(given[:8]) or 'none'}).",
            did_you_mean(name, given) or "Every record needs the same fields.",
        )
    value = record[name]
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)  # a table's column of numbers
    if not isinstance(value, str):
        raise DataError(
            f"{where}: {name!r} is a {type(value).__name__}, not text.",
            "Conversations are given as lists of messages; see `%llama help train`.",
        )
    return value
