"""Skill 1: questions about Llama and language models, small talk, and what lies outside.

Knows how questions are phrased and which phrasings are held out; the answers stand in
glossary_terms.py, glossary_llama.py and outside.py.
"""

import random

from tools.cria.exchange import Exchange
from tools.cria.glossary_llama import LLAMA
from tools.cria.glossary_terms import TERMS, Entry
from tools.cria.words import as_typed

ENTRIES: tuple[Entry, ...] = LLAMA + TERMS

# {x} is the name with its article, {b} without.
PHRASINGS = (
    "What is {x}?", "What is {x}?", "What's {x}?", "Explain {x}.", "Please explain {x}.", "Can you explain {x}?",
    "Tell me about {x}.", "Tell me what {x} is.", "What do you know about {x}?", "Define {b}.", "What does {b} mean?",
    "What is the meaning of {b}?", "I want to understand {x}.", "How would you describe {x}?", "{b}?", "{b}",
    "Give me a definition of {b}.", "In simple words, what is {x}?", "Do you know what {x} is?", "what is {b}",
    "Can you tell me about {x}?", "I do not understand {x}.", "Hey, what is {x}?", "Please define {b}.",
    "Say something about {x}.", "Describe {x}.", "So what is {x}?", "What is {x} in short?",
)  # fmt: skip
HELD_OUT_PHRASINGS = (
    "What exactly is {x}?", "Could you explain {x} to me?", "Please tell me what {x} is.", "What is meant by {b}?",
    "I would like to know about {x}.", "Can you describe {x}?", "Help me understand {x}.", "Explain what {x} is.",
)  # fmt: skip
WRAPPERS = (
    "{q}", "{q}", "{q}", "Please tell me: {q}", "Quick question: {q}", "Hi! {q}", "I have a question. {q}",
    "Hey, {l}", "And {l}", "Now, {l}", "{q} Please answer.", "Hello, {l}", "So, {l}",
)  # fmt: skip
HELD_OUT_WRAPPERS = ("Tell me, {l}", "One more thing: {q}", "Hello! {q}", "Ok, {l}", "Just curious: {q}")


def bare(name: str) -> str:
    """Return a name without its article."""
    for article in ("a ", "an ", "the "):
        if name.startswith(article):
            return name[len(article) :]
    return name


def no_marks(text: str) -> str:
    """Return ``text`` without bold and code marks."""
    return text.replace("**", "").replace("`", "")


def phrase(rng: random.Random, name: str, held: bool) -> str:
    """Put a name into a question template of the training or the held-out part."""
    template = rng.choice(HELD_OUT_PHRASINGS if held else PHRASINGS)
    return template.format(x=name, b=bare(name))


def wrap(rng: random.Random, question: str, held: bool) -> str:
    """Put a whole question into a wrapper of the training or the held-out part."""
    template = rng.choice(HELD_OUT_WRAPPERS if held else WRAPPERS)
    return template.format(q=question, l=question[:1].lower() + question[1:])


def answer(rng: random.Random, entry: Entry) -> str:
    """Return the core alone or with the second sentence, as a model may answer either way."""
    if not entry.extra or rng.random() < 0.15:
        return entry.core
    return f"{entry.core} {entry.extra}"


def ask(rng: random.Random, held: bool = False, entry: Entry | None = None) -> Exchange:
    """Return a question about one entry; ``held`` takes a held-out phrasing."""
    entry = entry or rng.choice(ENTRIES)
    if entry.names:
        question = phrase(rng, rng.choice(entry.names), held)
        if rng.random() < 0.1 and not held:
            question = wrap(rng, question, held)
    else:
        question = wrap(rng, rng.choice(entry.questions), held)
    if not held:
        question = as_typed(rng, question)
    plain = "" if "\n" in entry.core else no_marks(entry.core)
    return Exchange("glossary", question, answer(rng, entry), plain, entry.word, (entry.key,))
