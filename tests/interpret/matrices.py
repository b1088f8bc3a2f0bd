"""Attention as whole matrices, for tests of what is computed from a trace's rows."""

import time

import numpy as np


class Matrices:
    """A trace whose maps are random; it counts the rows that it is asked for."""

    model, title, off = "random", "text", ""

    def __init__(self, length, heads=2, layers=1, seed=0, pause_s=0.0, ids=None):
        scores = np.random.default_rng(seed).normal(scale=3, size=(layers, heads, length, length))
        scores[..., np.triu(np.ones((length, length), bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        self.weights = (weights / weights.sum(-1, keepdims=True)).astype(np.float32)
        self.length, self.heads, self.layers = length, heads, tuple(range(layers))
        self.ids = tuple(ids) if ids is not None else (0,) * length
        self.asked, self.pause_s = 0, pause_s

    def rows(self, layer, heads, start, stop, *, keys=None):
        assert 0 <= start < stop <= self.length
        self.asked += (stop - start) * len(heads)
        time.sleep(self.pause_s)
        low, high = keys or (0, self.length)
        return self.weights[layer, list(heads), start:stop, low:high].copy()
