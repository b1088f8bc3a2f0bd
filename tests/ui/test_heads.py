"""Scores of heads in a real JupyterLab: pictures and maps with their colours, live and untrusted."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from tools.lab_page import LabPage
from tools.lab_server import LabServer

CELLS = (
    "%load_ext llama_nb\nimport llama_nb as llama\nm = llama.load('cria')",
    "%llama heads",
    "%llama heads --kind induction",
)
# What is drawn of each picture: its width, and the colour of its middle as [red, green, blue].
PIXELS = """
node => Promise.all([...node.querySelectorAll("img")].map(async picture => {
    await picture.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
    const drawn = canvas.getContext("2d");
    drawn.drawImage(picture, 0, 0);
    const all = drawn.getImageData(0, 0, canvas.width, canvas.height).data;
    return [picture.naturalWidth, picture.getBoundingClientRect().width, [...all.slice(0, 3)], picture.alt];
}))
"""


@pytest.fixture
def shown(page: LabPage, notebook: Callable[..., str]) -> LabPage:
    page.open(notebook(*CELLS))
    for cell in range(len(CELLS)):
        page.run_cell(cell)
    page.wait_for_text(2, "Olsson et al. 2022")
    return page


def pictures(page: LabPage) -> list[list[object]]:
    found: list[list[object]] = page.output(1).evaluate(PIXELS)
    return found


def grounds(page: LabPage) -> list[list[str]]:
    """The colours of the cells of the induction map, as they are drawn."""
    cells = (
        "cells => cells.map(cell => [getComputedStyle(cell).backgroundColor, getComputedStyle(cell).color])"
    )
    found: list[list[str]] = page.page.locator("td[title^='L']").evaluate_all(cells)
    return found


def test_pictures_and_maps_are_drawn_live_untrusted_and_converted(
    shown: LabPage, lab: LabServer, tmp_path: Path
) -> None:
    live, colours = pictures(shown), grounds(shown)
    assert len(live) == 6
    assert all(drawn == wide for drawn, wide, _, _ in live), "a square of a head is whole pixels"
    assert live[0][2] == [0, 34, 78], "layer 0, head 0 does not copy: the darkest colour"
    assert len(colours) == 36
    assert len({ground for ground, _ in colours}) > 3
    assert {text for _, text in colours} == {"rgb(0, 0, 0)", "rgb(255, 255, 255)"}
    shown.output(1).screenshot(path=tmp_path / "heads-light.png")
    shown.theme("JupyterLab Dark")
    assert grounds(shown) == colours, "the map's colours are its own"
    shown.output(1).screenshot(path=tmp_path / "heads-dark.png")
    shown.output(2).screenshot(path=tmp_path / "heads-kind-dark.png")
    shown.theme("JupyterLab Light")
    path = shown.save()
    shown.shut_down()

    saved = nbformat.read(path, as_version=4)
    saved.cells.append(nbformat.v4.new_markdown_cell("Changed by another hand."))
    nbformat.write(saved, lab.work / "heads-untrusted.ipynb")
    again = LabPage(shown.page, lab)
    again.open("heads-untrusted.ipynb", kernel=False)
    again.wait_for_text(2, "Olsson et al. 2022")
    assert not again.trusted()
    assert pictures(again) == live
    assert grounds(again) == colours
    assert again.foreign == []

    lab.run("nbconvert", "--to", "html", "heads-untrusted.ipynb")
    page = (lab.work / "heads-untrusted.html").read_text()
    assert page.count("data:image/png;base64,") >= 6
