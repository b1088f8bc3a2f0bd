"""The doctor and the log-in in a real JupyterLab: what the page is, and a password that no notebook keeps."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.loading.fake_hub import FakeHub, serve
from tools.lab_page import LabPage

TOKEN = "hf_" + "Planted2" * 4
SETUP = """%load_ext llama_nb
import os
os.environ |= {{"HF_HOME": "{home}", "HF_ENDPOINT": "{url}", "HF_HUB_OFFLINE": "0", "HF_TOKEN": ""}}"""


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serve({}) as server:
        server.accounts[TOKEN] = "ada"
        yield server


@pytest.mark.parametrize("theme", [pytest.param("Light", marks=pytest.mark.full), "Dark"])
def test_the_doctor_finds_the_page_in_order(
    page: LabPage, notebook: Callable[..., str], hub: FakeHub, tmp_path: Path, theme: str
) -> None:
    setup = SETUP.format(home=tmp_path, url=hub.url)
    page.open(notebook(setup, "%llama doctor", name=f"doctor-{theme}.ipynb"))
    page.theme(f"JupyterLab {theme}")
    page.run_cell(0)
    page.run_cell(1)
    rows = [row.inner_text().split("\t") for row in page.output(1).query_selector_all("tbody tr")]
    found = {row[1].strip(): row for row in rows}
    assert "JupyterLab (JupyterLab 4" in found["front end"][2]
    for name in ("front end", "widgets", "Stop", "extension", "torch", "hub", "chats"):
        assert "ok" in found[name][0], found[name]
    assert "%llama login" in found["log-in"][2]
    page.output(1).screenshot(path=str(tmp_path / "doctor.png"))


def test_a_typed_token_is_in_no_saved_notebook(
    page: LabPage, notebook: Callable[..., str], hub: FakeHub, tmp_path: Path
) -> None:
    page.open(notebook(SETUP.format(home=tmp_path, url=hub.url), "%llama login"))
    page.run_cell(0)
    page.start_cell(1)
    prompt = page.page.locator(".jp-Stdin-input")
    prompt.wait_for()
    assert prompt.get_attribute("type") == "password"
    prompt.fill(TOKEN)
    prompt.press("Enter")
    page.wait_for_text(1, "Logged in")
    assert (tmp_path / "token").read_text() == TOKEN
    assert TOKEN not in page.page.content()
    assert TOKEN not in page.save().read_text(encoding="utf-8")
