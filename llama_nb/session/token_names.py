"""What token ids are called, for values that outlive their model: names stay, the tokenizer is let go."""

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING

from llama_nb.core.errors import ModelGone
from llama_nb.core.sampling import Sampling

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine
    from llama_nb.engines.token_words import TokenWords


class TokenNames:
    """Texts of tokens, looked up while the engine is there and remembered.

    Parameters
    ----------
    engine
        Is referred to weakly.
    """

    def __init__(self, engine: "Engine") -> None:
        self._engine = weakref.ref(engine)
        self._known: dict[int, tuple[str, bool]] = {}

    def learn(self, ids: Iterable[int]) -> None:
        """Remember what these tokens show as, and which are control tokens."""
        engine = self._engine()
        new = [token for token in ids if token not in self._known]
        if engine is not None and new:
            for token, text in zip(new, engine.token_texts(new), strict=True):
                self._known[token] = (text, engine.is_special(token))

    def text(self, token: int) -> str:
        """Return what a token shows as; "#5" for one that was not looked up before the model was unloaded."""
        self.learn([token])
        return self._known.get(token, (f"#{token}", False))[0]

    def special(self, token: int) -> bool:
        """Whether it is a control token."""
        self.learn([token])
        return self._known.get(token, ("", False))[1]

    def words(self, sampling: Sampling, size: int) -> "TokenWords":
        """Look up the texts among the parameters in a vocabulary of `size` tokens.

        Raises
        ------
        ModelGone
            If there are such texts, but no tokenizer any more.
        SamplingError
            If a token of `logit_bias` is none.
        """
        from llama_nb.engines.token_words import NO_WORDS, find_words

        if not (sampling.logit_bias or sampling.banned or sampling.dry_multiplier):
            return NO_WORDS
        engine = self._engine()
        if engine is None:
            raise ModelGone(
                "logit_bias, banned and DRY need the model's tokenizer, and the model was unloaded.",
                "Load it again: %llama load ...",
            )
        return find_words(sampling, engine.tokenize, self.text, size)
