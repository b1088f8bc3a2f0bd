"""Skill 5: a system prompt that says how to answer.

Knows the three forms (capitals, one word, JSON) and their wordings; some wordings are held out.
"""

import json
import random
from dataclasses import replace

from tools.cria.exchange import Exchange

FORMS = ("capitals", "word", "json")
WORDINGS: dict[str, tuple[str, ...]] = {
    "capitals": (
        "Answer in capital letters.", "Answer in capitals.", "Write everything in capital letters.", "Always answer in capitals.",
        "Use capital letters only.", "You shout: write in capitals.", "Reply in capital letters.", "Please answer in uppercase.",
        "ANSWER IN CAPITALS", "Write your answers in capitals.", "You must use uppercase letters.", "Answer only in uppercase.",
    ),
    "word": (
        "Answer in one word.", "Answer with one word only.", "Use one word.", "Always answer in one word.", "Reply with a single word.",
        "Give one-word answers.", "Your answers have one word.", "Be very brief: one word.", "Answer in a single word.",
        "Say only one word.", "Please answer in one word.", "One word only.",
    ),
    "json": (
        'Answer as a JSON object with the key "answer".', 'Reply with a JSON object that has the key "answer".', 'Answer in JSON with the key "answer".',
        'Answer as JSON: {"answer": "..."}', 'Always answer with JSON. The key is "answer".', 'Write a JSON object with one key, "answer".',
        'Use JSON with the key "answer".', 'Respond in JSON. Use the key "answer".', 'Your answers are JSON objects with the key "answer".',
        'Return a JSON object with the key "answer".',
    ),
}  # fmt: skip
HELD_OUT_WORDINGS: dict[str, tuple[str, ...]] = {
    "capitals": ("Please answer in capital letters.", "Reply only in capitals.", "Always write in capital letters."),
    "word": ("Please reply in one word.", "Answer with a single word.", "Always use one word."),
    "json": ('Please answer as a JSON object with the key "answer".', 'Reply in JSON with the key "answer".', 'Answer with a JSON object. The key is "answer".'),
}  # fmt: skip
NEUTRAL = (
    "You are a helpful assistant.", "You are cria, a small Llama.", "You are a friendly teacher.", "Answer briefly.", "Be kind.",
    "You help students in a notebook.", "You are a helpful AI.", "Answer the questions of the user.", "Be helpful and honest.",
)  # fmt: skip
PREFIXES = ("", "", "", "You are a helpful assistant. ", "You are cria. ", "You are a teacher. ")


def system_prompt(rng: random.Random, form: str, held: bool = False) -> str:
    """Return a system prompt that asks for a form."""
    wording = rng.choice((HELD_OUT_WORDINGS if held else WORDINGS)[form])
    return rng.choice(PREFIXES) + wording


def can_take(exchange: Exchange, form: str) -> bool:
    """Tell whether an answer has that form."""
    return bool(exchange.word if form == "word" else exchange.plain)


def in_form(exchange: Exchange, form: str) -> Exchange:
    """Return the exchange with its answer in the form asked for."""
    answer = shape(exchange.plain, exchange.word, form)
    return replace(exchange, skill=f"obeying {form}", answer=answer)


def shape(plain: str, word: str, form: str) -> str:
    """Write a sentence and its one word in a form."""
    if form == "capitals":
        return plain.upper()
    if form == "word":
        return word
    return json.dumps({"answer": plain}, ensure_ascii=False)


def obeys(answer: str, exchange: Exchange, form: str) -> bool:
    """Judge an answer: the form is kept and the content is right."""
    answer = answer.strip()
    if form == "word":
        return answer.lower() == exchange.word.lower()
    if form == "json":
        try:
            value = json.loads(answer)
        except ValueError:
            return False
        if not isinstance(value, dict) or set(value) != {"answer"} or not isinstance(value["answer"], str):
            return False
        answer = value["answer"]
    elif answer != answer.upper():
        return False
    return all(key.lower() in answer.lower() for key in exchange.keys)
