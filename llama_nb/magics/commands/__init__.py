"""One file a verb: a docstring whose first line is its summary, `EXAMPLES`, `add_arguments`, `run`.

Files are found by name, so adding one touches nothing else.
"""
