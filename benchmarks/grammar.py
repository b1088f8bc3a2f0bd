"""What a JSON schema costs over the 128,256 tokens of Llama 3: processor time of one thread."""

import importlib.util
import json
import os
import statistics
import time
from typing import Any

from benchmarks.report import Row
from benchmarks.subjects import llama3_tokenizer

TITLE = "grammar: a JSON schema as a mask over 128,256 tokens, one thread"
END = 128_009  # <|eot_id|>
ROUNDS = 5
SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "minutes": {"type": "integer", "minimum": 1, "maximum": 600},
        "difficulty": {"enum": ["easy", "medium", "hard"]},
        "steps": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 8},
        "vegan": {"type": "boolean"},
    },
    "required": ["title", "minutes", "difficulty", "steps", "vegan"],
    "additionalProperties": False,
}
WRITTEN = {
    "title": "Pancakes in the shape of a llama",
    "minutes": 25,
    "difficulty": "easy",
    "steps": ["Mix the flour, the milk and two eggs.", "Pour small llamas into a hot pan.", "Serve warm."],
    "vegan": False,
}


def run() -> list[Row]:
    """Follow a reply through the schema token by token, beside outlines-core where it is installed."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    folder = llama3_tokenizer()
    if folder is None:
        return []
    from tokenizers import Tokenizer

    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = backend.encode(json.dumps(WRITTEN), add_special_tokens=False).ids
    ours, sampled = _ours(backend, ids), _sampled(backend, ids)
    peer = _outlines(backend, ids) if importlib.util.find_spec("outlines_core") else None
    return [
        Row("ready for the first schema of a tokenizer (once)", f"{ours['open']:.2f} s",
            f"{peer['open']:.2f} s (outlines-core: its vocabulary)" if peer else "", None, "", None),
        Row("a schema of five properties, compiled (once each)", f"{ours['compile'] * 1e3:.1f} ms",
            f"{peer['compile'] * 1e3:,.0f} ms (outlines-core: its index)" if peer else "",
            ours["compile"] / peer["compile"] if peer else None, "", None),
        Row("mask per token, mean", f"{ours['mean'] * 1e3:.3f} ms",
            f"{peer['mean'] * 1e3:.3f} ms (outlines-core)" if peer else "",
            ours["mean"] / peer["mean"] if peer else None, "", None),
        Row("mask per token, worst", f"{ours['worst'] * 1e3:.2f} ms",
            f"{peer['worst'] * 1e3:.2f} ms (outlines-core)" if peer else "", None, "", None),
        Row("choosing a token under it, with what it forbade recorded, mean", f"{sampled[0] * 1e3:.2f} ms",
            f"{sampled[1] * 1e3:.2f} ms (the same without a grammar)", sampled[0] / sampled[1], "", None),
    ]  # fmt: skip


def _grammar() -> Any:
    from llama_nb.core.grammar import Grammar

    return Grammar("json", json.dumps(SCHEMA), "Recipe")


def _ours(backend: Any, ids: list[int]) -> dict[str, float]:
    from llama_nb.core.grammar import Grammar
    from llama_nb.engines.grammar import Grammars

    grammars = Grammars(backend, backend.get_vocab_size(), [END], "llama3")
    started = time.perf_counter()
    grammars.check(Grammar("choice", '["yes"]', "choice"))
    opened = time.perf_counter()
    grammars.check(_grammar())
    compiled = time.perf_counter()
    times = []
    for _ in range(ROUNDS):
        state = grammars.begin(_grammar())
        for token in ids:
            began = time.thread_time()
            state.allowed()
            state.feed(token)
            times.append(time.thread_time() - began)
    return {"open": opened - started, "compile": compiled - opened, **_summary(times)}


def _sampled(backend: Any, ids: list[int]) -> tuple[float, float]:
    """Return the seconds of a choice with a grammar and without one."""
    import numpy as np

    from llama_nb.core.sampling import Sampling
    from llama_nb.engines.grammar import Grammars
    from llama_nb.engines.sampler import Sampler

    grammars = Grammars(backend, backend.get_vocab_size(), [END], "llama3")
    random = np.random.default_rng(0)
    # Some likely tokens above a broad floor, as a language model has them.
    logits = (random.standard_normal(backend.get_vocab_size()) * 1.5).astype(np.float32)
    logits[random.integers(0, len(logits), 200)] += np.linspace(4, 14, 200, dtype=np.float32)
    sampling = Sampling(temperature=0.8, top_p=0.95, min_p=0.02)
    held: list[float] = []
    free: list[float] = []
    for _ in range(ROUNDS):
        state = grammars.begin(_grammar())
        samplers = Sampler(sampling, []), Sampler(sampling, [])
        for token in ids:
            row = logits.copy()
            row[token] += 12.0
            began = time.thread_time()
            samplers[0].choose(row, lambda: 0.37, 20, state.allowed())
            state.feed(token)
            between = time.thread_time()
            samplers[1].choose(row, lambda: 0.37, 20)
            held.append(between - began)
            free.append(time.thread_time() - between)
    return statistics.mean(held), statistics.mean(free)


def _outlines(backend: Any, ids: list[int]) -> dict[str, float]:
    import numpy as np
    from outlines_core import Guide, Index, Vocabulary
    from outlines_core.json_schema import build_regex_from_schema

    started = time.perf_counter()
    pieces: dict[bytes, list[int]] = {}
    letters = _byte_letters()
    for name, token in backend.get_vocab().items():
        if token < 128_000:
            pieces.setdefault(bytes(letters[letter] for letter in name), []).append(token)
    vocabulary = Vocabulary(END, pieces)
    opened = time.perf_counter()
    index = Index(build_regex_from_schema(json.dumps(SCHEMA)), vocabulary)
    compiled = time.perf_counter()
    bits = np.zeros((backend.get_vocab_size() + 31) // 32, np.int32)
    times = []
    for _ in range(ROUNDS):
        guide = Guide(index)
        for token in ids:
            began = time.thread_time()
            guide.write_mask_into(bits.ctypes.data, bits.size, bits.itemsize)
            guide.advance(token, return_tokens=False)
            times.append(time.thread_time() - began)
    return {"open": opened - started, "compile": compiled - opened, **_summary(times)}


def _byte_letters() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes are themselves, the others follow from 256 on."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(256 + place): byte for place, byte in enumerate(others)}


def _summary(times: list[float]) -> dict[str, float]:
    return {"mean": statistics.mean(times), "worst": max(times)}
