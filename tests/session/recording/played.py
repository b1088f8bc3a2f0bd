"""What tests of recordings record and play back."""

from pathlib import Path

import llama_nb as llama
from tests.session.fakes import FakeEngine


def counting():
    """An engine whose replies are numbered, so that no two are alike."""
    numbers = iter(range(1000))
    return FakeEngine(rule=lambda request: ["number", f" {next(numbers)}"])


def play(file="a.jsonl", source="fake", **options):
    return llama.load(source, replay=file, **options)


def written():
    return Path("a.jsonl").read_text(encoding="utf-8")


def told(reply):
    """What can be seen of a reply."""
    return [reply.tokens, reply.finish, reply.special, reply.notes, reply.text, reply.id, reply.to_record()]
