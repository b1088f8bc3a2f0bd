"""What a reply begins with: token ids out of another reply, checked, and the text that they have given it."""

from collections.abc import Sequence

from llama_nb.core.errors import MessageError
from llama_nb.core.request import Request
from llama_nb.engines.detokenize import StopStrings, TextStream


def check_begun(request: Request, vocabulary: int, model: str) -> None:
    """Raise MessageError if a reply cannot begin as `request` says, on a model of so many tokens."""
    for place, token in enumerate(request.begun):
        if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < vocabulary:
            raise MessageError(
                f"Token {place} that the reply begins with is {token!r}; {model} has the tokens 0 to "
                f"{vocabulary - 1:,}."
            )
    if request.continue_last:
        raise MessageError("A reply begins with tokens or goes on with the last message, not both.")


def begun_texts(stream: TextStream, stops: StopStrings, ids: Sequence[int]) -> list[str]:
    """Return what each of `ids` added to the text when it was streamed; both then stand behind them."""
    return [stops.pass_over(stream.feed(token)) for token in ids]
