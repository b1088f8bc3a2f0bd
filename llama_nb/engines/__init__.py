"""Engines: a Request in, TokenEvents out. One file for each way of running a model."""
