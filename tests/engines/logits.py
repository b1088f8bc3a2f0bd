"""Logits of many kinds for tests of the sampler: natural ones and degenerate ones."""

import numpy as np

SHAPES = ("normal", "peaked", "flat", "ties", "masked", "steep")


def make_logits(shape: str, size: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    logits = (random.standard_normal(size) * 3).astype(np.float32)
    if shape == "peaked":
        logits[random.integers(size)] += 40
    elif shape == "flat":
        logits = np.full(size, 1.25, dtype=np.float32)
    elif shape == "ties":
        logits = np.round(logits).astype(np.float32)
    elif shape == "masked":
        logits[random.random(size) < 0.9] = -np.inf
        logits[0] = 0.5
    elif shape == "steep":
        logits = np.linspace(0, -200, size, dtype=np.float32)
    return logits
