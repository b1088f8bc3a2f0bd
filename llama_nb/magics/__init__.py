"""The `%llama` and `%%llama` magics: thin lines over the same objects that Python users hold.

A verb is one file in `commands/`. No model logic lives here.
"""
