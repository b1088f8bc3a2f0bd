"""The routing explorer's panes in a real JupyterLab: flows, an expert, what if, cost against the kernel's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from playwright.sync_api import Browser, Locator

from llama_nb.render.colour_maps import SEQUENTIAL
from tools.lab_page import LabPage
from tools.lab_server import LabServer

VIEW = 1
SETUP = "%load_ext llama_nb\nimport json, llama_nb as llama\nm = llama.load('cria-moe')"
HOSTILE = "<img src=x onerror=window.__hostile=1><script>window.__hostile=1</script>"
TEXT = (
    "Tell me a story about Anna and a cat. Once upon a time there was a cat. What is 17 + 25? It is 42. "
    f"Anna saw the cat. {HOSTILE} The cat saw Anna"
)
LAYER = 1


def find(page: LabPage, selector: str) -> Locator:
    return page.page.locator(f".llama-nb-moe {selector}").first


def tab(page: LabPage, name: str) -> None:
    page.page.locator(".llama-nb-moe").first.get_by_role("tab", name=name, exact=True).click()


def said(page: LabPage) -> str:
    return find(page, ".llama-nb-rp-readout").inner_text()


def answer(page: LabPage, code: str) -> Any:
    """Run code in the notebook's last cell; return the JSON that it prints."""
    page.evaluate(
        "(panel, code) => panel.content.widgets.at(-1).model.sharedModel.setSource(code)",
        f"print(json.dumps({code}))",
    )
    last = page.cells() - 1
    page.run_cell(last)
    return page.read_json(last)


def sent(value: float) -> float:
    """A figure as the page gets it."""
    return float(f"{value:.4g}")


def nats(value: float) -> str:
    return f"{float(f'{sent(value):.3g}'):g}"


def percent(share: float) -> str:
    return f"{float(f'{100 * sent(share):.3g}'):g} %"


@pytest.fixture(scope="module")
def panes(browser: Browser, lab: LabServer) -> Iterator[LabPage]:
    """A notebook that shows where the tokens of a text go."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = LabPage(context.new_page(), lab)
    cells = [nbformat.v4.new_code_cell(cell) for cell in (SETUP, f"t = m.routing({TEXT!r})\nt", "")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), lab.work / "panes.ipynb")
    page.open("panes.ipynb")
    page.run_cell(0)
    page.run_cell(VIEW)
    find(page, "[role=tab]").wait_for()
    yield page
    page.shut_down()
    context.close()


def to_layer(page: LabPage, layer: int) -> None:
    """Look at a layer: its name above the flows is a way there."""
    tab(page, "Paths")
    find(page, ".llama-nb-rp-head").wait_for()
    page.page.locator(".llama-nb-moe .llama-nb-rp-head", has_text=f"L{layer}").click()
    page.wait_until(
        lambda: f"from, in L{layer}" in (find(page, ".llama-nb-rp-matrix").text_content() or ""),
        f"the matrix of L{layer}",
        20,
    )


def test_paths_by_mouse_and_keys_are_those_of_the_kernel(panes: LabPage, tmp_path: Path) -> None:
    page, mouse, keyboard = panes, panes.page.mouse, panes.page.keyboard
    page.theme("JupyterLab Light")
    to_layer(page, LAYER)
    matrix = np.array(answer(page, f"t.paths().transition({LAYER}).tolist()"))
    experts = len(matrix)
    canvas = find(page, ".llama-nb-rp-matrix > canvas")
    side, data = canvas.evaluate(
        "canvas => [canvas.width, "
        "Array.from(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data)]"
    )
    pixels = np.array(data, dtype=np.uint8).reshape(side, side, 4)
    for row in range(experts):
        for column in range(experts):
            seen = tuple(
                int(part) for part in pixels[*(int((at + 0.5) * side / experts) for at in (row, column))]
            )
            level = round(255 * matrix[row, column] / matrix.max())
            near = range(max(0, level - 1), min(256, level + 2))
            assert seen[:3] in [SEQUENTIAL[value] for value in near]

    row, column = (int(at) for at in np.unravel_index(np.argmax(matrix), matrix.shape))
    box = canvas.bounding_box()
    assert box is not None
    cell = box["width"] / experts
    mouse.move(box["x"] + (column + 0.5) * cell, box["y"] + (row + 0.5) * cell)
    share = percent(round(matrix[row, column], 4))
    page.wait_until(
        lambda: said(page) == f"L1 E{row} → L3 E{column} {share} of the tokens in E{row}", "a cell", 10
    )

    largest = answer(
        page,
        f"max(([f.share, f.source, f.target] for f in t.paths().largest()[0] if f.layer == {LAYER}), "
        "key=lambda f: f[0])",
    )
    ribbon = find(page, ".llama-nb-rp-ribbon")
    if answer(page, "t.paths().largest()[0][0].layer") == LAYER:
        ribbon.hover()
        way = f"L1 E{largest[1]} → L3 E{largest[2]} {percent(largest[0])} of the tokens"
        page.wait_until(lambda: said(page).startswith(way), "the thickest ribbon", 10)
    page.page.locator(".llama-nb-moe").screenshot(path=tmp_path / "paths.png")

    find(page, ".llama-nb-rp-flows").focus()
    keyboard.press("ArrowDown")
    page.wait_until(lambda: said(page).startswith("L1 E"), "a box", 10)
    expert = int(said(page).split("E")[1].split()[0])
    keyboard.press("Enter")
    lead = find(page, ".llama-nb-rp-lead")
    page.wait_until(lambda: lead.count() > 0 and f"L1 E{expert} gets" in lead.inner_text(), "its page", 20)
    assert percent(answer(page, f"t.expert({LAYER}, {expert}).share")) in lead.inner_text()


def test_tokens_of_one_text_alone(panes: LabPage) -> None:
    page = panes
    to_layer(page, LAYER)
    field = find(page, ".llama-nb-rp-filter input")
    field.fill("·cat")
    page.page.keyboard.press("Enter")
    count = answer(page, "sum(text == ' cat' for text in t.texts())")
    assert count >= 3
    counted = find(page, ".llama-nb-rp-counted")
    page.wait_until(lambda: counted.inner_text() == f"{count} tokens", "the tokens of that text", 20)
    page.page.locator(".llama-nb-moe").get_by_role("button", name="All tokens").click()
    length = answer(page, "t.length")
    page.wait_until(lambda: counted.inner_text() == f"{length} tokens", "all tokens", 20)
    assert page.page.evaluate("window.__hostile") is None
    assert [find(page, f".llama-nb-rp {tag}").count() for tag in ("img", "script")] == [0, 0]


def test_a_forbidden_expert_by_keyboard_in_the_dark_and_through_a_reload(
    panes: LabPage, tmp_path: Path
) -> None:
    page, keyboard, view = panes, panes.page.keyboard, panes.page.locator(".llama-nb-moe")
    page.theme("JupyterLab Dark")
    tab(page, "What if")
    find(page, ".llama-nb-rp select[aria-label=Layer]").select_option(str(LAYER))
    expert = answer(page, f"int(t.expert_load().shares[t.column({LAYER})].argmax())")
    find(page, ".llama-nb-rp select[aria-label=Expert]").select_option(str(expert))
    view.get_by_role("switch", name="Forbid").focus()
    keyboard.press("Space")
    lead = find(page, ".llama-nb-rp-lead")
    page.wait_until(lambda: lead.count() > 0 and "KL" in lead.inner_text(), "what it does", 60)
    effect = answer(
        page,
        f"[getattr(m.routing_effect({TEXT!r}, ban=[({LAYER}, {expert})]), name) for name in "
        "('loss_before', 'loss_after', 'kl')]",
    )
    assert f"Loss {nats(effect[0])} → {nats(effect[1])} nats a token" in lead.inner_text()
    chip = f"L{LAYER} E{expert} forbidden"
    assert find(page, ".llama-nb-rp-chip").inner_text() == f"{chip} ✕"
    view.screenshot(path=tmp_path / "whatif-dark.png")

    page.save()
    page.reload()
    find(page, ".llama-nb-rp-chip").wait_for(timeout=30_000)
    assert find(page, ".llama-nb-rp-chip").inner_text() == f"{chip} ✕"
    page.wait_until(lambda: "Loss" in lead.inner_text(), "the effect after the reload", 20)
    view.get_by_role("button", name="Undo all").focus()
    keyboard.press("Enter")
    page.wait_for_text(VIEW, "Forbid an expert and each token that chose it", 20)


def test_cost_and_what_is_copied_of_it(panes: LabPage, tmp_path: Path) -> None:
    page, keyboard = panes, panes.page.keyboard
    page.theme("JupyterLab Light")
    tab(page, "Cost")
    chart = find(page, ".llama-nb-rp [role=slider]")
    chart.wait_for(timeout=30_000)
    rates = answer(page, "[[c.experts, c.lru, c.optimum, c.random] for c in t.cost().cache]")
    chart.focus()
    keyboard.press("Home")
    keyboard.press("ArrowRight")
    kept, lru, optimum, random = rates[1]
    expected = f"{kept} kept: LRU {percent(lru)} best {percent(optimum)} random {percent(random)}"
    page.page.wait_for_timeout(200)
    assert (chart.get_attribute("aria-valuetext") or "").strip() == expected
    sizes = answer(page, "[t.sizes.total_parameters, t.sizes.active_parameters]")
    assert percent(sizes[1] / sizes[0]) in find(page, ".llama-nb-rp-totals").inner_text()
    page.page.locator(".llama-nb-moe").screenshot(path=tmp_path / "cost.png")
    find(page, ".llama-nb-rp [aria-label='Copy the figures']").click()
    page.wait_for_text(VIEW, "Copied")
    copied = page.page.evaluate("navigator.clipboard.readText()").splitlines()
    assert copied[1].split("\t") == ["total parameters", "", str(sizes[0])]
    assert not [line for line in page.console if line.startswith("error") and "llama" in line.lower()]
