"""Keys are made unreadable wherever text leaves the process."""

import pytest

from llama_nb.runtime.secrets import redact


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("token hf_abcDEF1234567890 refused", "abcDEF1234567890"),
        ("sk-proj-abcdefghijkl1234", "abcdefghijkl1234"),
        ("Authorization: Bearer abc.def-123456", "def-123456"),
        ("https://user:passw0rd@host/x", "passw0rd"),
        ("gsk_abcdefghijklmnop", "abcdefghijklmnop"),
        ("r8_abcdefghijklmnop", "abcdefghijklmnop"),
        ("AKIAABCDEFGHIJKLMNOP", "ABCDEFGHIJKLMNOP"),
    ],
)
def test_keys_are_hidden(text: str, hidden: str) -> None:
    shown = redact(text)
    assert hidden not in shown
    assert "***" in shown


def test_values_of_secret_variables_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_API_KEY", "correct horse battery")
    monkeypatch.setenv("SHORT_TOKEN", "none")
    assert redact("key is correct horse battery, none else") == "key is cor***, none else"


@pytest.mark.parametrize(
    "name", ["DB_PASSWD", "MY_PAT", "KEY_PASSPHRASE", "GCP_CREDENTIALS", "SSH_PRIVATE_KEY"]
)
def test_more_names_of_secrets(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "correct horse battery")
    assert redact("it is correct horse battery") == "it is cor***"


def test_nothing_of_a_key_stays_where_nothing_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_API_KEY", "correct horse battery")
    assert redact("correct horse battery, hf_abcDEF1234567890", visible=0) == "***, ***"


@pytest.mark.parametrize("text", ["", "plain", "a task-list", "hf_hub", "https://host/a:b@c", "100 tokens/s"])
def test_plain_text_stays(text: str) -> None:
    assert redact(text) == text
