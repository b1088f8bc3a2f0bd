"""Each method of quantisation on a Llama of 111 M parameters: seconds to load, bytes, tokens per second.

The peer is plain transformers with the same method: `from_pretrained`, `get_memory_footprint()`, `generate`.
What the methods cost a model that has learnt something is measured on cria, with `%%llama quantize`'s code.
"""

import gc
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.report import Row

TITLE = "Quantised models: load, memory, tokens per second, quality"
METHODS: Final = (None, "int8", "nf4", "nf4-double", "fp4", "int8-quanto", "int4-quanto", "int8-torchao")
TOKENS: Final = 16
ROUNDS: Final = 3
ENOUGH_S: Final = 20  # for the rounds of one method: some take a second a token where AVX512 is missing
BUDGET: Final = 1.0
PROMPT: Final = tuple(range(5, 13))


@dataclass(frozen=True)
class Side:
    """What one way of loading took: seconds, bytes as it counts them, tokens per second of each round."""

    load_s: float
    bytes: int
    rates: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Tokens per second, the median of the rounds."""
        return statistics.median(self.rates)


def rows_of(name: str, ours: Side, peer: Side) -> Iterator[Row]:
    """Yield the rows of a method."""
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours.rates, peer.rates, strict=True))
    yield Row(
        f"{name}: load", f"{ours.load_s:.2f} s", f"{peer.load_s:.2f} s", ours.load_s / peer.load_s, "", None
    )
    yield Row(
        f"{name}: weights",
        f"{ours.bytes / 1e6:.1f} MB",
        f"{peer.bytes / 1e6:.1f} MB (get_memory_footprint)",
        ours.bytes / peer.bytes,
        "",
        None,
    )
    yield Row(
        f"{name}: decode",
        f"{ours.rate:.1f} tokens/s",
        f"{peer.rate:.1f} tokens/s (generate)",
        ratio,
        f">= {BUDGET}x",
        ratio >= BUDGET,
    )


def measure(folder: Path, method: str | None) -> tuple[Side, Side]:
    """Load a folder in both ways and let both write in turns."""
    import torch

    started = time.perf_counter()
    engine, loaded = _ours(folder, method)
    load = time.perf_counter() - started
    started = time.perf_counter()
    module = _peer(folder, method)
    peer_load = time.perf_counter() - started
    # Only now: what the first token sets is the engine's.
    torch.set_num_threads(engine._threads)
    _write(engine, 2), _generate(module, 2)
    started = time.perf_counter()
    pairs = [(_write(engine, TOKENS), _generate(module, TOKENS))]
    while len(pairs) < ROUNDS and time.perf_counter() - started < ENOUGH_S:
        pairs.append((_write(engine, TOKENS), _generate(module, TOKENS)))
    sides = (
        Side(load, loaded.bytes, tuple(mine for mine, _ in pairs)),
        Side(peer_load, module.get_memory_footprint(), tuple(theirs for _, theirs in pairs)),
    )
    engine.close()
    del engine, loaded, module
    gc.collect()
    return sides


def _ours(folder: Path, method: str | None) -> tuple[Any, Any]:
    from llama_nb.engines.registry import open_engine
    from llama_nb.loading.open import load_checked

    loaded = load_checked(folder, device="cpu", dtype="bfloat16", quant=method)
    engine: Any = open_engine(loaded)
    engine._ends = frozenset()  # random weights end when they like
    return engine, loaded


def _peer(folder: Path, method: str | None) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    from llama_nb.loading import quantize

    chosen = {"quantization_config": quantize.find(method).config([quantize.HEAD])} if method else {}
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, **chosen).eval()


def _write(engine: Any, tokens: int) -> float:
    from llama_nb.core.request import Request
    from llama_nb.core.sampling import Sampling
    from llama_nb.core.stop import StopFlag

    request = Request(PROMPT, Sampling(temperature=0, max_tokens=tokens))
    started = time.perf_counter()
    count = len(list(engine.stream(request, StopFlag())))
    return count / (time.perf_counter() - started)


def _generate(module: Any, tokens: int) -> float:
    import torch

    ids = torch.tensor([PROMPT])
    started = time.perf_counter()
    module.generate(ids, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    return tokens / (time.perf_counter() - started)


def quality(methods: Sequence[str]) -> Iterator[Row]:
    """Yield what the methods cost cria, on sentences of the kind that it was trained on."""
    import llama_nb as llama
    from llama_nb.session.quantisations import compare_quantisations
    from tools.cria.glossary_llama import LLAMA

    text = " ".join(f"{entry.core} {entry.extra}" for entry in LLAMA)
    model = llama.load("cria")
    report = compare_quantisations(text, model, methods)
    reference = report.rows[0]
    for row in report.rows[1:]:
        found = row.quality
        yield Row(
            f"cria {row.method}: perplexity on {report.tokens} tokens",
            f"{found.perplexity:.3f}; KL {found.mean_kl:.4f} nats, top-1 {found.agreement:.1%}",
            f"{reference.quality.perplexity:.3f} ({reference.method})",
            found.perplexity / reference.quality.perplexity,
            "",
            None,
        )
    for method, reason in report.refused:
        yield Row(f"cria {method}", reason, "", None, "", None)
    model.unload()


def run() -> list[Row]:
    """Measure every method that runs here."""
    from llama_nb.loading import quantize, source
    from tests.models import write_random_llama

    tokenizer = source.resolve("cria").folder
    if tokenizer is None:
        raise RuntimeError("the bundled model is missing")
    runs = quantize.available("cpu")
    table = []
    with tempfile.TemporaryDirectory() as place:
        folder = write_random_llama(
            Path(place) / "model",
            tokenizer_from=tokenizer,
            layers=16,
            hidden=768,
            heads=12,
            kv_heads=4,
            ffn=2304,
            context=2048,
            dtype="bfloat16",
        )
        measure(folder, None)  # what is imported and touched first is nobody's
        for method in METHODS:
            if method is None or method in runs:
                table += rows_of(method or "bfloat16", *measure(folder, method))
            else:
                table.append(Row(method, "does not run here", "", None, "", None))
    table += quality([name for name in METHODS if name in runs])
    return table
