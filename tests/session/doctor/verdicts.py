"""What a test expects of a check: a state, a command where there is a problem, and words that it says."""

from llama_nb.session.doctor.check import Check


def is_problem(check: Check, *words: str) -> None:
    assert check.state == "problem", check
    assert check.command, check
    for word in words:
        assert word in f"{check.says} {check.command} {check.here}", check


def is_note(check: Check, *words: str) -> None:
    assert check.state == "note", check
    for word in words:
        assert word in f"{check.says} {check.command} {check.here}", check


def is_ok(check: Check, *words: str) -> None:
    assert check.state == "ok", check
    assert not check.command, check
    for word in words:
        assert word in f"{check.says} {check.here}", check
