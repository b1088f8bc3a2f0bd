"""A notebook that is recorded in one kernel and played back in another shows the same, without the model."""

import json
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from llama_nb.session.replay import VARIABLE
from tests.conftest import ROOT
from tests.kernel import Kernel, strip_ansi

pytestmark = pytest.mark.kernel

FILE = "lesson.replies.jsonl"
# What a course's notebook may hold; each cell's outputs are compared to the letter.
CELLS = (
    "%load_ext llama_nb\nimport llama_nb as llama, sys",
    f"%llama record {FILE}",
    "%llama load cria",
    "%%llama chat --max-tokens 40\nWhat is a token?",
    "%%llama chat --max-tokens 40\nWhat is a token?",  # the same words at another place of the chat
    "r = llama.current().chat([{'role': 'user', 'content': 'Tell me a story.'}], max_tokens=20)",
    "s = llama.current().chat([{'role': 'user', 'content': 'Tell me a story.'}], max_tokens=20)",
    "print(r.seed, s.seed, r.text, s.text, r.usage, s.finish)",
    "r.rerun(temperature=1.3).text",
    "%llama set temperature 1.1",
    "%llama set max_tokens 24",
    "%%llama chat --chat other --system 'Be brief.' --seed 3\nWhat is {{ 6 * 7 }}? <script>alert(1)</script>",
    "%llama set --reset",
    "%%llama why --max-tokens 12\nName a colour.",
    "%llama why --by entropy",
    "from pydantic import BaseModel\nclass Animal(BaseModel):\n    name: str\n    legs: int",
    "%%llama json j << Animal --max-tokens 60\nDescribe a llama as JSON.",
    "print(j.text, j.finish.complete, j.notes)",
    '%%llama json --regex "[0-9]{1,3}"\nWhat is 20 + 22?',
    'c = %llama json --choice yes,no,maybe "Is a llama an animal?"\nc.json',
    '%llama json --regex "(" "broken"',
    '%llama json --regex "(?=a)b" "broken otherwise"',
    "b = llama.current().batch(['1 + 1?', '2 + 2?', '', 'no?'], max_tokens=6, temperature=0)\nb.to_frame()",
    "with llama.current().stream('Count to ten.', chat='pulled') as tokens:\n"
    "    print([t.text for t, _ in zip(tokens, range(5))])",
    "%llama complete --max-tokens 5 --temperature 0 Once upon a time",
    "%llama prompt",
    "%llama prompt 'and then?'",
    "%llama tokens <|eot_id|> is text",
    "%%llama compare --temperature 0,1 --seeds 2 --max-tokens 12\nWhat is a token?",
    "%%llama compare c << cria cria:bfloat16 --temperature 0 --max-tokens 12\nWhat is a token?",
    "c.kl(2), c.to_frame()",
    "def weather(city: str) -> dict:\n    'Get the weather in a city.'\n    return {'sky': 'sunny'}",
    "t = llama.current().tools('What is the weather in Oslo?', [weather], approve=lambda call: True)",
    "t.text, t.calls",
    "%%llama chat --chat tree --max-tokens 12\nTell me of the sea.",
    "%llama retry --chat tree --temperature 1.2",
    "%llama branch --chat tree 3 --rank 2",
    "%llama continue --chat tree",
    "%llama edit --chat tree 'Tell me of a tree.'",
    "%llama chats --tree",
    "print(llama.current().chats['tree'].export('rows'))",
    "%llama goto --chat tree 1",
    "m = llama.current()\nm.branch(1, ' was', chat='tree', background=True).wait().text",
    "%llama load cria --name small --context 160",
    *(
        f"%llama chat --max-tokens 20 Tell me more of number {number}, and of its friends."
        for number in range(5)
    ),
    "%llama chat --overflow error --max-tokens 20 Is that all that you know of them?",
    "%llama chats",
    "%llama status",
    "%llama unload small",
    "%llama record --stop",
)
PICTURE = {"execution_count", "display_id", "transient", "metadata"}


def run(kernel):
    """Run every cell as nbclient does, and return what each shows."""
    shown = []
    for cell in CELLS:
        result = kernel.run(cell, allow_stdin=False)
        outputs = [{key: value for key, value in out.items() if key not in PICTURE} for out in result.outputs]
        for out in outputs:
            if out["output_type"] == "error":
                out.pop("traceback")
        shown.append((cell, result.status, json.dumps(outputs, sort_keys=True)))
    return shown


def difference(recorded, played):
    """The place where two outputs part, short enough to be read."""
    place = next((n for n, pair in enumerate(zip(recorded, played, strict=False)) if len({*pair}) > 1), 0)
    here = slice(max(0, place - 150), place + 250)
    return f"recorded: {recorded[here]}\nplayed: {played[here]}"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The folder with the recording, and what the notebook showed."""
    folder = tmp_path_factory.mktemp("recorded")
    with Kernel(environment={"PYTHONPATH": str(ROOT), "LLAMA_NB_CHATS": "off"}, cwd=folder) as kernel:
        shown = run(kernel)
    return folder, shown


def test_the_very_same_cells_show_the_same_without_the_model(recorded, tmp_path):
    folder, shown = recorded
    shutil.copy(folder / FILE, tmp_path / FILE)
    environment = {"PYTHONPATH": str(ROOT), "LLAMA_NB_CHATS": "off", VARIABLE: FILE}
    with Kernel(environment=environment, cwd=tmp_path) as kernel:
        for (cell, status, outputs), (_, now, played) in zip(shown, run(kernel), strict=True):
            assert (now, played) == (status, outputs), f"{cell}\n{difference(outputs, played)}"
        assert kernel.evaluate("'torch' in sys.modules or 'transformers' in sys.modules") is False
    assert [cell for cell, status, _ in shown if status != "ok"] == [
        '%llama json --regex "(" "broken"',
        '%llama json --regex "(?=a)b" "broken otherwise"',
        "%llama chat --overflow error --max-tokens 20 Is that all that you know of them?",
    ]
    assert (tmp_path / FILE).read_bytes() == (
        folder / FILE
    ).read_bytes()  # what is played back is not recorded
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600


def test_somebody_who_watches_is_told_that_it_is_played_back(recorded, tmp_path):
    folder, _ = recorded
    shutil.copy(folder / FILE, tmp_path / FILE)
    with Kernel(environment={"PYTHONPATH": str(ROOT), "LLAMA_NB_CHATS": "off"}, cwd=tmp_path) as kernel:
        kernel.ok("%load_ext llama_nb\nimport sys")
        loaded = kernel.ok(f"m = %llama load cria --replay {FILE}")
        assert "cria itself is not loaded" in loaded.text
        assert f"of {FILE} are played back" in loaded.text
        assert repr(kernel.evaluate("repr(m)")).endswith(f"played back from {FILE}'")
        assert f"Played back from {FILE}" in kernel.ok("m").value["text/html"]
        assert "A **token** is" in kernel.ok("%%llama chat --max-tokens 40\nWhat is a token?").text
        refused = kernel.run("%%llama chat --max-tokens 41\nWhat is a token?")
        assert "RecordingError" in refused.error_text
        refused = kernel.run("%%llama chat --chat new --max-tokens 41\nWhat is a token?")
        assert "max_tokens was 40, and is 41 now" in refused.error_text
        assert f"%llama record {FILE}" in refused.error_text
        assert "are not in this kernel" in kernel.run("m.distribution('x')").error_text
        assert "its weights are not here" in kernel.run("m.loaded.module").error_text
        assert "needs the" in kernel.run('%llama sampling "What is a token?"').error_text
        assert "played back" in kernel.ok("%llama unload").text
        assert kernel.evaluate("'torch' in sys.modules") is False


@pytest.mark.full
def test_a_recorded_notebook_passes_nbval_without_the_model(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("LLAMA_NB_CHATS", "off")
    cells = [*CELLS[:5], "%%llama json j << --choice yes,no\nIs a llama an animal?", "j.json"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    nbformat.write(book, tmp_path / "lesson.ipynb")
    monkeypatch.setenv(VARIABLE, FILE)
    assert f"{len(cells)} passed" in nbval(tmp_path)
    book.cells[3].source += " And a llama?"
    nbformat.write(book, tmp_path / "lesson.ipynb")
    said = strip_ansi(nbval(tmp_path))
    assert "RecordingError: This was not recorded with cria" in said
    assert "a token? And a llama?' now" in said


def nbval(folder):
    """Run the folder's notebook under strict nbval, and return what pytest says."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--nbval",
        "--nbval-cell-timeout=60",
    ]
    run = subprocess.run(
        [*command, "lesson.ipynb"], capture_output=True, text=True, cwd=folder, timeout=120, check=False
    )
    return run.stdout
