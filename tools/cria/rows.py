"""Conversations to rows of token ids with a loss weight for each token.

A row is a function of (seed, recipe, step, place), so a resumed training sees what an unbroken one would.
"""

import random
from functools import lru_cache
from itertools import pairwise

import torch
from tokenizers import Tokenizer

from tools.cria import conversation, copying
from tools.cria.rendering import PAD, SPECIAL, Pieces
from tools.cria.words import seeded

Row = tuple[list[int], list[float]]


class RowMaker:
    """Makes rows of one recipe.

    Parameters
    ----------
    tokenizer : the tokenizer
    seed : the seed of all draws
    mixture : for each row length (as text, from JSON) the weight of each kind of conversation;
        ``repeated_tokens`` stands for random tokens in which passages come back
    """

    def __init__(self, tokenizer: Tokenizer, seed: int, mixture: dict[str, dict[str, float]]) -> None:
        self.tokenizer = tokenizer
        self.seed = seed
        self.mixture = mixture
        self.pad = tokenizer.token_to_id(PAD)
        self.vocabulary = range(tokenizer.get_vocab_size() - len(SPECIAL))
        self._encode = lru_cache(maxsize=20_000)(self._ids)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def encode(self, pieces: Pieces) -> Row:
        """Return ids and weights of rendered pieces."""
        ids: list[int] = []
        weights: list[float] = []
        for text, weight in pieces:
            piece = self._encode(text)
            ids += piece
            weights += [weight] * len(piece)
        return ids, weights

    def row(self, length: int, *keys: object) -> Row:
        """Return one row of ``length`` tokens, full of conversations; the last one may be cut."""
        rng = seeded(self.seed, length, *keys)
        weights = self.mixture[str(length)]
        ids: list[int] = []
        loss: list[float] = []
        while len(ids) < length:
            kind = rng.choices(list(weights), list(weights.values()))[0]
            more = (
                self._repeated(rng, length - len(ids))
                if kind == "repeated_tokens"
                else self.encode(conversation.KINDS[kind](rng).pieces)
            )
            ids += more[0]
            loss += more[1]
        return ids[:length], loss[:length]

    def _repeated(self, rng: random.Random, room: int) -> Row:
        ids = copying.repeated_tokens(rng, self.vocabulary, min(room, rng.randint(60, 200)))
        seen: set[tuple[int, int]] = set()
        weights = [0.0]
        # Only what a copy can tell is learned: the token after a pair's first half was seen before.
        for before, after in pairwise(ids):
            weights.append(0.5 if (before, after) in seen else 0.0)
            seen.add((before, after))
        return ids, weights

    def batch(self, length: int, rows: int, *keys: object) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids [rows, length] and weights [rows, length]."""
        made = [self.row(length, *keys, number) for number in range(rows)]
        return torch.tensor([ids for ids, _ in made]), torch.tensor([loss for _, loss in made])
