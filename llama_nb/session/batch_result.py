"""What a batch brought: a row a prompt, as values. Running it is `batch`'s business, showing it render's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class BatchRow:
    """The answer to one prompt.

    Attributes
    ----------
    row
        Its place among the prompts, from 0.
    prompt
        The text that was asked: of a conversation the last message.
    reply
        The answer; None where there is none: it failed, or was not computed before a stop.
    finish
        Why the answer ended ("end", "length", "stop_string", "context"), "error", or "" when not computed.
    tokens
        How many tokens the answer has.
    seed
        The seed of its random generator; None for greedy decoding.
    error
        Why there is no answer.
    """

    row: int
    prompt: str
    reply: str | None = None
    finish: str = ""
    tokens: int = 0
    seed: int | None = None
    error: str = ""

    @property
    def done(self) -> bool:
        """Whether it was answered or failed."""
        return bool(self.finish)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What `Model.batch` returns.

    Attributes
    ----------
    model
        The model's name.
    rows
        One a prompt, in the order of the prompts.
    index
        What names the rows, as a Series had it; None: their numbers.
    seconds
        How long this run took.
    restored
        How many rows were in the file of results already and were not computed again.
    computed_tokens
        How many tokens this run wrote.
    stopped
        Whether somebody stopped it before the end.
    out
        The file of results.
    """

    model: str
    rows: tuple[BatchRow, ...]
    index: tuple[Any, ...] | None = None
    seconds: float = 0.0
    restored: int = 0
    computed_tokens: int = 0
    stopped: bool = False
    out: str | None = None

    @property
    def replies(self) -> list[str | None]:
        """The answers in the order of the prompts; None where there is none."""
        return [row.reply for row in self.rows]

    @property
    def errors(self) -> Mapping[int, str]:
        """The reasons of the rows that failed, by row."""
        return {row.row: row.error for row in self.rows if row.error}

    @property
    def missing(self) -> int:
        """How many rows were not computed before a stop."""
        return sum(not row.done for row in self.rows)

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens written a second over this run; None if it wrote none."""
        return self.computed_tokens / max(self.seconds, 1e-9) if self.computed_tokens else None

    def to_frame(self) -> "pd.DataFrame":
        """Return one row a prompt.

        Columns: prompt, reply, finish, tokens, seed, error. The index is that of the Series or DataFrame.
        """
        import pandas as pd

        columns = ("prompt", "reply", "finish", "tokens", "seed", "error")
        values: Sequence[dict[str, Any]] = [
            {column: getattr(row, column) for column in columns} for row in self.rows
        ]
        frame = pd.DataFrame(values, columns=list(columns), index=self.index)
        return frame.astype({"seed": "Int64"})

    def __len__(self) -> int:
        return len(self.rows)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.batch import bundle
        from llama_nb.runtime.environment import detect

        return bundle(self, watched=detect().watched)

    def __repr__(self) -> str:
        answered = sum(row.reply is not None for row in self.rows)
        return f"BatchResult({self.model}: {answered} of {len(self.rows)} answered)"
