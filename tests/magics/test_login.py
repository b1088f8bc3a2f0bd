"""`%llama login` in a real kernel: what is typed is in no message, no history, no variable and no output."""

import json
import queue
import time
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.kernel import Kernel, Result
from tests.loading.fake_hub import FakeHub, serve

pytestmark = pytest.mark.kernel

TOKEN = "hf_" + "Planted7" * 4
WRONG = "hf_" + "Wrong123" * 4


class Watched(Kernel):
    """A kernel whose every message is kept, and whose password questions are answered."""

    def ask(self, code: str, answer: str) -> tuple[Result, dict]:
        """Run a cell and answer its one question; return the result and the question."""
        result = self.submit(code)
        question = None
        deadline = time.monotonic() + 60
        while question is None:
            assert time.monotonic() < deadline, "no question came"
            assert not result.done, result.error_text
            try:
                question = self.client.get_stdin_msg(timeout=0.05)
            except queue.Empty:
                self.pump(0.05)
        self.client.input(answer)
        return self.wait(result), question["content"]

    def everything(self) -> str:
        """All that the kernel has ever sent."""
        results = self._results.values()
        return json.dumps([[result.messages, result.reply] for result in results], default=str)


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with serve({}) as server:
        server.accounts[TOKEN] = "ada"
        yield server


@pytest.fixture(scope="module")
def kernel(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("login")
    environment = {
        "PYTHONPATH": str(ROOT),
        "HF_HOME": str(folder / "home"),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "",
        "LLAMA_NB_CHATS": "off",
        "IPYTHONDIR": str(folder / "ipython"),
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }
    with Watched(environment=environment, cwd=folder) as started:
        started.folder = folder
        started.ok("%load_ext llama_nb")
        yield started


def nowhere(kernel: Watched, secret: str) -> None:
    """Look for a secret in every message, the history, the names and the files of the session."""
    kernel.ok("%history -g -o -n")
    history = kernel.client.history(raw=False, output=True, hist_access_type="range", session=0)
    result = kernel._result(history)
    kernel.until(lambda: result.reply is not None)
    names = kernel.evaluate(
        "repr([(name, repr(value)) for name, value in globals().items()])"
        " + repr(__import__('sys').__dict__.get('last_value'))"
    )
    assert secret not in kernel.everything()
    assert secret not in names
    held = [
        path for path in kernel.folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]
    # huggingface_hub's two files: the token, and the tokens it knows by name.
    assert {path.name for path in held} <= {"token", "stored_tokens"}


def test_a_token_is_asked_for_as_a_password_and_kept(kernel: Watched) -> None:
    result, question = kernel.ask("%llama login", TOKEN)
    assert question["password"] is True
    assert result.status == "ok", result.error_text
    assert "Logged in" in result.text
    assert (kernel.folder / "home" / "token").read_text() == TOKEN
    assert (kernel.folder / "home" / "token").stat().st_mode & 0o777 == 0o600
    nowhere(kernel, TOKEN)


@pytest.mark.parametrize("mode", ["Context", "Verbose"])
def test_a_wrong_token_is_in_no_traceback(kernel: Watched, mode: str) -> None:
    kernel.ok(f"%xmode {mode}")
    for code in ("%llama login --debug", "%llama login hub"):
        result, _ = kernel.ask(code, WRONG)
        assert result.status == "error"
        assert "refused the token (401)" in result.error_text
    assert "Traceback" not in result.error_text
    kernel.ok("%xmode Context")
    nowhere(kernel, WRONG)
    assert (kernel.folder / "home" / "token").read_text() == TOKEN


def test_the_last_error_holds_no_token_in_its_frames(kernel: Watched) -> None:
    kernel.ask("%llama login", WRONG)
    code = (
        "import sys\n"
        "held, at = [], sys.last_value.__traceback__\n"
        "while at:\n"
        "    held += [repr(value) for value in at.tb_frame.f_locals.values()]\n"
        "    at = at.tb_next\n"
        f"found = any('{WRONG[:11]}' + '{WRONG[11:]}' in text for text in held)"
    )
    kernel.ok(code)
    assert kernel.evaluate("found") is False
    assert kernel.evaluate("len(held) > 5") is True


def test_an_empty_answer_changes_nothing(kernel: Watched, hub: FakeHub) -> None:
    asked = len(hub.requests)
    result, _ = kernel.ask("%llama login", "")
    assert result.status == "ok"
    assert "nothing is changed" in result.text
    assert len(hub.requests) == asked


def test_nobody_there_is_a_refusal(kernel: Watched) -> None:
    result = kernel.run("%llama login", allow_stdin=False)
    assert result.status == "error"
    assert "HF_TOKEN" in result.error_text


@pytest.mark.parametrize("word", ["openai", TOKEN])
def test_another_word_is_not_repeated(kernel: Watched, word: str) -> None:
    result = kernel.run(f"%llama login {word}")
    assert result.status == "error"
    assert "one place: hub" in result.error_text
    assert word not in result.error_text


def test_a_variable_wins_and_is_named(kernel: Watched) -> None:
    kernel.ok("import os; os.environ['HF_TOKEN'] = 'hf_' + 'Elsewhere' * 4")
    result, _ = kernel.ask("%llama login", TOKEN)
    assert "HF_TOKEN is set" in result.text
    assert "Elsewhere" not in result.text
    assert "HF_TOKEN is still set" in kernel.ok("%llama logout").text
    kernel.ok("del os.environ['HF_TOKEN']")
    assert not (kernel.folder / "home" / "token").exists()


def test_logging_out_twice(kernel: Watched) -> None:
    kernel.ask("%llama login", TOKEN)
    assert "1 stored token removed" in kernel.ok("%llama logout").text
    assert "No token is stored" in kernel.ok("%llama logout").text


def test_offline_says_so(kernel: Watched) -> None:
    kernel.ok("os.environ['HF_HUB_OFFLINE'] = '1'")
    result = kernel.run("%llama login")
    assert "HF_HUB_OFFLINE" in result.error_text
    kernel.ok("os.environ['HF_HUB_OFFLINE'] = '0'")
