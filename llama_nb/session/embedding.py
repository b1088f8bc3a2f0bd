"""Texts to vectors: checks what is asked, and normalises what the engine pooled."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import MessageError, Stopped, UnsupportedError, did_you_mean
from llama_nb.core.stop import StopFlag
from llama_nb.session.asking import check_text
from llama_nb.session.batch import check_size
from llama_nb.session.generation import interrupt_stops

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from llama_nb.engines.base import Engine

POOLINGS: Final = ("mean", "last")


def embed_texts(
    engine: "Engine",
    texts: Iterable[Any],
    *,
    pooling: str,
    normalise: bool,
    truncate: bool,
    batch_size: int | None,
    stop: StopFlag | None,
) -> "npt.NDArray[np.float32]":
    """Return the vectors of `texts`; see Model.embed."""
    import numpy as np

    if not engine.capabilities.embeddings:
        raise UnsupportedError(
            f"{engine.name} gives no embeddings: its hidden states are elsewhere.",
            "They need a model in this kernel: %llama load ...",
        )
    if pooling not in POOLINGS:
        raise MessageError(
            f"pooling is {pooling!r}.",
            did_you_mean(str(pooling), POOLINGS) or f"One of: {', '.join(POOLINGS)}.",
        )
    read = _read(texts)
    flag = stop or StopFlag()
    with interrupt_stops(flag):
        found = engine.embed(
            read,
            flag,
            pooling="last" if pooling == "last" else "mean",
            truncate=truncate,
            batch_size=check_size(batch_size),
        )
    if found is None:
        raise Stopped(f"Embedding {len(read):,} texts was stopped.")
    vectors: npt.NDArray[np.float32] = found
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise UnsupportedError(
            f"The hidden states of texts[{int(bad.argmax())}] are NaN or infinite: the weights are damaged, "
            "or overflow in this dtype.",
            "Load the model again with `--dtype float32`.",
        )
    if normalise:
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return vectors


def _read(texts: Iterable[Any]) -> list[str]:
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise MessageError(
            f"embed() takes a list of texts, not one {type(texts).__name__}.",
            'An example: m.embed(["a text"])',
        )
    read = list(texts)
    if not read:
        raise MessageError("There are no texts to embed.")
    for index, text in enumerate(read):
        if not isinstance(text, str):
            raise MessageError(f"texts[{index}] is a {type(text).__name__}, not text.")
        if not text.strip():
            raise MessageError(f"texts[{index}] is empty.", "Leave empty texts out.")
        check_text(text, f"texts[{index}]")
    return read
