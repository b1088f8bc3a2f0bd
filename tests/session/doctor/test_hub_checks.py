"""The hub, its log-in and its cache: what is wrong with them (planted), and what is not."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llama_nb.runtime import hub_settings
from llama_nb.session.doctor.checks import hub
from tests.loading.fake_hub import FakeHub, serve
from tests.session.doctor.verdicts import is_note, is_ok, is_problem

GB = 10**9


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in (*hub_settings.TOKEN_VARIABLES, "HF_HUB_CACHE", "HF_TOKEN_PATH", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path / "hf"


@pytest.fixture
def server_of_hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serve({}) as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        monkeypatch.setenv("HF_TOKEN", "hf_" + "Planted5" * 4)
        yield fake
        if fake.silent is not None:
            fake.silent.set()


def test_a_hub_that_answers_is_sent_no_token(server_of_hub: FakeHub) -> None:
    is_ok(hub.reachable(), "answers", "mirror")
    assert server_of_hub.tokens == [""]


def test_a_hub_that_is_ill(server_of_hub: FakeHub) -> None:
    server_of_hub.status = 503
    is_problem(hub.reachable(), "503")


def test_a_hub_that_accepts_and_never_answers(
    server_of_hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_SECONDS", 0.3)
    server_of_hub.silent = threading.Event()
    began = time.monotonic()
    is_problem(hub.reachable(), "cannot be reached", "HF_HUB_OFFLINE=1")
    assert time.monotonic() - began < 10


def test_a_hub_that_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{probe.getsockname()[1]}")
        is_problem(hub.reachable(), "cannot be reached")
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc/passwd")
    is_problem(hub.reachable(), "no web address")


def test_offline_the_hub_is_not_asked(server_of_hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    is_note(hub.reachable(), "HF_HUB_OFFLINE")
    assert not server_of_hub.requests


def test_a_certificate_that_is_not_trusted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate in certificate chain")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    is_problem(hub.reachable(), "certificate", "SSL_CERT_FILE")


def test_log_ins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "hf_" + "Planted6" * 4
    is_note(hub.log_in(), "%llama login")
    home.mkdir()
    (home / "token").write_text(token)
    (home / "token").chmod(0o644)
    is_problem(hub.log_in(), "Other users", "%llama login")
    (home / "token").chmod(0o600)
    is_ok(hub.log_in(), "its file")
    monkeypatch.setenv("HF_TOKEN", token)
    is_note(hub.log_in(), "HF_TOKEN", "wins")
    (home / "token").unlink()
    is_ok(hub.log_in(), "HF_TOKEN")
    assert not any(token[:6] in f"{hub.log_in()}" for _ in range(1))


def test_whose_log_in_it_is(server_of_hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    is_problem(hub.whose(), "401")
    server_of_hub.accounts[os.environ["HF_TOKEN"]] = "ada"
    is_ok(hub.whose(), "ada")


def test_the_cache(home: Path) -> None:
    is_ok(hub.models(), "written to", "0 in")
    (home / "hub" / "models--a--half" / "blobs").mkdir(parents=True)
    (home / "hub" / "models--a--half" / "blobs" / "x.incomplete").write_bytes(b"x" * 10)
    is_note(hub.models(), "half-downloaded", "%llama models --delete a/half")


def test_a_cache_that_cannot_be_written_to(home: Path) -> None:
    home.write_text("a file in its place")
    is_problem(hub.models(), "a file stands", "HF_HOME")
