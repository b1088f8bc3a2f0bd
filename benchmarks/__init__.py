"""The budgets of the design, each measured beside its peer in one run: `python -m benchmarks [NAME ...]`.

A benchmark is one file here with TITLE and run() -> list[Row]; adding one touches nothing else.
"""
