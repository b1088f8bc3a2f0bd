"""The anatomy in a real JupyterLab: by keyboard, figures against numpy, both themes, through a reload."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Locator

from tests.ui.chat import CONTRAST, READABLE
from tools.lab_page import LabPage
from tools.lab_server import LabServer

DIAGRAM, RAW = 1, 2
SETUP = "%load_ext llama_nb\nimport llama_nb as llama\nm = llama.load('cria')"
HOSTILE = "<img src=x onerror=window.__hostile=1><script>window.__hostile=1</script>"
# What numpy says of what comes out of the gates of layer 3, by a hook of its own.
NUMPY = """
import json, numpy as np, torch
seen = []
gates = m.loaded.module.model.layers[3].mlp.gate_proj
hook = gates.register_forward_hook(lambda _module, _given, out: seen.append(out.numpy()))
ids = m.engine.prompt(llama.core.request.Request('Once upon a time')).ids
with torch.inference_mode():
    m.loaded.module(torch.tensor([ids]))
hook.remove()
x = seen[0].astype(np.float64)
shares = (x == 0).mean(), (x < 0).mean()
print(json.dumps([x.mean(), x.std(), np.sqrt((x * x).mean()), abs(x).max(), *shares, x.size]))
"""


def find(page: LabPage, selector: str) -> Locator:
    return page.page.locator(f".llama-nb-an {selector}").first


def panel(page: LabPage) -> str:
    return find(page, "[role=tabpanel]").inner_text()


def wait_for(page: LabPage, text: str) -> None:
    page.wait_until(lambda: text in panel(page), f"{text!r} in {panel(page)!r}", 20)


def go(page: LabPage, block: str, tab: str) -> None:
    find(page, f"[data-block='{block}']").click()
    find(page, f"[data-tab={tab}]").click()


def assert_readable(page: LabPage) -> None:
    """Every text stands out from what is behind it."""
    ratio, text = page.page.locator(".llama-nb-an").evaluate(CONTRAST)
    assert ratio >= READABLE, f"{ratio:.2f} to 1: {text}"


@pytest.fixture
def shown(page: LabPage, notebook: Callable[..., str]) -> LabPage:
    page.open(notebook(SETUP, "%llama anatomy", NUMPY))
    for cell in range(DIAGRAM + 1):
        page.run_cell(cell)
    find(page, "[role=option]").wait_for()
    return page


def test_a_block_and_its_views_by_keyboard_alone_in_both_themes(shown: LabPage, tmp_path: Path) -> None:
    page, keyboard = shown, shown.page.keyboard
    box = page.page.locator(".llama-nb-an").bounding_box()
    assert box is not None
    assert (box["width"] <= 640, box["height"] <= 420) == (True, True)
    assert "2.76 M parameters" in find(page, ".llama-nb-an-head").inner_text()

    find(page, "[role=option][tabindex='0']").focus()
    for _ in range(4):
        keyboard.press("ArrowDown")
    wait_for(page, "A = softmax(q kᵀ / √32 + mask)")
    assert "q_proj" in panel(page)
    assert "192 × 192" in panel(page)
    assert "36,864" in panel(page)
    assert_readable(page)
    keyboard.press("Tab")
    keyboard.press("ArrowRight")
    wait_for(page, "6 query heads of 32 share 2 pairs of keys and values")
    find(page, ".llama-nb-an-query[tabindex='0']").focus()
    keyboard.press("ArrowDown")
    wait_for(page, "Query head 3 reads the keys and values of head 1.")
    assert "3.15 MB" in panel(page)
    find(page, "[aria-label='Tokens in the cache']").focus()
    keyboard.press("Home")
    wait_for(page, "3.07 kB a token")
    page.page.locator(".llama-nb-an").screenshot(path=tmp_path / "light.png")

    page.theme("JupyterLab Dark")
    page.page.wait_for_timeout(200)
    assert_readable(page)
    find(page, "[role=tab][aria-selected=true]").focus()
    keyboard.press("ArrowRight")
    find(page, "[aria-label=position]").focus()
    keyboard.press("End")
    wait_for(page, "At position 1,023: 1020 rad, 163 turns.")
    keyboard.press("Tab")
    keyboard.press("ArrowRight")
    wait_for(page, "Pair 1 (dimensions 1 and 17) turns by 0.562 rad a token, once around in 11.2 tokens.")
    keyboard.press("d")
    keyboard.press("d")
    assert page.cells() == 3, "keys that are pressed in the view are the view's"
    page.page.locator(".llama-nb-an").screenshot(path=tmp_path / "dark.png")
    colour = find(page, "canvas").evaluate(
        "canvas => [...canvas.getContext('2d').getImageData(0, 15, 1, 1).data].slice(0, 3)"
    )
    assert colour[0] > colour[2] + 60, f"the cosine of no angle is 1, at the orange end: {colour}"
    assert not [line for line in page.console if "error" in line.lower()]
    page.shut_down()


@pytest.mark.full
def test_statistics_are_those_of_numpy_and_come_back_after_a_reload(
    shown: LabPage, context: BrowserContext, lab: LabServer
) -> None:
    page = shown
    go(page, "0/mlp", "activations")
    text = find(page, "[aria-label='A text for the model to read']")
    text.fill("Once upon a time")
    page.page.keyboard.press("Enter")
    find(page, "tbody tr").wait_for()
    find(page, "[aria-label=Layer]").focus()
    for _ in range(3):
        page.page.keyboard.press("ArrowRight")
    find(page, "[data-key='mlp.gate_proj']").click()
    cells = page.page.locator(".llama-nb-an tr[data-place='mlp.gate_proj'] td")
    page.run_cell(RAW)
    *figures, size = page.read_json(RAW)
    said = [cell.replace("−", "-") for cell in cells.all_inner_texts()]
    assert [float(cell) for cell in said[:4]] == pytest.approx(figures[:4], rel=6e-3)
    assert said[4:] == [f"{100 * share:.3g} %" for share in figures[4:]]
    chart = find(page, "svg[role=img]").get_attribute("aria-label") or ""
    assert f"layer 3: {said[2]}," in chart
    find(page, "[data-tab=gate]").click()
    wait_for(page, f"Of {size:,} gates {100 * figures[5]:.3g} % are negative")

    page.wait_until(lambda: "Activations on" in json.dumps(page.outputs(DIAGRAM)), "a twin with statistics")
    page.save()
    page.reload()
    find(page, "tbody tr, svg").wait_for()
    assert find(page, ".llama-nb-an-stack [aria-selected=true]").get_attribute("data-block") == "0/mlp"
    wait_for(page, f"Of {size:,} gates {100 * figures[5]:.3g} % are negative")
    page.wait_for_kernel()
    go(page, "0/post_attention_layernorm", "norm")
    wait_for(page, "each number is divided by it")
    before = find(page, "[role=tabpanel] > p").inner_text()
    find(page, "[aria-label=Token]").select_option("0")
    after = find(page, "[role=tabpanel] > p")
    page.wait_until(lambda: "divided by it" in after.inner_text() != before, "another token", 20)

    path = page.save()
    page.shut_down()
    page.page.close()
    again = LabPage(context.new_page(), lab)
    again.open(path.name, kernel=False)
    again.wait_for_text(DIAGRAM, "6 × (layers 0–5), each:")
    assert "Activations on" in again.text(DIAGRAM)
    assert "Error displaying widget" not in again.text(DIAGRAM)
    assert again.page.locator(".llama-nb-an:visible").count() == 0
    again.shut_down()


def test_hostile_tokens_stay_text_and_errors_are_said(shown: LabPage) -> None:
    page = shown
    go(page, "model.norm", "norm")
    text = find(page, "[aria-label='A text for the model to read']")
    text.fill("word " * 2000)
    page.page.keyboard.press("Enter")
    find(page, "[role=alert]").wait_for()
    assert "the context of cria is 1,024" in find(page, "[role=alert]").inner_text()
    text.fill(HOSTILE)
    find(page, "button:has-text('Measure')").click()
    wait_for(page, "each number is divided by it")
    assert find(page, "[role=alert]").is_hidden()
    assert "<" in find(page, "[aria-label=Token]").inner_text()
    page.page.wait_for_timeout(500)
    assert page.page.evaluate("window.__hostile === undefined")
    assert find(page, "img").count() == 0
    assert not page.foreign
    assert not page.dialogs
    page.shut_down()
