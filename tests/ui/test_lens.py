"""The logit lens in a real JupyterLab: figures against numpy, keyboard and mouse, both themes, a reload."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import BrowserContext, Locator

from tools.lab_page import LabPage
from tools.lab_server import LabServer

LENS = 1
SETUP = "%load_ext llama_nb\nimport llama_nb as llama, json\nm = llama.load('cria')"
TEXT = "Once upon a time there was a llama who lived in the mountains. One day she"
HOSTILE = "<img src=x onerror=window.__hostile=1><script>window.__hostile=1</script>"
# What the page must show, from the trace's own arrays.
FIGURES = """
d = t.depths
print(json.dumps({
    "ids": d.ids.tolist(), "chances": d.chances.tolist(), "final": d.final.tolist(), "next": d.next.tolist(),
    "final_rank": d.final_rank.tolist(), "next_rank": d.next_rank.tolist(), "entropy": d.entropy.tolist(),
    "kl": d.kl.tolist(), "settled": t.settled().tolist(), "layers": t.layers, "texts": t.texts,
    "names": {str(i): text for i, (text, _) in t.names.items()},
}))
"""


def find(page: LabPage, selector: str) -> Locator:
    return page.page.locator(f".llama-nb-lens {selector}").first


def cell(page: LabPage, row: int, column: int) -> Locator:
    return find(page, f'[data-row="{row}"][data-column="{column}"]')


def percent(chance: float) -> str:
    """As labextension/widgets/token_strip.ts writes it."""
    if 0 < chance < 1e-4:
        return "< 0.01 %"
    return "100 %" if chance >= 0.9995 else f"{float(f'{100 * chance:.3g}'):g} %"


def nats(value: float) -> str:
    return "< 0.0001" if 0 < value < 1e-4 else f"{float(f'{value:.3g}'):g}"


def visible(text: str) -> str:
    return text.replace(" ", "\u00b7").replace("\n", "\u23ce") or "\u2205"


def shown(page: LabPage) -> dict[str, Any]:
    """What stands below the grid."""
    texts = lambda selector: page.page.locator(f".llama-nb-lens {selector}").all_inner_texts()  # noqa: E731
    return {
        "where": find(page, ".llama-nb-lens-where b").inner_text(),
        "tokens": texts(".llama-nb-lens-said .llama-nb-lens-token"),
        "chances": texts(".llama-nb-lens-said output"),
        "entropy": texts("[data-kind=entropy]"),
        "kl": texts("[data-kind=kl] output, output[data-kind=kl]"),
        "final": texts("output[data-kind=final]"),
        "next": texts("output[data-kind=next]"),
    }


def wanted(figures: dict[str, Any], row: int, column: int) -> dict[str, Any]:
    names = figures["names"]
    return {
        "where": figures["layers"][row],
        "tokens": [visible(names[str(token)]) for token in figures["ids"][row][column]],
        "chances": [percent(chance) for chance in figures["chances"][row][column]],
        "entropy": [nats(figures["entropy"][row][column])],
        "kl": [nats(figures["kl"][row][column])],
        "final": [percent(figures["final"][row][column])],
        "next": [percent(figures["next"][row][column])],
    }


@pytest.fixture
def lens_page(page: LabPage, notebook: Callable[..., str]) -> LabPage:
    page.open(notebook(SETUP, f"t = m.lens({TEXT!r})\nt", FIGURES))
    page.run_all()
    find(page, "[data-row]").wait_for(state="attached")
    return page


def test_figures_are_those_of_the_trace_by_mouse_and_by_keyboard_in_both_themes(
    lens_page: LabPage, tmp_path: Path
) -> None:
    page, keyboard = lens_page, lens_page.page.keyboard
    figures = page.read_json(LENS + 1)
    box = page.page.locator(".llama-nb-lens").bounding_box()
    assert box is not None
    assert (box["width"] <= 640, box["height"] <= 420) == (True, True)

    last = len(figures["texts"]) - 1
    for row, column in ((6, last - 1), (0, last - 2), (3, last - 3), (5, last - 5)):
        cell(page, row, column).hover()
        page.wait_until(lambda at=(row, column): shown(page) == wanted(figures, *at), "the figures", 20)
        said = figures["names"][str(figures["ids"][row][column][0])]
        assert cell(page, row, column).inner_text() in (visible(said), f"{visible(said)[:6]}\u2026")
    colours = "rgb({}, {}, {})"
    ground = cell(page, 0, last).evaluate("cell => getComputedStyle(cell).backgroundColor")
    assert figures["chances"][0][last][0] > 0.999
    assert ground == colours.format(254, 232, 56)  # the end of cividis
    settled = page.page.locator(".llama-nb-lens [data-settled=true]").evaluate_all(
        "cells => cells.map(cell => [Number(cell.dataset.column), Number(cell.dataset.row)])"
    )
    assert settled
    assert all(figures["settled"][column] == row for column, row in settled)
    page.page.locator(".llama-nb-lens").screenshot(path=tmp_path / "light.png")

    page.theme("JupyterLab Dark")
    find(page, "[role=grid]").focus()
    page.page.mouse.move(5, 5)
    for key in ("Control+Home", "ArrowDown", "ArrowDown", "ArrowRight", "d", "d", "x"):
        keyboard.press(key)
    page.wait_until(lambda: shown(page) == wanted(figures, 2, 1), "the cell of the keys", 20)
    assert cell(page, 2, 1).get_attribute("aria-selected") == "true"
    active = find(page, "[role=grid]").get_attribute("aria-activedescendant")
    assert active == cell(page, 2, 1).get_attribute("id")
    assert page.cells() == 3
    find(page, "select").select_option("kl")
    dark = cell(page, 6, 1).evaluate("cell => getComputedStyle(cell).backgroundColor")
    assert dark == colours.format(0, 34, 78)
    find(page, ".llama-nb-lens-chart svg").click(position={"x": 40, "y": 40})
    page.wait_until(lambda: shown(page) == wanted(figures, 0, 1), "the layer that was picked", 20)
    page.page.locator(".llama-nb-lens").screenshot(path=tmp_path / "dark.png")
    assert not [line for line in page.console if "error" in line.lower()]
    assert not page.foreign
    page.shut_down()


@pytest.mark.full
def test_a_reload_comes_back_and_without_a_kernel_it_can_be_read(
    lens_page: LabPage, context: BrowserContext, lab: LabServer
) -> None:
    page = lens_page
    figures = page.read_json(LENS + 1)
    find(page, "select").select_option("entropy")
    cell(page, 2, 17).click()
    page.wait_until(
        lambda: "ground is the entropy" in json.dumps(page.outputs(LENS)), "a twin with the ground"
    )
    page.save()
    page.reload()
    cell(page, 2, 17).wait_for(state="attached")
    page.wait_until(lambda: shown(page) == wanted(figures, 2, 17), "the cell from before", 20)
    assert find(page, "select").input_value() == "entropy"
    page.wait_for_kernel()
    find(page, "[role=grid]").focus()
    page.page.keyboard.press("ArrowDown")
    page.wait_until(lambda: shown(page) == wanted(figures, 3, 17), "the cell below", 20)

    path = page.save()
    page.shut_down()
    page.page.close()
    saved = nbformat.read(path, as_version=4)
    saved.cells.append(nbformat.v4.new_markdown_cell("Changed by another hand."))
    nbformat.write(saved, lab.work / "lens-untrusted.ipynb")
    lab.run("trust", path.name)
    for name in (path.name, "lens-untrusted.ipynb"):
        again = LabPage(context.new_page(), lab)
        again.open(name, kernel=False)
        again.wait_for_text(LENS, "Each row says what would come next")
        again.page.wait_for_timeout(1500)
        assert "Error displaying widget" not in again.text(LENS)
        assert again.page.locator(".llama-nb-lens:visible").count() == 0
        coloured = again.page.locator(".jp-OutputArea-output td").evaluate_all(
            "cells => new Set(cells.map(cell => getComputedStyle(cell).backgroundColor)).size"
        )
        assert coloured > 5
        assert not again.foreign
        again.shut_down()
        again.page.close()


def test_a_long_and_hostile_text_with_the_tokens_of_llama_3(
    page: LabPage, notebook: Callable[..., str], slow_llama: Path
) -> None:
    text = f"{HOSTILE} " + " ".join(f"number {n}" for n in range(60))
    setup = f"{SETUP.rsplit('llama.load', 1)[0]}llama.load({str(slow_llama)!r})"
    page.open(notebook(setup, f"t = m.lens({text!r})\nt", FIGURES))
    page.run_all()
    figures = page.read_json(LENS + 1)
    last = len(figures["texts"]) - 1
    assert last > 180
    cell(page, 0, last).wait_for(state="attached")
    drawn = page.page.locator(".llama-nb-lens [data-row]")
    assert drawn.count() < 150, "only what is in sight is in the page"
    find(page, "[role=grid]").focus()
    page.page.keyboard.press("Control+Home")
    for row, column in ((0, 0), (0, 5)):
        page.wait_until(lambda at=(row, column): shown(page) == wanted(figures, *at), "figures far away", 20)
        for _ in range(5):
            page.page.keyboard.press("ArrowRight")
    assert "<img\n" in find(page, ".llama-nb-lens-top").inner_text()
    grid = find(page, "[role=grid]")
    grid.evaluate("grid => { grid.scrollLeft = 80 * 62; }")
    page.wait_until(lambda: cell(page, 2, 83).inner_text() != "", "a window in the middle", 20)
    grid.evaluate("grid => { grid.parentElement.style.width = '520px'; }")  # as its handle does
    page.page.wait_for_timeout(300)  # who scrolled away stays there
    assert grid.evaluate("grid => grid.scrollLeft") == 80 * 62
    cell(page, 2, 83).click()
    page.wait_until(lambda: shown(page) == wanted(figures, 2, 83), "figures in the middle", 20)
    page.page.keyboard.press("End")
    page.wait_until(lambda: "ends here" in find(page, "[data-figure=text]").inner_text(), "the end", 20)
    assert page.page.evaluate("window.__hostile === undefined")
    assert find(page, "img").count() == 0
    assert not page.foreign
    assert not page.dialogs
    page.shut_down()
