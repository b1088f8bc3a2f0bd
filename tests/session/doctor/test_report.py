"""A report holds no secret: planted ones in variables, files, addresses, proxies, paths and names."""

import getpass
import platform
import urllib.parse
from pathlib import Path

import pytest

from llama_nb.session.doctor.check import ok, problem
from llama_nb.session.doctor.diagnosis import Diagnosis
from llama_nb.session.doctor.report import bug_report

TOKEN = "hf_" + "Planted3" * 4
PASSWORD = "p@ss/w0rd&more"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user with secrets everywhere; returns her home."""
    home = tmp_path / "home" / "lovelace"
    (home / "thesis").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USER", "lovelace")
    monkeypatch.setattr(getpass, "getuser", lambda: "lovelace")
    monkeypatch.setattr(platform, "node", lambda: "engine7.cs.example.edu")
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    for name in ("HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    (home / "hf").mkdir()
    (home / "hf" / "token").write_text("token-of-a-mirror-without-shape")
    monkeypatch.setenv("MY_DB_PASSWORD", PASSWORD)
    monkeypatch.setenv("SOME_PASSWD", "passwd-in-plain")
    monkeypatch.setenv("GITLAB_PAT", "glpat-abcdefgh")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-openai-key")
    monkeypatch.setenv("HTTPS_PROXY", f"http://ada:{urllib.parse.quote(PASSWORD, safe='')}@proxy.corp:3128")
    monkeypatch.setenv("JPY_SESSION_NAME", str(home / "thesis" / "secret-plan.ipynb"))
    monkeypatch.chdir(home / "thesis")
    return home


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"token {TOKEN}", "Planted3"),
        (f"token {TOKEN}", "hf_"),
        ("the file says token-of-a-mirror-without-shape", "mirror-without"),
        (f"password {PASSWORD}!", "w0rd"),
        ("passwd-in-plain", "plain"),
        ("glpat-abcdefgh", "glpat"),
        ("key sk-planted-openai-key", "planted"),
        (f"via http://ada:{urllib.parse.quote(PASSWORD, safe='')}@proxy.corp:3128/x", "proxy.corp"),
        (f"via http://ada:{urllib.parse.quote(PASSWORD, safe='')}@proxy.corp:3128/x", "w0rd"),
        ("cannot connect to proxy.corp", "proxy.corp"),
        ("git+https://x-token:abc123@git.example/llama-nb.git@main", "abc123"),
        ("git+https://abc123def@git.example/llama-nb.git", "abc123def"),
        ("ssh://deploy@git.example/x", "deploy"),
        ("https://mirror.example/x?token=abc123&y=1", "abc123"),
        ("https://mirror.example/x?y=1&api_key=abc123", "abc123"),
        ("{home}/.cache/huggingface", "{home}"),
        ("{home}/thesis/data/secrets.csv", "thesis"),
        ("{home}/thesis/secret-plan.ipynb", "secret-plan"),
        ("opened secret-plan.ipynb", "secret-plan"),
        ("file://{home}/thesis", "thesis"),
        ("/home/babbage/lib.so and /Users/babbage/lib.so", "babbage"),
        ("C:\\Users\\babbage\\lib.dll", "babbage"),
        ("/scratch/lovelace/x", "lovelace"),
        ("Lovelace owns it", "ovelace"),
        ("on engine7.cs.example.edu", "engine7"),
        ("on ENGINE7", "ENGINE7"),
    ],
)
def test_a_secret_is_not_in_a_report(world: Path, text: str, hidden: str) -> None:
    text, hidden = text.format(home=world), hidden.format(home=world)
    assert hidden in text
    assert hidden not in bug_report(text)


def test_what_helps_stays(world: Path) -> None:
    text = (
        'torch 2.13.0+cu126, driver 580.95.05; pip install -U "transformers>=5"\n'
        "OSError: /usr/lib/libcudart.so.12: cannot open shared object file\n"
        "https://huggingface.co/settings/tokens, a lovelacean word, hm"
    )
    assert bug_report(text) == text


def test_folders_keep_their_ends(world: Path) -> None:
    assert bug_report(f"{world}/.venv/bin/python") == "~/.venv/bin/python"
    assert bug_report(f"{world}/thesis/.venv/bin/python") == "(notebook's folder)/.venv/bin/python"
    assert bug_report(f"{world}s/x").count("~") <= 1


def test_a_whole_diagnosis(world: Path) -> None:
    found = Diagnosis(
        (
            ok("llama-nb", "0.1.0, installed from a git repository.", f"https://{TOKEN}@git.example/x"),
            problem("hub", "It cannot be reached.", "Look.", f"proxy.corp refused ada {PASSWORD}"),
            problem("torch", "It cannot be imported.", "pip install torch", f"{world}/thesis/torch.py"),
        )
    )
    text = found.report()
    for secret in (TOKEN, "Planted3", PASSWORD, "proxy.corp", str(world), "lovelace", "thesis"):
        assert secret not in text
    assert "✗ problem  torch" in text
    assert "torch.py" in text


def test_a_user_whose_name_is_a_word_of_ours_spoils_nothing(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("root", "al", "python"):
        monkeypatch.setenv("USER", name)
        monkeypatch.setattr(getpass, "getuser", lambda name=name: name)
        assert bug_report("python is all that root has") == "python is all that root has"
