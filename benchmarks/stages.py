"""What a token costs with each sampler stage alone at V = 128,256, beside transformers' processors.

Both sides go from the logits to a drawn token. Ours also records: log-probability, entropy, the 20 likeliest
tokens before and after, and the head of 1,000 at each stage. Processor time of one thread, in turns.
"""

import os
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from benchmarks.report import Row
from benchmarks.subjects import likely_logits

if TYPE_CHECKING:
    from llama_nb.core.sampling import Sampling
    from llama_nb.engines.token_words import TokenWords

TITLE = "stages: processor time per token of each sampler stage at V = 128,256, one thread"
VOCABULARY: Final = 128_256
ALTERNATIVES: Final = 20
ROUNDS: Final = 5
TURNS: Final = 8  # one for each row of logits
BIASED: Final = (1000, 2000, 3000)
CHAIN: Final = "repetition, temperature, top-k, top-p, min-p"


def _cases() -> "list[tuple[str, Sampling, TokenWords, Callable[[], list[Any]] | None]]":
    """Return each stage's name, our parameters and words, and transformers' processors if it has it."""
    import numpy as np
    from transformers.generation import logits_process as theirs

    from llama_nb.core.sampling import Sampling
    from llama_nb.engines.token_words import NO_WORDS, TokenWords

    def only(**asked: Any) -> Sampling:
        return Sampling(**{"temperature": 1.0, "top_p": 1.0, **asked})

    def words(banned: tuple[tuple[int, ...], ...] = (), biased: tuple[int, ...] = ()) -> TokenWords:
        ids = np.array(biased, np.int64)
        return TokenWords(ids, np.full(len(ids), 2, np.float32), banned, lambda _: False)

    def bias() -> list[Any]:
        return [theirs.SequenceBiasLogitsProcessor([[[token], 2.0] for token in BIASED])]

    def chain() -> list[Any]:
        return [
            theirs.RepetitionPenaltyLogitsProcessor(1.1),
            theirs.TemperatureLogitsWarper(0.8),
            theirs.TopKLogitsWarper(50),
            theirs.TopPLogitsWarper(0.95),
            theirs.MinPLogitsWarper(0.02),
        ]

    typical = Sampling(temperature=0.8, top_k=50, top_p=0.95, min_p=0.02, repetition_penalty=1.1)
    none = NO_WORDS
    return [
        ("no stage", only(), none, list),
        ("logit_bias", only(), words(biased=BIASED), bias),
        ("repetition_penalty", only(repetition_penalty=1.1), none,
         lambda: [theirs.RepetitionPenaltyLogitsProcessor(1.1)]),
        ("presence_penalty", only(presence_penalty=0.5), none, None),
        ("frequency_penalty", only(frequency_penalty=0.5), none, None),
        ("dry", only(dry_multiplier=0.8), none, None),
        ("no_repeat_ngram", only(no_repeat_ngram=3), none,
         lambda: [theirs.NoRepeatNGramLogitsProcessor(3)]),
        ("banned", only(), words(banned=((1000,), (1000, 1001))),
         lambda: [theirs.NoBadWordsLogitsProcessor([[1000], [1000, 1001]])]),
        ("temperature", only(temperature=0.8), none, lambda: [theirs.TemperatureLogitsWarper(0.8)]),
        ("temperature, dynamic", only(dynatemp_range=0.5), none, None),
        ("top_k", only(top_k=50), none, lambda: [theirs.TopKLogitsWarper(50)]),
        ("top_p", only(top_p=0.95), none, lambda: [theirs.TopPLogitsWarper(0.95)]),
        ("min_p", only(min_p=0.02), none, lambda: [theirs.MinPLogitsWarper(0.02)]),
        ("typical_p", only(typical_p=0.9), none, lambda: [theirs.TypicalLogitsWarper(0.9)]),
        ("epsilon_cutoff", only(epsilon_cutoff=3e-4), none, lambda: [theirs.EpsilonLogitsWarper(3e-4)]),
        ("eta_cutoff", only(eta_cutoff=3e-4), none, lambda: [theirs.EtaLogitsWarper(3e-4)]),
        ("top_n_sigma", only(top_n_sigma=1.0), none, None),
        ("xtc", only(xtc_probability=0.5), none, None),
        ("mirostat", only(mirostat_tau=5.0), none, None),
        (f"a typical chain: {CHAIN}", typical, none, chain),
    ]  # fmt: skip


def _took(work: Callable[[int], object]) -> float:
    """Return the median processor time of a turn, in milliseconds."""
    times = []
    for turn in range(TURNS):
        started = time.thread_time()
        work(turn)
        times.append(time.thread_time() - started)
    return statistics.median(times) * 1000


def _row(what: str, mine: list[float], peer: list[float]) -> Row:
    one = statistics.median(mine)
    if not peer:
        return Row(what, f"{one:.2f} ms", "", None, "", None)
    ratio = statistics.median(ours / theirs for ours, theirs in zip(mine, peer, strict=True))
    said = f"{statistics.median(peer):.2f} ms (transformers, nothing recorded)"
    return Row(what, f"{one:.2f} ms", said, ratio, "<= 1x", ratio <= 1)


def run() -> list[Row]:
    """Measure every stage in turns with its peer; the ratio is the median of the rounds' ratios."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    import torch
    from transformers import LogitsProcessorList

    from llama_nb.engines.sampler import Sampler

    torch.set_num_threads(1)
    logits = likely_logits(TURNS, VOCABULARY)
    prompt = [*range(1000, 1400), *range(1000, 1100)]  # the end stands in it already
    seen = torch.tensor([prompt])
    rows = []
    for what, sampling, words, processors in _cases():
        sampler = Sampler(sampling, prompt, (), words)
        chain = LogitsProcessorList(processors()) if processors is not None else None

        def ours(turn: int, sampler: Any = sampler) -> object:
            return sampler.choose(logits[turn], lambda: 0.37, ALTERNATIVES)

        def theirs(turn: int, chain: Any = chain) -> object:
            scores = chain(seen, torch.from_numpy(logits[turn].copy())[None])
            return torch.multinomial(scores.softmax(-1), 1)

        mine, peer = [], []
        for _ in range(ROUNDS):
            mine.append(_took(ours))
            if chain is not None:
                peer.append(_took(theirs))
        rows.append(_row(what, mine, peer))
    return rows
