"""Makes cria, the bundled model: its texts, tokenizer, training and evaluation.

One file for each skill; conversation.py joins them, rows.py packs them into token rows, and
tools/train_cria.py and tools/evaluate_cria.py are the commands.
"""
