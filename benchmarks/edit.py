"""Time to the first token after an edit, a branch and a new turn at 1,500 tokens, beside prefilling.

The engine alone is measured by what it says itself; `Model.branch` from the call to its return with one
token, on a model of its own with a tokenizer and a template.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.plan import write_random
from benchmarks.report import Row
from benchmarks.subjects import llama3_tokenizer, random_110m

if TYPE_CHECKING:
    from llama_nb.engines.transformers_engine import TransformersEngine

TITLE = "edit: first token with 1,500 tokens of context"
CONTEXT = 1500
ANSWER = 40
KEPT = 30  # tokens of the answer before the branch
TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
ROUNDS = 5
BUDGET = 20.0


def _one_forward(engine: Any, ids: tuple[int, ...]) -> float:
    """Return the seconds that transformers takes for the whole prompt at once."""
    import torch

    torch.set_num_threads(engine._threads)
    started = time.perf_counter()
    with torch.inference_mode():
        engine._module(input_ids=torch.tensor([ids]), use_cache=True, logits_to_keep=1)
    return time.perf_counter() - started


def run() -> list[Row]:
    """Measure the first token with the chat's cache and with none, on a random 110 M Llama in bfloat16."""
    from llama_nb.core.request import Request
    from llama_nb.core.sampling import Sampling
    from llama_nb.core.stop import StopFlag

    engine = random_110m("bfloat16")

    def first_token(engine: "TransformersEngine", ids: tuple[int, ...], key: str | None) -> float:
        asked = Request(ids, Sampling(temperature=0, max_tokens=1), cache_key=key)
        events = list(engine.stream(asked, StopFlag()))
        finish = events[-1].finish
        assert finish is not None
        assert finish.usage.first_token_s is not None
        return finish.usage.first_token_s

    base = tuple(100 + (7 * place) % 20_000 for place in range(CONTEXT))
    changes = {
        "an edit of the last 8 tokens": lambda turn: (*base[:-8], *range(turn + 5, turn + 13)),
        "a branch 4 tokens back": lambda turn: (*base[:-4], 30_000 + turn),
        "a new turn of 16 tokens": lambda turn: (*base, *range(turn + 40, turn + 56)),
    }
    first_token(engine, base[:200], None)
    chunked = first_token(engine, base, None)
    fresh = statistics.median(_one_forward(engine, base) for _ in range(2))
    rows = [
        Row(
            "no cache, in chunks between which a stop is heard",
            f"{chunked * 1000:.0f} ms",
            f"{fresh * 1000:.0f} ms (one forward)",
            fresh / chunked,
            "",
            None,
        )
    ]
    for what, change in changes.items():
        times = []
        for turn in range(ROUNDS):
            first_token(engine, base, "chat")
            times.append(first_token(engine, change(turn), "chat"))
        cached = statistics.median(times)
        ratio = fresh / cached
        rows.append(
            Row(what, f"{cached * 1000:.0f} ms", f"{fresh * 1000:.0f} ms (prefill in one forward)", ratio,
                f">= {BUDGET:.0f}x", ratio >= BUDGET)
        )  # fmt: skip
    engine.close()
    return rows + _branches()


def _branches() -> list[Row]:
    """Measure Model.branch at the end of a chat of 1,500 tokens."""
    tokenizer = llama3_tokenizer()
    if tokenizer is None:
        return []
    os.environ["LLAMA_NB_CHATS"] = "off"
    import llama_nb as llama

    with tempfile.TemporaryDirectory() as temporary:
        folder = write_random(Path(temporary) / "model", "random 112 M", "bfloat16", tokenizer)
        (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
        model = llama.load(folder, dtype="bfloat16", context=2048)
        text = "word " * (CONTEXT - ANSWER)
        asked = model.chat(text, temperature=0, max_tokens=ANSWER)
        assert asked.usage is not None
        total = asked.usage.prompt_tokens + asked.usage.completion_tokens
        answer = model.chats[model.chats.current].head
        times = []
        for token in range(1000, 1000 + 2 * ROUNDS):
            started = time.perf_counter()
            model.branch(KEPT, token, at=answer, temperature=0, max_tokens=1)
            times.append(time.perf_counter() - started)
        fresh = statistics.median(_one_forward(model.engine, tuple(range(total))) for _ in range(2))
        llama.unload(model.name)
    branched = statistics.median(times)
    ratio = fresh / branched
    what = f"Model.branch at token {KEPT} of an answer of {ANSWER}, {total:,} tokens in all"
    return [
        Row(what, f"{branched * 1000:.0f} ms", f"{fresh * 1000:.0f} ms (prefill in one forward)", ratio,
            f">= {BUDGET:.0f}x", ratio >= BUDGET)
    ]  # fmt: skip
