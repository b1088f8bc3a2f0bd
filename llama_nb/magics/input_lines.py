"""Two things that IPython would take from us: a cell without a body, and a message that ends in "?".

The first is answered with a UsageError, which passes under nbval; the second is taken for a request for help.
"""

import tokenize
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

from IPython.core.inputtransformer2 import (
    TokenTransformBase,
    assemble_continued_line,
    find_end_of_continued_line,
)

NAME: Final = "llama"
_BEFORE_STATEMENT: Final = {tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT, tokenize.NL}


class Question(TokenTransformBase):
    """`%llama chat what is rope?` and `r = %llama chat what is rope?`, but not `%llama?`."""

    priority = 1  # IPython's own transformer of "?" has 5, and takes the smaller number first

    def __init__(self, start: tuple[int, int], magic: tuple[int, int]) -> None:
        super().__init__(start)
        self._magic = (magic[0] - 1, magic[1])

    @classmethod
    def find(cls, tokens_by_line: Sequence[Sequence[tokenize.TokenInfo]]) -> Self | None:
        """Return the first such line of a cell."""
        for line in tokens_by_line:
            if len(line) < 3 or line[-2].string != "?":
                continue
            tokens = [token for token in line if token.type not in _BEFORE_STATEMENT]
            for position, token in enumerate(tokens[:-2]):
                at_start = position == 0 or tokens[position - 1].string == "="
                name, after = tokens[position + 1 : position + 3]
                # With "?" right after it, the name itself is asked about.
                if at_start and token.string == "%" and name.string == NAME and after.start != name.end:
                    return cls(tokens[0].start, token.start)
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """Write the call that the magic stands for."""
        row, column = self._magic
        end = find_end_of_continued_line(lines, row)
        magic = assemble_continued_line(lines, (row, column), end)
        call = f"get_ipython().run_line_magic({NAME!r}, {magic[len(NAME) + 1 :].strip()!r})"
        return [*lines[:row], lines[row][:column] + call + "\n", *lines[end + 1 :]]


def add_body(lines: list[str]) -> list[str]:
    """Give a `%%llama` cell without a body an empty line for one."""
    if lines and lines[0].split(None, 1)[:1] == [f"%%{NAME}"] and not "".join(lines[1:]):
        return [lines[0].rstrip("\n") + "\n", "\n"]
    return lines


# Without this the terminal would take the first line of a cell for the whole cell.
add_body.has_side_effects = True  # type: ignore[attr-defined]


def install(shell: Any) -> Callable[[], None]:
    """Register both in `shell`; return the function that takes them back."""
    cleanups = shell.input_transformers_cleanup
    transforms = shell.input_transformer_manager.token_transformers
    cleanups.append(add_body)
    transforms.append(Question)

    def uninstall() -> None:
        for registered, ours in ((cleanups, add_body), (transforms, Question)):
            if ours in registered:
                registered.remove(ours)

    return uninstall
