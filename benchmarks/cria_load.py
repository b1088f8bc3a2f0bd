"""How long the bundled model takes to load and to say its first token, after the imports."""

import statistics
import time

from benchmarks.report import Row

TITLE = "cria: load and first token"
ROUNDS = 5
LOAD_BUDGET = 1.5
TOKEN_BUDGET = 0.1
QUESTION = "What is a token?"


def _imports() -> float:
    started = time.perf_counter()
    import torch
    import transformers

    # transformers loads a model's module when it is first named.
    _ = torch.__version__, transformers.LlamaForCausalLM, transformers.PreTrainedTokenizerFast
    return time.perf_counter() - started


def run() -> list[Row]:
    """Load and answer several times in one process; transformers' own loading is the peer."""
    imports = _imports()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import llama_nb as llama
    from llama_nb.loading import source

    folder = source.resolve("cria").folder
    loads, tokens, peers = [], [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        peers.append(time.perf_counter() - started)
        started = time.perf_counter()
        model = llama.load("cria")
        loads.append(time.perf_counter() - started)
        started = time.perf_counter()
        events = model.stream(QUESTION, temperature=0, max_tokens=8)
        next(iter(events))
        tokens.append(time.perf_counter() - started)
        list(events)
    load, peer, token = statistics.median(loads), statistics.median(peers), statistics.median(tokens)
    first = f"first load {loads[0]:.2f} s, later {load:.2f} s"
    return [
        Row("import torch and transformers", f"{imports:.2f} s", "", None, "", None),
        Row(
            f"load cria, the first and the median of {ROUNDS}",
            first,
            f"{peer:.2f} s (from_pretrained, nothing checked)",
            load / peer,
            f"<= {LOAD_BUDGET} s",
            loads[0] <= LOAD_BUDGET,
        ),
        Row(
            f"first token, median of {ROUNDS}",
            f"{token * 1000:.0f} ms (first time {tokens[0] * 1000:.0f} ms)",
            "",
            None,
            f"<= {TOKEN_BUDGET * 1000:.0f} ms",
            token <= TOKEN_BUDGET,
        ),
    ]
