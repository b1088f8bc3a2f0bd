"""What may act on a terminal or mislead a reader is taken out, in pieces as in the whole."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llama_nb.render.clean import CleanStream, bytes_text, clean, clean_line, shorten

# Joiners make one emoji of two, and a Hindi conjunct.
KEPT = "tab\tstays \U0001f468\u200d\U0001f469 \u0915\u094d\u200d\u0937"


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07a", "a"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b(Ba\x1b=b", "ab"),
        ("half \x1b[3", "half [3"),
        ("a\r\nb\rc\n", "a\nb\nc\n"),
        ("a\x00b\x08\x0b\x0c\x7f\x85c", "a\ufffdbc"),
        ("\u202eabc\u202c \u2066d\u2069", "abc d"),
        ("a\u200bb\ufeffc\u00add", "abcd"),
        ("\U000e0041hidden", "hidden"),
        ("\ud83e", "\ufffd"),
        (KEPT, KEPT),
    ],
)  # fmt: skip
def test_clean(raw, cleaned):
    assert clean(raw) == cleaned


def test_clean_line():
    assert clean_line("a\n  b\t\x1b[0mc") == "a b c"


ATOMS = [
    "a",
    "\n",
    "\r",
    "\x1b",
    "[",
    "]",
    "31m",
    "8;;",
    "\x07",
    "\\",
    "\x9b",
    "\x9d",
    "\x9c",
    "P",
    "(",
    "\x00",
]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(ATOMS), max_size=30))
@example(["\r", "\x9b", "a", "\n"])
def test_a_stream_is_cleaned_as_the_whole(pieces):
    stream, final, text = CleanStream(), "", ""
    for piece in pieces:
        more, loose = stream.feed(piece)
        final += more
        text += piece
        assert final + loose == clean(text)


def test_an_endless_sequence_is_not_held_for_ever():
    stream = CleanStream()
    held = [len(stream.feed("\x1b]" + "a" * 1000)[1]) for _ in range(30)]
    assert max(held) < 6_000


def test_what_is_left_out_is_measured_in_bytes():
    assert shorten("a" * 100) == ("a" * 100, "")
    shown, note = shorten("\u00e9" * 1_200_000)
    assert len(shown) == 200_000
    assert note == "\u2026 2 MB more are in reply.text"
    assert shorten("\n" * 30_000)[1] == "\u2026 10 kB more are in reply.text"


@pytest.mark.parametrize(
    ("count", "text"), [(1, "1 bytes"), (999.6, "1 kB"), (12_345, "12.3 kB"), (4.8e6, "4.8 MB")]
)
def test_bytes_text(count, text):
    assert bytes_text(count) == text
