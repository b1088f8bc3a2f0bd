"""Logging in to a hub on 127.0.0.1: what is stored, what is refused, and where the token never is."""

import stat
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from llama_nb.core.errors import LlamaError
from llama_nb.session import login as module
from llama_nb.session.login import account, login, logout
from tests.loading.fake_hub import FakeHub, serve

TOKEN = "hf_" + "Planted9" * 4
HOME = "home"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / HOME))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for name in (
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "HF_TOKEN_PATH",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
    ):
        monkeypatch.delenv(name, raising=False)
    with serve({}) as server:
        server.accounts[TOKEN] = "ada"
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
        if server.silent is not None:
            server.silent.set()


def refused(token: str) -> str:
    """Log in with a token that is refused; no frame of the traceback holds it."""
    with pytest.raises(LlamaError) as caught:
        login(lambda _: token)
    ours = [
        frame
        for frame, _ in traceback.walk_tb(caught.value.__traceback__)
        if "llama_nb" in frame.f_code.co_filename
    ]
    assert ours
    assert token not in repr([frame.f_locals for frame in ours])
    assert caught.value.__context__ is None
    said = str(caught.value)
    assert token not in said
    return said


def test_a_token_that_the_hub_knows_is_stored_for_its_owner_alone(hub: FakeHub, tmp_path: Path) -> None:
    stored = login(lambda prompt: f" {TOKEN}\n")
    file = tmp_path / HOME / "token"
    assert stored == module.Login(file, None)
    assert file.read_text() == TOKEN
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    # huggingface_hub asks for other things too (a list of user agents, once a day), without the token.
    told = [(path, token) for path, token in zip(hub.requests, hub.tokens, strict=True) if token]
    assert told == [("GET /api/whoami-v2", f"Bearer {TOKEN}")]
    assert TOKEN not in repr(stored)
    assert account() == "ada"


def test_a_variable_that_wins_is_named(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_" + "Other123" * 4)
    stored = login(lambda _: TOKEN)
    assert stored is not None
    assert stored.overruled_by == "HF_TOKEN"


@pytest.mark.parametrize("typed", ["", "  \n"])
def test_an_empty_answer_changes_nothing(hub: FakeHub, tmp_path: Path, typed: str) -> None:
    assert login(lambda _: typed) is None
    assert not hub.requests
    assert not (tmp_path / HOME).exists()


def test_a_wrong_token_is_refused_in_the_hubs_words(hub: FakeHub, tmp_path: Path) -> None:
    said = refused("hf_" + "Wrong456" * 4)
    assert "refused the token (401)" in said
    assert "Invalid username or password." in said
    assert "settings/tokens" in said
    assert not (tmp_path / HOME / "token").exists()


def test_a_hub_that_repeats_the_token_is_not_repeated(hub: FakeHub) -> None:
    wrong = "no-known-shape-of-a-key-77"
    hub.refusal = f"{wrong} is not valid"
    assert "is not valid" in refused(wrong)


def test_a_refused_token_leaves_the_old_one(hub: FakeHub, tmp_path: Path) -> None:
    login(lambda _: TOKEN)
    refused("hf_" + "Wrong456" * 4)
    assert (tmp_path / HOME / "token").read_text() == TOKEN


@pytest.mark.parametrize(
    "typed", [f"export HF_TOKEN={TOKEN}", f"{TOKEN} {TOKEN}", "hf_ключ", "hf_\x00abc", "hf_a\nb"]
)
def test_what_is_no_token_is_not_sent(hub: FakeHub, typed: str) -> None:
    assert "not a token" in refused(typed)
    assert not hub.requests


def test_an_error_of_the_hub(hub: FakeHub) -> None:
    hub.accounts.clear()
    refused("api_org_" + "Planted9" * 4)  # huggingface_hub's own sentence: an organisation's token
    assert not hub.requests


def test_offline_nothing_is_asked(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def ask(_: str) -> str:
        raise AssertionError("asked")

    with pytest.raises(LlamaError, match="HF_HUB_OFFLINE"):
        login(ask)
    with pytest.raises(LlamaError, match="HF_HUB_OFFLINE"):
        account()


def test_a_token_is_not_sent_unencrypted(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://user:secret99@mirror.example")
    with pytest.raises(LlamaError, match="unencrypted") as caught:
        login(lambda _: TOKEN)
    assert "secret99" not in str(caught.value)


def test_a_hub_that_cannot_be_reached(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in refused(TOKEN)


def test_a_hub_that_never_answers(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS", 4.0)
    hub.silent = threading.Event()
    began = time.monotonic()
    assert "did not answer within 4 s" in refused(TOKEN)
    assert time.monotonic() - began < 15
    assert not (tmp_path / HOME / "token").exists()


def test_an_interrupt_while_the_hub_is_asked_holds_no_token(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_python", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        login(lambda _: TOKEN)
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert not any("_ask_and_store" in frame.f_code.co_name for frame in frames)


def test_a_file_that_cannot_be_written(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / HOME).write_text("a file in the folder's place")
    assert "could not be stored" in refused(TOKEN)


def test_logging_out_removes_what_is_stored(hub: FakeHub, tmp_path: Path) -> None:
    login(lambda _: TOKEN)
    assert logout() == 1
    assert not (tmp_path / HOME / "token").exists()
    assert TOKEN not in "".join(path.read_text() for path in (tmp_path / HOME).rglob("*") if path.is_file())
    assert logout() == 0
    with pytest.raises(LlamaError, match="Nobody is logged in"):
        account()


def test_a_token_that_only_the_file_holds_is_removed_too(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / HOME).mkdir()
    (tmp_path / HOME / "token").write_text(TOKEN)
    assert logout() == 1
    assert not (tmp_path / HOME / "token").exists()
