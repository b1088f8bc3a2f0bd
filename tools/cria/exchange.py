"""The value that every skill makes: one question and the forms of its answer."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Exchange:
    """One question with its answer.

    Parameters
    ----------
    skill : the skill that made it
    question : what the user types
    answer : the full answer
    plain : one short sentence of it without Markdown; empty where no short form makes sense
    word : the answer in one word; empty where there is none
    keys : phrases that must stand in a correct answer (compared without case)
    """

    skill: str
    question: str
    answer: str
    plain: str = ""
    word: str = ""
    keys: tuple[str, ...] = ()
