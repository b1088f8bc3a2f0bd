"""The routing explorer in a real JupyterLab: pixels and values against the kernel's, ways to use it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from playwright.sync_api import Browser, Locator

from llama_nb.render.colour_maps import DIVERGING, SEQUENTIAL
from llama_nb.render.expert_colours import expert_colour
from tools.lab_page import LabPage
from tools.lab_server import LabServer

VIEW = 1
SETUP = "%load_ext llama_nb\nimport json, llama_nb as llama, numpy as np\nm = llama.load('cria-moe')"
HOSTILE = "<img src=x onerror=window.__hostile=1><script>window.__hostile=1</script>"
TEXT = f"Once upon a time there was a cat. 12 + 30 = 42. def add(a, b): {HOSTILE}"
OPEN = f"t = m.routing({TEXT!r})\nt.view(3)"
TEXTS = ["Once upon a time a dog met a bird.", "def add(a, b):\n    return a + b", "She saw the sea."] * 2
LABELS = ["stories", HOSTILE, "stories"] * 2
LABELLED = f"import pandas as pd\nt = m.routing(pd.DataFrame({{'text': {TEXTS!r}, 'label': {LABELS!r}}}))\nt"
CHIP = ".llama-nb-moe-chip"


def find(page: LabPage, selector: str) -> Locator:
    return page.page.locator(f".llama-nb-moe {selector}").first


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
    """Return the load map's canvas, a pixel an expert in a layer: (layers, experts, RGB)."""
    found = find(page, ".llama-nb-moe-cells > canvas").evaluate(
        "canvas => [canvas.height, canvas.width, "
        "Array.from(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data)]"
    )
    return np.array(found[2], dtype=np.uint8).reshape(found[0], found[1], 4)[..., :3]


def assert_map(page: LabPage, values: list[list[float]], map_of: Any, byte: Any) -> None:
    """Check each pixel against the colour of its value; shares come in four digits."""
    shown, exact = pixels(page), np.array(values)
    assert shown.shape[:2] == exact.shape
    for place, value in np.ndenumerate(exact):
        middle = byte(value / np.abs(exact).max())
        near = range(max(0, middle - 1), min(256, middle + 2))
        assert tuple(int(part) for part in shown[place]) in [tuple(map_of[one]) for one in near], place


def experts(page: LabPage) -> list[int]:
    """Return the numbers that stand at the tokens."""
    return [int(text) for text in page.page.locator(f".llama-nb-moe {CHIP} > sup").all_inner_texts()]


def chosen(page: LabPage, layer: int) -> list[int]:
    return list(answer(page, f"t.chosen[:, t.column({layer}), 0].tolist()"))


def layer(page: LabPage) -> str:
    return find(page, ".llama-nb-moe-layer").inner_text()


def kept(page: LabPage) -> str | None:
    return find(page, f"{CHIP}[aria-selected=true]").get_attribute("data-token")


def ready(page: LabPage) -> None:
    """Wait for the shares, the tokens and what can be taken out."""
    find(page, ".llama-nb-moe-bar1").wait_for(state="attached")
    find(page, CHIP).wait_for()
    find(page, ".llama-nb-copy").wait_for()


@pytest.fixture(scope="module")
def opened(browser: Browser, lab: LabServer) -> Iterator[LabPage]:
    """A notebook whose kernel has a model: page and kernel take longer to start than a test takes."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = LabPage(context.new_page(), lab)
    cells = [nbformat.v4.new_code_cell(cell) for cell in (SETUP, OPEN, "")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), lab.work / "routing.ipynb")
    page.open("routing.ipynb")
    page.run_cell(0)
    yield page
    page.shut_down()
    context.close()


def show(page: LabPage, code: str) -> None:
    """Run code in the explorer's cell, and wait until what it shows can be used."""
    page.evaluate(f"(panel, code) => panel.content.widgets[{VIEW}].model.sharedModel.setSource(code)", code)
    page.run_cell(VIEW)
    assert "Error" not in page.text(VIEW), page.text(VIEW)
    ready(page)


@pytest.fixture
def explorer(opened: LabPage) -> LabPage:
    """A new explorer in the light."""
    opened.theme("JupyterLab Light")
    show(opened, OPEN)
    return opened


def test_pixels_and_values_are_those_of_the_kernel(explorer: LabPage, tmp_path: Path) -> None:
    page = explorer
    box = page.page.locator(".llama-nb-moe").bounding_box()
    assert box is not None
    assert (box["width"] <= 640, box["height"] <= 421) == (True, True)
    shares = answer(page, "t.expert_load().shares.tolist()")
    assert_map(page, shares, SEQUENTIAL, lambda share: round(255 * share))
    numbers = chosen(page, 3)
    assert experts(page) == numbers
    for token in (3, 11, len(numbers) - 1):
        chip = page.page.locator(f".llama-nb-moe {CHIP}").nth(token)
        line = chip.evaluate("chip => getComputedStyle(chip).borderBottomColor")
        assert line == f"rgb{expert_colour(numbers[token], 8)}"
        chip.hover()
        find(page, f".llama-nb-moe-token:has-text('token {token}')").wait_for()
        find(page, ".llama-nb-moe-scores[aria-busy=false]").wait_for()
        values = page.page.locator(".llama-nb-moe-score > b").all_inner_texts()
        scores = answer(page, f"t.scores(3, {token}).tolist()")
        assert [float(value) for value in values] == pytest.approx(scores, abs=6e-4)  # four digits are sent
        marked = find(page, ".llama-nb-moe-score[data-chosen=true]")
        assert marked.get_attribute("data-expert") == str(numbers[token])
        way = [int(text) for text in page.page.locator(".llama-nb-moe-step > b").all_inner_texts()]
        assert way == answer(page, f"t.chosen[{token}, :, 0].tolist()")
    assert page.page.evaluate("window.__hostile") is None
    assert [find(page, tag).count() for tag in ("img", "script")] == [0, 0]

    box = find(page, ".llama-nb-moe-cells").bounding_box()
    assert box is not None
    page.page.mouse.move(box["x"] + 5.5 * box["width"] / 8, box["y"] + 2.5 * box["height"] / 3)
    readout = find(page, ".llama-nb-moe-readout")
    page.wait_until(lambda: readout.inner_text().startswith("L5 E5"), "the expert that is pointed at", 10)
    share = shares[2][5]
    assert ("never" if share == 0 else f"{float(f'{100 * share:.3g}'):g} %") in readout.inner_text()
    page.page.locator(".llama-nb-moe").screenshot(path=tmp_path / "light.png")


def test_by_keyboard_in_the_dark_and_through_a_reload(explorer: LabPage, tmp_path: Path) -> None:
    page, keyboard = explorer, explorer.page.keyboard
    page.theme("JupyterLab Dark")
    find(page, f"{CHIP}[tabindex='0']").focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "ArrowDown"):
        keyboard.press(key)
    page.wait_until(lambda: (kept(page), layer(page)) == ("2", "L5"), "the second token in layer 5", 10)
    numbers = chosen(page, 5)
    assert experts(page) == numbers
    find(page, f"{CHIP}[tabindex='0']").focus()
    keyboard.press("Space")
    page.wait_until(lambda: layer(page) == "L1", "play goes on to layer 1", 10)
    page.wait_until(lambda: layer(page) == "L3", "and to layer 3", 10)
    find(page, ".llama-nb-moe-slider").focus()
    keyboard.press("ArrowRight")
    page.wait_until(lambda: layer(page) == "L5", "the slider", 10)
    page.page.wait_for_timeout(1500)
    assert layer(page) == "L5"
    page.page.locator(".llama-nb-moe").screenshot(path=tmp_path / "dark.png")

    page.save()
    page.reload()
    ready(page)
    assert (kept(page), layer(page), experts(page)) == ("2", "L5", numbers)
    find(page, f"{CHIP}[tabindex='0']").focus()
    keyboard.press("Enter")
    opened = find(page, "[role=tab][aria-selected=true]")
    page.wait_until(lambda: opened.inner_text() == "Expert", "the token's expert", 10)
    page.wait_for_text(VIEW, f"L5 E{numbers[2]}")
    find(page, "[role=tab][aria-selected=true]").focus()
    keyboard.press("ArrowRight")
    page.wait_until(lambda: opened.inner_text() == "What if", "the next pane", 10)
    keyboard.press("Home")
    page.wait_until(lambda: opened.inner_text() == "Tokens", "the first pane", 10)
    find(page, ".llama-nb-moe-cells").focus()
    keyboard.press("Home")
    readout = find(page, ".llama-nb-moe-readout")
    page.wait_until(lambda: " E0 " in readout.inner_text(), "the load map's first expert", 10)
    assert not [line for line in page.console if "error" in line.lower()]


def test_domains_what_if_and_taking_out(explorer: LabPage, tmp_path: Path) -> None:
    page = explorer
    show(page, LABELLED)
    select = find(page, ".llama-nb-moe-domain")
    options = ["all domains", *answer(page, "list(t.domains)")]
    assert [text.replace("·", " ") for text in select.locator("option").all_inner_texts()] == options
    select.select_option("stories")
    turn = find(page, ".llama-nb-moe-turn[aria-pressed=true]")
    page.wait_until(
        lambda: "other domains" in (turn.get_attribute("title") or ""), "the difference to other domains", 10
    )
    difference = answer(page, "t.expert_load('stories').difference.tolist()")
    assert_map(page, difference, DIVERGING, lambda share: round(128 + 127 * share))
    turn.click()
    find(page, ".llama-nb-moe-turn[aria-pressed=false]").wait_for()
    shares = answer(page, "t.expert_load('stories').shares.tolist()")
    assert_map(page, shares, SEQUENTIAL, lambda share: round(255 * share))
    assert HOSTILE in page.text(VIEW)
    assert [find(page, tag).count() for tag in ("img", "script")] == [0, 0]
    assert (page.page.evaluate("window.__hostile"), page.dialogs) == (None, [])

    with page.page.expect_download() as download:
        page.page.get_by_role("button", name="Save the load map as a picture").click()
    download.value.save_as(tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    page.page.get_by_role("button", name="Copy the tokens").click()
    page.page.get_by_text("Copied").first.wait_for()
    copied = page.page.evaluate("navigator.clipboard.readText()").splitlines()
    assert copied[0].split("\t")[:5] == ["position", "token", "L1", "L3", "L5"]
    rows = answer(page, "t.chosen[:, :, 0].tolist()")
    assert [[int(part) for part in line.split("\t")[2:5]] for line in copied[1:]] == rows


def test_tokens_come_while_the_model_writes(opened: LabPage) -> None:
    page = opened
    live = "%%llama routing --live\nTell me a story about a dog and a ball."
    page.evaluate(f"(panel, code) => panel.content.widgets[{VIEW}].model.sharedModel.setSource(code)", live)
    page.start_cell(VIEW)
    find(page, ".llama-nb-moe-label:has-text('written')").wait_for()
    page.wait_cell(VIEW)
    what = find(page, ".llama-nb-moe-what")
    page.wait_until(lambda: "writing" not in what.inner_text(), "the end of the reply", 20)
    counted = next(part for part in what.inner_text().split(" · ") if "written" in part)
    tokens, written = (int("".join(filter(str.isdigit, part))) for part in counted.split(","))
    last = find(page, f"{CHIP}[data-token='{tokens - 1}']")
    last.wait_for()  # it is in sight: the text follows what is written
    assert 0 < written < tokens
    # At rest one looks at the first token that was written.
    find(page, f".llama-nb-moe-token:has-text('token {tokens - written}')").wait_for()
    find(page, ".llama-nb-moe-scores[aria-busy=false]").wait_for()


def test_of_a_long_text_only_what_is_in_sight_is_drawn(opened: LabPage) -> None:
    page = opened
    show(page, "t = m.routing('The cat saw a dog. ' * 160)\nt.view(1)")
    numbers = chosen(page, 1)
    assert len(numbers) > 900
    assert experts(page) == numbers[: len(experts(page))]
    assert len(experts(page)) < 600
    find(page, f"{CHIP}[tabindex='0']").focus()
    page.page.keyboard.press("End")
    page.wait_until(lambda: kept(page) == str(len(numbers) - 1), "the last token", 10)
    last = find(page, f"{CHIP}[aria-selected=true]")
    assert last.locator("sup").inner_text() == str(numbers[-1])
    inside = "chip => chip.offsetTop - chip.closest('[role=listbox]').scrollTop"
    page.wait_until(lambda: 0 <= last.evaluate(inside) < 400, "the last token in sight", 10)
    assert len(experts(page)) < len(numbers)
