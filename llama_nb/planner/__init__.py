"""Bytes and fit of a model by arithmetic alone: no torch, no weights."""
