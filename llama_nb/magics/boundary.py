"""From an exception to the few lines that a notebook user needs.

The exception itself is raised on, so the cell fails and `except LlamaError` works; only this instance learns
to render itself shortly. The Python API shows the usual traceback. Nothing here knows what the verbs do.
"""

import contextlib
import re
import textwrap
from collections.abc import Iterator
from typing import Final

from llama_nb.core.errors import LlamaError
from llama_nb.render.clean import clean
from llama_nb.runtime.secrets import redact

MAX_LINES: Final = 12
WIDTH: Final = 110
_RED: Final = "\x1b[31m"
_PLAIN: Final = "\x1b[39m"
_COLOURS: Final = re.compile(r"\x1b\[\d+m")


class CommandError(LlamaError):
    """A `%llama` line cannot be understood: an unknown verb or option, a value missing or not allowed."""


class ReplyInterrupted(KeyboardInterrupt):
    """The kernel's interrupt stopped a reply. The reply is kept; queued cells do not run."""

    def __init__(self, tokens: int) -> None:
        kept = "1 token" if tokens == 1 else f"{tokens} tokens"
        super().__init__(f"Stopped: {kept} kept in the chat; queued cells were not run.")


@contextlib.contextmanager
def few_lines(*, debug: bool, colour: bool = True) -> Iterator[None]:
    """Let what is raised inside the block show as a few lines; with `debug` as the full traceback.

    `_render_traceback_` is set on the instance: a UsageError would let the cell pass under nbval, and a
    method of the class would shorten what users of the Python API see.
    """
    try:
        yield
    except BaseException as error:
        _redact(error)
        if debug:
            error.__dict__.pop("_render_traceback_", None)
        else:
            lines = [line if colour else _COLOURS.sub("", line) for line in _lines(error)]
            if lines:
                # Bound now: Python deletes the name `error` before IPython renders it.
                error._render_traceback_ = lambda shown=tuple(lines): list(shown)  # type: ignore[attr-defined]
        raise


def _redact(error: BaseException) -> None:
    """Take keys out of the error itself: a notebook also stores its text."""
    error.args = tuple(redact(part) if isinstance(part, str) else part for part in error.args)
    if isinstance(error, LlamaError):
        error.message, error.hint = redact(error.message), redact(error.hint)


def _lines(error: BaseException) -> list[str]:
    if isinstance(error, ReplyInterrupted):
        return [str(error)]
    if isinstance(error, KeyboardInterrupt):
        return [f"{_RED}Interrupted{_PLAIN}: stopped before the end; queued cells were not run."]
    if isinstance(error, LlamaError):
        return _heading(error, error.message) + _wrap(error.hint, keep=MAX_LINES // 2 - 1)
    if isinstance(error, Exception):
        return [
            *_heading(error, str(error)),
            "This is a fault in llama-nb or in something it relies on. Chats, variables and models are kept.",
            "Run the same line again with --debug to see the whole traceback.",
        ]
    return []


def _heading(error: BaseException, message: str) -> list[str]:
    lines = _wrap(f"{type(error).__name__}: {message or 'no message'}", keep=MAX_LINES // 2)
    name, _, rest = lines[0].partition(":")
    return [f"{_RED}{name}{_PLAIN}:{rest}", *lines[1:]]


def _wrap(text: str, *, keep: int) -> list[str]:
    lines: list[str] = []
    for line in clean(text).splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        lines += textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False) or [""]
    if len(lines) > keep:
        lines = [*lines[: keep - 1], f"... and {len(lines) - keep + 1} more lines (--debug shows them)"]
    return lines


def debug_asked(line: str) -> bool:
    """Return whether `--debug` stands on the line, before it is parsed: parsing may be what fails."""
    return "--debug" in line.split()
