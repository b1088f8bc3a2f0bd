"""The text stream: whole characters, whole stop strings, and nothing lost."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from llama_nb.engines.detokenize import StopStrings, TextStream
from llama_nb.engines.token_text import TokenTexts, show_bytes

HARD = "नमस्ते 👩‍👩‍👧 ü € 漢字 \u200d ﷽ 🇮🇳 é a\u0301 \ufffd end"


@pytest.fixture(scope="module")
def llama3(llama3_tokenizer) -> Tokenizer:
    return Tokenizer.from_file(str(llama3_tokenizer / "tokenizer.json"))


@pytest.fixture(scope="module")
def sentencepiece(stories260k) -> Tokenizer:
    return Tokenizer.from_file(str(stories260k / "tokenizer.json"))


def special_of(backend: Tokenizer) -> frozenset[int]:
    return frozenset(i for i, token in backend.get_added_tokens_decoder().items() if token.special)


def stream_of(backend: Tokenizer) -> TextStream:
    return TextStream(
        lambda ids: backend.decode(ids, skip_special_tokens=True), backend.id_to_token, special_of(backend)
    )


def pieces_of(backend: Tokenizer, ids: list[int]) -> list[str]:
    stream = stream_of(backend)
    return [*(stream.feed(token) for token in ids), stream.flush()]


@pytest.mark.parametrize("name", ["llama3", "sentencepiece"])
def test_text_streams_without_cutting_a_character(name, request):
    backend = request.getfixturevalue(name)
    ids = backend.encode(HARD, add_special_tokens=False).ids
    pieces = pieces_of(backend, ids)
    assert "".join(pieces) == backend.decode(ids, skip_special_tokens=True)
    assert all("\ufffd" not in piece.replace("\ufffd end", " end") for piece in pieces[:-8])


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_tokens_join_to_their_decoding(llama3, sentencepiece, data):
    for backend in (llama3, sentencepiece):
        size = backend.get_vocab_size()
        low = st.integers(0, min(size - 1, 700))  # byte tokens and control tokens are at the ends
        ids = data.draw(
            st.lists(st.one_of(low, st.integers(0, size - 1), st.integers(max(0, size - 300), size - 1)))
        )
        pieces = pieces_of(backend, ids)
        assert "".join(pieces) == backend.decode(ids, skip_special_tokens=True)


@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_any_text_comes_back_and_only_whole_characters_come(llama3, text):
    ids = llama3.encode(text, add_special_tokens=False).ids
    pieces = pieces_of(llama3, [token for token in ids if token not in special_of(llama3)])
    assert "".join(pieces) == llama3.decode(ids, skip_special_tokens=True)
    if "\ufffd" not in text:
        assert "\ufffd" not in "".join(pieces)


def test_endless_broken_bytes_still_stream(llama3):
    broken = llama3.token_to_id("Ģ")  # byte 0x80: never the start of a character
    stream = stream_of(llama3)
    pieces = [stream.feed(broken) for _ in range(50)]
    assert len("".join(pieces)) > 30
    assert "".join(pieces) + stream.flush() == llama3.decode([broken] * 50)


def reference_cut(text: str, stops: list[str]) -> tuple[str, str | None]:
    for end in range(len(text) + 1):
        hits = [stop for stop in stops if text[:end].endswith(stop)]
        if hits:
            stop = max(hits, key=len)
            return text[: end - len(stop)], stop
    return text, None


@settings(max_examples=400, deadline=None)
@given(
    text=st.text("ab\n", max_size=30),
    stops=st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 30)),
)
def test_stop_strings_cut_at_the_same_place_whatever_the_tokens(text, stops, cuts):
    borders = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    watcher = StopStrings(stops)
    out = ""
    for begin, end in itertools.pairwise(borders):
        out += watcher.feed(text[begin:end])
        assert reference_cut(text, stops)[0].startswith(out)
        if watcher.found:
            break
    out += watcher.flush()
    assert (out, watcher.found) == reference_cut(text, stops)


def test_tokens_show_their_bytes_when_they_are_no_character(llama3, sentencepiece):
    texts = TokenTexts(llama3)
    ids = llama3.encode("🦙", add_special_tokens=False).ids
    assert "".join(texts.many(ids)) == "".join(f"<0x{byte:02X}>" for byte in "🦙".encode())
    assert texts.one(llama3.token_to_id("<|eot_id|>")) == "<|eot_id|>"
    assert texts.many(llama3.encode(" the cat", add_special_tokens=False).ids) == [" the", " cat"]
    assert texts.one(10**7) == "<10000000>"
    spm = TokenTexts(sentencepiece)
    assert "".join(spm.many(sentencepiece.encode("the cat", add_special_tokens=False).ids)) == " the cat"
    assert spm.one(sentencepiece.token_to_id("<0xF0>")) == "<0xF0>"
    assert spm.one(sentencepiece.token_to_id("<0x41>")) == "A"


def test_bytes_are_shown_where_text_is_not_possible():
    assert show_bytes(b"a\xf0\x9f\xa6\x99b\xf0\x9f") == "a🦙b<0xF0><0x9F>"
