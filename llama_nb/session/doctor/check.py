"""What one check found. Knows no check."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found.

    Attributes
    ----------
    name
        What was looked at: "torch", "hub".
    state
        "problem" (something will not work), "note" (good to know) or "ok".
    says
        A sentence that holds on every run: no figure of the moment, no path.
    command
        The one thing to run or do against it.
    here
        What holds for this machine now: paths, free memory, an error's words. Left out where nobody watches.
    """

    name: str
    state: State
    says: str
    command: str = ""
    here: str = ""


def ok(name: str, says: str, here: str = "") -> Check:
    """Return a check that found nothing wrong."""
    return Check(name, "ok", says, "", here)


def note(name: str, says: str, command: str = "", here: str = "") -> Check:
    """Return a check that found something good to know."""
    return Check(name, "note", says, command, here)


def problem(name: str, says: str, command: str, here: str = "") -> Check:
    """Return a check that found what will not work."""
    return Check(name, "problem", says, command, here)
