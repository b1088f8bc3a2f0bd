"""The stages that shape or cut a distribution, each a pure function over its head.

Sources stand with the parameters in `core.sampling.Sampling`. A stage keeps at least one token, and raises
HeadTooSmall where tokens outside of the head might be kept.
"""

import math
from typing import Final

import numpy as np

from llama_nb.engines.head import Head, HeadTooSmall, Tail

_COLDEST: Final = 0.01  # what dynamic temperature may go down to: below it a draw is greedy anyway


def temperature(head: Head, value: float) -> Head:
    """Divide the logits by `value`."""
    tail = Tail(head.tail.scores, head.tail.temperature * value) if head.tail else None
    return Head(head.ids, head.logits / np.float32(value), tail)


def dynamic_temperature(head: Head, value: float, spread: float, exponent: float) -> Head:
    """Divide the logits by `value - spread` up to `value + spread`: the higher the entropy, the more."""
    count = len(head.ids) if head.tail is None else int(np.isfinite(head.tail.scores).sum())
    if count < 2:
        return head
    low, high = max(_COLDEST, value - spread), value + spread
    share = min(1.0, head.entropy() / math.log(count))
    return temperature(head, low + (high - low) * share**exponent)


def top_k(head: Head, value: int) -> Head:
    """Keep the `value` likeliest tokens, and those that are as likely as the last of them."""
    if value < len(head.ids):
        value = int(np.searchsorted(-head.logits, -head.logits[value - 1], side="right"))
    if value < len(head.ids) or (head.tail is None and value >= len(head.ids)):
        return head.cut(value)
    raise HeadTooSmall


def top_p(head: Head, value: float) -> Head:
    """Keep the likeliest tokens that hold the mass `value` together, the one that crosses it included."""
    weights = head.weights()
    running = np.cumsum(weights)
    wanted = value * (max(head.tail.total(head), running[-1]) if head.tail else running[-1])
    if head.tail is not None and running[-1] < wanted:
        raise HeadTooSmall
    return head.cut(1 + int(np.searchsorted(running[:-1], wanted, side="left")))


def min_p(head: Head, value: float) -> Head:
    """Keep the tokens that are at least `value` times as likely as the likeliest."""
    return _above(head, float(head.logits[0]) + math.log(value))


def typical_p(head: Head, value: float) -> Head:
    """Keep the tokens whose surprise is nearest to the entropy, until they hold the mass `value`."""
    chances = head.chances()
    with np.errstate(divide="ignore"):
        surprise = -np.log(chances)
    entropy = head.entropy()
    distance = np.abs(surprise - entropy)
    order = np.argsort(distance, kind="stable")
    running = np.cumsum(chances[order])
    place = int(np.searchsorted(running, value, side="left"))
    if place >= len(order):
        if head.tail is not None:
            raise HeadTooSmall
        place = len(order) - 1
    farthest = distance[order[place]]
    # The tail's tokens are at least as surprising as the head's last one.
    if head.tail is not None and surprise[-1] - entropy <= farthest:
        raise HeadTooSmall
    return head.pick(distance <= farthest)


def epsilon_cutoff(head: Head, value: float) -> Head:
    """Drop the tokens whose probability is below `value`."""
    log_z = float(head.logits[0]) + math.log(head.total())
    return _above(head, log_z + math.log(value))


def eta_cutoff(head: Head, value: float) -> Head:
    """Drop the tokens whose probability is below min(value, sqrt(value) * exp(-entropy))."""
    return epsilon_cutoff(head, min(value, math.sqrt(value) * math.exp(-head.entropy())))


def top_n_sigma(head: Head, value: float) -> Head:
    """Keep the tokens whose logit is at most `value` standard deviations below the largest."""
    logits = head.logits if head.tail is None else head.tail.logits()
    finite = logits[np.isfinite(logits)]
    sigma = float(finite.astype(np.float64).std())
    return _above(head, float(head.logits[0]) - value * sigma)


def xtc(head: Head, threshold: float) -> Head:
    """Drop every token that is at least `threshold` likely, but for the least likely of them."""
    likely = int((head.chances() >= threshold).sum())
    if head.tail is not None and likely >= len(head.ids):
        raise HeadTooSmall
    if likely < 2:
        return head
    return head.change(head.ids[: likely - 1], lambda values, _: np.full_like(values, -np.inf))


def mirostat(head: Head, limit: float) -> Head:
    """Keep the tokens whose surprise is at most `limit` bits."""
    return epsilon_cutoff(head, 2.0 ** -max(0.0, min(limit, 1000.0)))


def _above(head: Head, lowest: float) -> Head:
    """Keep the tokens whose logit is at least `lowest`, one at the least."""
    count = int(np.searchsorted(-head.logits, -np.float32(lowest), "right"))
    if head.tail is not None and count >= len(head.ids):
        raise HeadTooSmall
    return head.cut(max(1, count))
