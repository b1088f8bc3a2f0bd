"""A notebook is recorded in a real JupyterLab, beside its file, and played back there by a fresh kernel."""

import json
import stat
from collections.abc import Callable

from tools.lab_page import LabPage
from tools.lab_server import LabServer

CELLS = (
    "%load_ext llama_nb\n%llama record",
    "%llama load cria",
    "%%llama r << --max-tokens 30\nWhat is a <b>token</b>?",
    "%%llama why --max-tokens 8\nAnd in one word?",
    "print(r.seed, r.usage)",
    "%llama record --stop",
    "import sys\nprint('torch' in sys.modules)\n%llama record",
)
REPLY = "application/vnd.llama-nb.reply+json"


def shown(page: LabPage) -> list[object]:
    """What the cells between load and stop hold: the record of the reply, the view of why, the figures."""
    page.wait_until(
        lambda: all(REPLY in page.outputs(index)[0]["data"] for index in (2, 3)), "replies that are kept"
    )
    return [
        [
            output.get("data", {}).get(REPLY) or output.get("data", {}).get("text/html") or output.get("text")
            for output in page.outputs(index)
        ]
        for index in (2, 3, 4)
    ]


def test_a_fresh_kernel_plays_the_notebook_back(
    page: LabPage, notebook: Callable[..., str], lab: LabServer
) -> None:
    name = notebook(*CELLS)
    page.open(name)
    page.run_all()
    file = lab.work / name.replace(".ipynb", ".replies.jsonl")
    assert f"recorded into {file.name}: no reply so far" in page.text(0)
    assert f"2 replies recorded into {file.name}" in page.text(5)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kinds = [json.loads(line)["type"] for line in file.read_text(encoding="utf-8").splitlines()]
    assert kinds.count("reply") == 2
    recorded = shown(page)
    page.save()
    page.shut_down()

    book = json.loads((lab.work / name).read_text(encoding="utf-8"))
    book["cells"][1]["source"] = "%llama load cria --replay"
    (lab.work / name).write_text(json.dumps(book), encoding="utf-8")
    page.open(name)
    page.run_all()
    assert "2 recorded replies" in page.text(1)
    assert f"Played back from {file.name}" in page.text(1)
    assert shown(page) == recorded
    assert "False" in page.text(6)
    assert file.read_text(encoding="utf-8").count("\n") == len(kinds)
    page.theme("JupyterLab Dark")
    page.shut_down()
