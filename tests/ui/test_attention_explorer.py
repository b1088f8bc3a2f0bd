"""The attention explorer in a real JupyterLab: pixels and values against the kernel's, ways to use it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from playwright.sync_api import Browser, Locator

from llama_nb.render.colour_maps import SEQUENTIAL
from tests.models import write_random_llama
from tools.lab_page import LabPage
from tools.lab_server import LabServer

VIEW = 1
SETUP = "%load_ext llama_nb\nimport json, llama_nb as llama\nm = llama.load('cria')"
TEXT = "The cat sat on the mat because the cat was tired."
OPEN = f"t = m.attention({TEXT!r})\nt.view(3, 3)"
HOSTILE = "<img src=x onerror=window.__hostile=1><script>window.__hostile=1</script>"


def find(page: LabPage, selector: str) -> Locator:
    return page.page.locator(f".llama-nb-att {selector}").first


def ready(page: LabPage) -> None:
    """Wait for the exact map and the links."""
    find(page, ".llama-nb-att-map[aria-busy=false]").wait_for()
    find(page, ".llama-nb-att-link").wait_for()


def answer(page: LabPage, code: str) -> Any:
    """Run code in the notebook's last cell; return the JSON that it prints."""
    page.evaluate(
        "(panel, code) => panel.content.widgets.at(-1).model.sharedModel.setSource(code)",
        f"print(json.dumps({code}))",
    )
    last = page.cells() - 1
    page.run_cell(last)
    return page.read_json(last)


def pixels(page: LabPage) -> np.ndarray[Any, Any]:
    """Return the map's canvas, as (height, width, RGBA)."""
    found = find(page, ".llama-nb-att-map > canvas").evaluate(
        "canvas => [canvas.width, "
        "Array.from(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data)]"
    )
    return np.array(found[1], dtype=np.uint8).reshape(found[0], found[0], 4)


def cell_at(page: LabPage, row: float, col: float, span: float, first: float = 0) -> tuple[float, float]:
    """Return where a cell of the map lies on the page."""
    box = find(page, ".llama-nb-att-map > canvas").bounding_box()
    assert box is not None
    size = box["width"] / span
    return box["x"] + (col - first + 0.5) * size, box["y"] + (row - first + 0.5) * size


def exact(page: LabPage) -> str:
    find(page, ".llama-nb-att-exact[data-exact=true]").wait_for(timeout=15_000)
    return find(page, ".llama-nb-att-exact").inner_text()


def as_shown(weight: float) -> str:
    return "< 0.0001" if 0 < weight < 0.00005 else f"{weight:.4f}"


def pointed(page: LabPage) -> tuple[int, int]:
    """Return the cell that is pointed at: the token that reads, and that which is read."""
    marks = page.page.locator(".llama-nb-att-readout > .llama-nb-muted")
    page.wait_until(lambda: marks.count() == 2, "a cell", 10)
    row, col = (int(text.replace(",", "")) for text in marks.all_inner_texts())
    return row, col


def shown_head(page: LabPage) -> str | None:
    return find(page, ".llama-nb-att-thumb[aria-selected=true]").get_attribute("data-head")


@pytest.fixture(scope="module")
def opened(browser: Browser, lab: LabServer) -> Iterator[LabPage]:
    """A notebook whose kernel has a model: page and kernel take longer to start than a test takes."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = LabPage(context.new_page(), lab)
    cells = [nbformat.v4.new_code_cell(cell) for cell in (SETUP, OPEN, "")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), lab.work / "explorer.ipynb")
    page.open("explorer.ipynb")
    page.run_cell(0)
    yield page
    page.shut_down()
    context.close()


@pytest.fixture
def explorer(opened: LabPage) -> LabPage:
    """A new explorer in the light."""
    opened.theme("JupyterLab Light")
    show(opened, OPEN)
    return opened


def show(page: LabPage, code: str) -> None:
    """Run code in the explorer's cell, and wait until what it shows can be used."""
    page.evaluate(f"(panel, code) => panel.content.widgets[{VIEW}].model.sharedModel.setSource(code)", code)
    page.run_cell(VIEW)
    assert "Error" not in page.text(VIEW), page.text(VIEW)
    ready(page)


def test_pixels_and_values_are_those_of_the_kernel(explorer: LabPage, tmp_path: Path) -> None:
    page, mouse = explorer, explorer.page.mouse
    box = page.page.locator(".llama-nb-att").bounding_box()
    assert box is not None
    assert (box["width"] <= 640, box["height"] <= 421) == (True, True)
    matrix = np.array(answer(page, "t.matrix(3, 3).tolist()"))
    texts = answer(page, "t.texts")
    tokens = len(matrix)

    seen = pixels(page)
    size = len(seen) / tokens
    bytes_of = np.round(255 * np.sqrt(matrix)).astype(int)
    for row in range(tokens):
        for col in range(tokens):
            # A quarter in from the cell's corner, away from the row that is marked.
            colour = seen[int((row + 0.25) * size), int((col + 0.25) * size)]
            if col > row:
                assert colour[3] == 0
                continue
            near = range(max(0, bytes_of[row, col] - 1), min(256, bytes_of[row, col] + 2))
            assert tuple(int(part) for part in colour[:3]) in [SEQUENTIAL[value] for value in near]

    for row, col in ((8, 7), (15, 9), (3, 3)):
        mouse.move(*cell_at(page, row, col, tokens))
        page.page.wait_for_timeout(100)
        assert exact(page) == as_shown(matrix[row, col])
        readout = find(page, ".llama-nb-att-readout").inner_text()
        assert (f" {row} reads" in readout, f" {col} " in readout) == (True, True)
    mouse.move(*cell_at(page, 2, 9, tokens))
    page.wait_for_text(VIEW, "comes later: not read")

    mouse.click(*cell_at(page, 13, 2, tokens))
    mouse.move(5, 5)
    page.wait_until(lambda: "13" in find(page, ".llama-nb-att-who").inner_text(), "token 13", 10)
    strongest = int(np.argmax(matrix[13]))
    first = find(page, ".llama-nb-att-link")
    page.wait_until(lambda: first.get_attribute("data-token") == str(strongest), "its strongest link", 10)
    assert first.locator(".llama-nb-att-value").inner_text() == f"{matrix[13, strongest]:.4f}"
    assert texts[strongest].strip() in first.inner_text()
    page.page.locator(".llama-nb-att").screenshot(path=tmp_path / "light.png")


def test_by_keyboard_in_the_dark_and_through_a_reload(explorer: LabPage, tmp_path: Path) -> None:
    page, keyboard = explorer, explorer.page.keyboard
    page.theme("JupyterLab Dark")
    find(page, ".llama-nb-att-thumb[tabindex='0']").focus()
    keyboard.press("ArrowRight")
    page.wait_until(lambda: shown_head(page) == "4", "head 4", 10)
    keyboard.press("PageUp")
    page.wait_until(lambda: find(page, "select").input_value() == "2", "layer 2", 10)
    ready(page)
    matrix = np.array(answer(page, "t.matrix(2, 4).tolist()"))
    assert len(matrix) == 16

    find(page, ".llama-nb-att-map").focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowLeft"):
        keyboard.press(key)
    page.wait_until(lambda: pointed(page) == (14, 4), "the cell that the keys went to", 10)
    page.wait_until(lambda: exact(page) == as_shown(matrix[14, 4]), "the exact weight", 10)
    keyboard.press("+")
    keyboard.press("Enter")
    page.wait_until(lambda: "14" in find(page, ".llama-nb-att-who").inner_text(), "its links", 10)
    page.page.locator(".llama-nb-att").screenshot(path=tmp_path / "dark.png")
    keyboard.press("Escape")
    find(page, ".llama-nb-att-tokens [tabindex='0']").focus()
    keyboard.press("Home")
    page.wait_until(lambda: find(page, ".llama-nb-att-tokens [tabindex='0']").inner_text() != "", "a token")
    keyboard.press("ArrowRight")
    page.wait_until(lambda: "·" not in (find(page, ".llama-nb-att-who").inner_text()), "the first word", 10)
    find(page, "button:has-text('read by')").focus()
    keyboard.press("Enter")
    page.wait_for_text(VIEW, "is read by")
    column = matrix[:, 1]
    first = find(page, ".llama-nb-att-link")
    page.wait_until(
        lambda: first.get_attribute("data-token") == str(int(np.argmax(column))), "who reads it", 10
    )
    page.page.wait_for_timeout(400)

    page.save()
    page.reload()
    ready(page)
    assert (shown_head(page), find(page, "select").input_value()) == ("4", "2")
    token = find(page, ".llama-nb-att-tokens [aria-selected=true]")
    assert str(token.get_attribute("title")).startswith("token 1:")
    find(page, ".llama-nb-att-thumb[tabindex='0']").click()
    keyboard.press("ArrowLeft")
    page.wait_until(lambda: shown_head(page) == "3", "head 3 after the reload", 10)
    assert not [line for line in page.console if "error" in line.lower()]


def test_comparing_turning_off_and_taking_out(explorer: LabPage, tmp_path: Path) -> None:
    page, view = explorer, explorer.page.locator(".llama-nb-att").first
    view.get_by_role("button", name="Compare").click()
    page.wait_until(lambda: view.locator(".llama-nb-att-map:visible").count() == 2, "two maps", 10)
    view.get_by_label("Its head").select_option("0")
    view.get_by_role("button", name="Difference").click()
    page.wait_for_text(VIEW, "L3 H3 − L3 H0")
    find(page, ".llama-nb-att-map[aria-busy=false]").wait_for()
    row, col = 8, 7
    one, other = answer(page, f"[t.value(3, 3, {row}, {col}), t.value(3, 0, {row}, {col})]")
    page.page.mouse.move(*cell_at(page, row, col, 16))
    page.wait_until(lambda: f"= {one - other:.4f}".replace("-", "−") in exact(page), "the difference", 10)
    view.get_by_label("Another text to read").fill(f"{HOSTILE} and a cat.")
    page.page.keyboard.press("Enter")
    page.wait_for_text(VIEW, "<img")
    assert page.page.evaluate("window.__hostile") is None
    assert [find(page, tag).count() for tag in ("img", "script")] == [0, 0]
    assert page.dialogs == []
    view.get_by_role("button", name="Compare").click()

    view.get_by_role("button", name="Turn off").click()
    view.get_by_role("switch", name="layer 3").click()
    page.wait_for_text(VIEW, "KL ", 30)
    page.wait_for_text(VIEW, "as it is", 30)
    view.get_by_role("button", name="All on").click()
    page.wait_for_text(VIEW, "Choose a head on the left")

    view.get_by_role("button", name="Export").click()
    for kind, begins in (("PNG", b"\x89PNG"), ("SVG", b"<svg")):
        with page.page.expect_download() as download:
            view.get_by_role("button", name=kind, exact=True).click()
        download.value.save_as(tmp_path / f"map.{kind}")
        assert (tmp_path / f"map.{kind}").read_bytes().startswith(begins)
    view.get_by_role("button", name="Copy weights").click()
    page.wait_for_text(VIEW, "weights copied")
    copied = page.page.evaluate("navigator.clipboard.readText()").splitlines()
    assert copied[0].split("\t") == ["query", "token", "key", "token", "weight"]
    query, _, key, _, weight = copied[1].split("\t")
    assert answer(page, f"t.value(3, 3, {query}, {key})") == pytest.approx(float(weight), rel=1e-5)


LONG = """
long = llama.load({folder!r})
t = long.attention(' '.join(str(number % 7) for number in range({words})))
t"""


def test_zoom_at_8192_tokens(explorer: LabPage, tmp_path: Path, stories260k: Path) -> None:
    """One weight of 33 million, found by the wheel; and out again with two fingers."""
    page = explorer
    folder = write_random_llama(tmp_path / "long", tokenizer_from=stories260k, context=16_384, heads=2)
    show(page, LONG.format(folder=str(folder), words=4095))
    assert answer(page, "t.length") >= 8190
    assert "strongest of 16 × 16" in find(page, ".llama-nb-att-rule").inner_text()

    x, y = cell_at(page, 6000, 2000, 8191)
    find(page, ".llama-nb-att-map").focus()
    page.page.mouse.move(x, y)
    for _ in range(14):
        page.page.mouse.wheel(0, -240)
        page.page.wait_for_timeout(30)
    page.wait_until(
        lambda: "one weight" in find(page, ".llama-nb-att-rule").inner_text(), "single weights", 15
    )
    ready(page)
    page.page.mouse.move(x + 1, y)
    row, col = pointed(page)
    assert (abs(row - 6000) < 60, abs(col - 2000) < 60) == (True, True)
    value = answer(page, f"t.value({_layer(page)}, {shown_head(page)}, {row}, {col})")
    page.page.mouse.move(x, y)
    page.page.mouse.move(x + 1, y)
    assert exact(page) == as_shown(value)
    words = page.page.locator(".llama-nb-att-word")
    assert words.count() > 0
    _pinch_out(page, *cell_at(page, 4095, 4095, 8191))
    page.wait_until(lambda: words.count() == 0, "further out", 15)


def _layer(page: LabPage) -> str:
    return find(page, "select").input_value()


def _pinch_out(page: LabPage, x: float, y: float) -> None:
    session = page.page.context.new_cdp_session(page.page)
    session.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    for kind, apart in (("touchStart", 80), ("touchMove", 40), ("touchMove", 12), ("touchMove", 2)):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
