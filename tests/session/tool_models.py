"""A model without weights that calls functions by a script, for tests of `Model.tools`."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llama_nb.core.events import TokenEvent
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag
from llama_nb.engines.base import Prompt
from llama_nb.session.chat import Journal
from llama_nb.session.model import Model
from tests.session.fakes import FakeEngine, fake_model

TAG = "<|python_tag|>"
TAG_ID = 100_000


def call(name: str, /, **arguments: Any) -> str:
    """Return a call as Llama 3.1 writes it, mark and all."""
    return TAG + json.dumps({"name": name, "parameters": arguments})


class CallingEngine(FakeEngine):
    """Says the next of `says` to each request; a text that begins with TAG begins with that token.

    The entries are texts, or functions of the request that return one.
    """

    def __init__(self, *says: str | Callable[[Request], str], **options: Any) -> None:
        super().__init__(**options)
        self.says = list(says)

    def prompt(self, request: Request) -> Prompt:
        """Render as FakeEngine does, the tools' descriptions first."""
        if request.input == TAG:
            return Prompt((TAG_ID,), TAG)
        prompt = super().prompt(request)
        return Prompt(prompt.ids, f"{json.dumps(request.tools)}{prompt.text}", prompt.spans, prompt.literal)

    def is_special(self, token: int) -> bool:
        """Know the mark."""
        return token == TAG_ID

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """Name the mark."""
        return [TAG if token == TAG_ID else f"t{token}" for token in ids]

    def _tokens(self, request: Request, stop: StopFlag, started: float) -> Iterator[TokenEvent]:
        said = self.says.pop(0) if self.says else "Nothing more."
        text = said if isinstance(said, str) else said(request)
        if text.startswith(TAG):
            yield TokenEvent("", TAG_ID, -0.1, 0.1)
            text = text.removeprefix(TAG)
        self.rule = lambda _: [text[at : at + 5] for at in range(0, len(text), 5)]
        yield from super()._tokens(request, stop, started)


def calling(*says: str | Callable[[Request], str], journal: Journal | None = None, **options: Any) -> Model:
    """Return a Model over a CallingEngine."""
    return fake_model(CallingEngine(*says, **options), journal=journal)


def last_result(request: Request) -> str:
    """Return what the last call gave, as the model was told."""
    last = request.input[-1]
    assert isinstance(last, Message)
    assert last.role == "tool"
    return last.content
