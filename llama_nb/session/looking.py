"""What a model shows of its inside: the methods of `Model` that look into a forward pass or change one.

Each finds what is to be read, asks `interpret` on the model's worker, and hands back a value.
"""

from llama_nb.session.sending import Sender


class Looker(Sender):
    """A model that can be looked into."""
