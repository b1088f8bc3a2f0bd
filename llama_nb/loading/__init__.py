"""A source in, checked weights out.

`source` finds where a model lies, `check` compares config, tokenizer and tensor headers before a byte of
weights is read, `weights` reads and gives back, and `open` does these one after another.
"""
