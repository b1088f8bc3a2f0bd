"""For a notebook's kernel: a model that says again, word for word, what it was told.

Asked a hostile text it answers with it, so that the text is shown as the user's and as the model's, through
the real session and the real view.
"""

from collections.abc import Iterator
from typing import Any

from llama_nb.core.events import TokenEvent
from llama_nb.core.stop import StopFlag
from llama_nb.session.model import Model
from tests.hostile.corpus import cases
from tests.magics import fake

# Characters that come as one token: many texts are cut inside of a tag.
PIECE = 23


class Parrot(fake.ScriptedEngine):
    """Answers with the last message, or with what `answers` holds for it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.answers: dict[str, str] = {}

    def _tokens(self, request: Any, stop: StopFlag, began: float) -> Iterator[TokenEvent]:
        asked = request.input[-1].content
        text = self.answers.get(asked, asked)
        pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
        for number, piece in enumerate(pieces, start=1):
            yield TokenEvent(piece, id=number)
        return len(pieces)


def install() -> Model:
    """Make the parrot the current model."""
    model = fake.install("parrot")
    model._engine = Parrot("parrot")
    return model


def say(model: Model, canary: str, start: int, stop: int) -> None:
    """Have the model say some of the hostile cases, each in a chat of its own."""
    for number, case in enumerate(cases(canary)[start:stop], start=start):
        if sendable(case.text):
            model.chat(case.text, chat=f"case-{number}", system=case.text)
        else:
            model.engine.answers[case.name] = case.text
            model.chat(case.name, chat=f"case-{number}")


def sendable(text: str) -> bool:
    """Whether a user could send the text: half of a surrogate pair is refused, but a model may write it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return bool(text.strip())
