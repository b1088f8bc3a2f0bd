"""A text as the model's tokens, as a value."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine


@dataclass(frozen=True, slots=True)
class TokenView:
    """The tokens of a text.

    Attributes
    ----------
    source
        The text.
    ids, texts
        Each token's id, and what it shows as (the bytes of an incomplete character as `<0xF0>`).
    """

    source: str
    ids: tuple[int, ...]
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return iter(zip(self.ids, self.texts, strict=True))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.tokens import tokens_bundle

        return tokens_bundle([{"id": token, "text": text} for token, text in self])

    def __str__(self) -> str:
        return "|".join(self.texts)

    def __repr__(self) -> str:
        return f"TokenView({len(self.ids)} tokens, {len(self.source)} characters)"


def view_tokens(engine: "Engine", text: str) -> TokenView:
    """Tokenise `text` with the engine's tokenizer."""
    ids = engine.tokenize(text)
    return TokenView(text, ids, tuple(engine.token_texts(ids)))
