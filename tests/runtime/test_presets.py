"""The user's presets: kept whole, read with care, and never in the way of a chat that names none."""

import json

import pytest

from llama_nb.core.errors import PresetError, SamplingError
from llama_nb.core.presets import PRESETS
from llama_nb.runtime import presets


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_NB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_preset_is_saved_found_replaced_and_deleted(home):
    assert presets.save("mine", {"temperature": 0.9, "stop": ("x",)}) is False
    assert dict(presets.find("mine").values) == {"temperature": 0.9, "stop": ["x"]}
    assert presets.names() == [*PRESETS, "mine"]
    assert presets.save("mine", {"top_k": 3, "logit_bias": {"sun": 2}}) is True
    assert presets.expand({"preset": "mine"}) == {"top_k": 3, "logit_bias": [["sun", 2.0]]}
    assert [path.name for path in home.iterdir()] == ["presets.json"]
    presets.delete("mine")
    assert presets.user_presets() == {}


def test_what_is_given_beside_a_preset_wins():
    assert presets.expand({"preset": "creative", "temperature": 0.2})["temperature"] == 0.2
    assert presets.expand({"top_k": 3}) == {"top_k": 3}
    assert presets.expand({"preset": None, "top_k": 3}) == {"top_k": 3}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: presets.find("creativ"), "'creative'"),
        (lambda: presets.find("llama-3.4"), "llama-3"),
        (lambda: presets.find(3), "no name"),
        (lambda: presets.save("creative", {"top_k": 3}), "built-in"),
        (lambda: presets.save("../evil", {"top_k": 3}), "cannot be the name"),
        (lambda: presets.save("", {"top_k": 3}), "cannot be the name"),
        (lambda: presets.save("mine", {"top_k": -3}), "top_k"),
        (lambda: presets.save("mine", {"temprature": 3}), "temperature"),
        (lambda: presets.delete("creative"), "built-in"),
        (lambda: presets.delete("mine"), "no preset 'mine'"),
    ],
)
def test_what_cannot_be_done_changes_nothing(call, says, home):
    with pytest.raises(SamplingError, match=says):
        call()
    assert not home.exists()


BROKEN = [
    ("{", ["not JSON", "line 1"]),
    ("[]", ["object of presets"]),
    ('{"a": 3}', ["'a'"]),
    ('{"a": {"temperature": "hot"}}', ["'a'", "'temperature'", "not a number"]),
    ('{"a": {"temperature": NaN}}', ["'a'", "'temperature'", "outside"]),
    ('{"a": {"temprature": 1}}', ["'a'", "'temprature'"]),
    ('{"a": {"stop": 3}}', ["'a'", "'stop'"]),
    ('{"a": {"order": ["nope"]}}', ["'a'", "'order'", "'nope'"]),
    ('{"a": {"logit_bias": [1]}}', ["'a'", "'logit_bias'"]),
    ('{"../x": {}}', ["'../x'"]),
    ("[" * 100_000, ["JSON"]),
    (b"\xff\xfe", ["UTF-8"]),
    (b"{" + b" " * 1_000_001, ["larger"]),
]


@pytest.mark.parametrize(("content", "named"), BROKEN, ids=lambda value: str(value)[:30])
def test_a_damaged_file_is_named_and_left_alone(content, named, home):
    home.mkdir()
    raw = content if isinstance(content, bytes) else content.encode()
    presets.presets_file().write_bytes(raw)
    for call in (
        lambda: presets.find("a"),
        lambda: presets.save("b", {"top_k": 1}),
        lambda: presets.delete("a"),
    ):
        with pytest.raises(PresetError) as caught:
            call()
        for part in [*named, str(presets.presets_file())]:
            assert part in str(caught.value)
    assert presets.presets_file().read_bytes() == raw
    # What does not need the file works without it.
    assert presets.find("creative").values["temperature"] > 1
    assert presets.expand({"top_k": 3}) == {"top_k": 3}
    assert presets.names() == list(PRESETS)


def test_a_save_that_fails_leaves_the_old_file(home, monkeypatch):
    presets.save("mine", {"top_k": 3})
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        presets.save("other", {"top_k": 4})
    assert json.loads(presets.presets_file().read_text()) == {"mine": {"top_k": 3}}
    assert [path.name for path in home.iterdir()] == ["presets.json"]


def test_a_name_of_ours_in_the_file_changes_ours_not(home):
    home.mkdir()
    presets.presets_file().write_text('{"creative": {"temperature": 0}}')
    assert presets.find("creative").values["temperature"] > 1
    assert presets.user_presets() == {}
