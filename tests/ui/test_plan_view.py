"""Plans in a real JupyterLab: drawn from the saved record, moved by keyboard without a kernel."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Locator

from tests.ui.canary import Canary
from tools.lab_page import LabPage
from tools.lab_server import LabServer

RECORD = json.loads((Path(__file__).parents[2] / "labextension" / "tests" / "plan.json").read_text())
MIME = "application/vnd.llama-nb.plan+json"
WIDEST, TALLEST = 600, 420


@pytest.fixture
def show(page: LabPage, lab: LabServer) -> Callable[[dict[str, Any]], Locator]:
    """Open an untrusted notebook, without a kernel, that holds a record."""

    def open_record(record: dict[str, Any]) -> Locator:
        output = nbformat.from_dict({"output_type": "display_data", "metadata": {}, "data": {MIME: record}})
        cell = nbformat.v4.new_code_cell("%llama plan llama-3.3-70b", outputs=[output])
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), lab.work / "plan.ipynb")
        page.open("plan.ipynb", kernel=False)
        plan = page.page.locator(".llama-nb-plan")
        plan.wait_for()
        return plan

    return open_record


def verdict(plan: Locator) -> str:
    return plan.locator(".llama-nb-plan-head .llama-nb-verdict").inner_text()


def test_it_opens_small_and_calls_nobody(show: Callable[..., Locator], page: LabPage) -> None:
    box = show(RECORD).bounding_box()
    assert box is not None
    assert box["width"] <= WIDEST
    assert box["height"] <= TALLEST
    assert page.foreign == []


def test_the_context_moves_by_keyboard(show: Callable[..., Locator], page: LabPage) -> None:
    plan = show(RECORD)
    assert verdict(plan) == "✓ fits"
    slider = plan.get_by_role("slider", name="Context")
    slider.focus()
    page.page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "16,384 tokens"
    page.page.keyboard.press("End")
    assert slider.get_attribute("aria-valuetext") == "131,072 tokens"
    assert verdict(plan) == "✗ does not fit"
    assert "too much" in (plan.get_by_role("img").first.get_attribute("aria-label") or "")
    page.wait_until(lambda: plan.get_by_role("status").inner_text() == "81.7 GB, does not fit", "it is said")
    page.page.keyboard.press("Home")
    assert verdict(plan) == "✓ fits"
    page.page.keyboard.press("b")
    assert page.cells() == 1, "the notebook's own keys stay out of it"


def test_the_quantisations_are_chosen_by_keyboard(show: Callable[..., Locator], page: LabPage) -> None:
    plan = show(RECORD)
    plan.get_by_role("button", name="nf4 (bitsandbytes)").focus()
    page.page.keyboard.press("Home")
    page.page.keyboard.press("Enter")
    assert verdict(plan) == "✗ does not fit"
    assert plan.locator(".llama-nb-plan-quant").inner_text() == "bfloat16"
    page.page.keyboard.press("ArrowDown")
    page.page.keyboard.press("Space")
    assert plan.locator(".llama-nb-plan-quant").inner_text() == "int8 (bitsandbytes)"
    page.page.keyboard.press("b")
    assert page.cells() == 1, "the notebook's own keys stay out of it"


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_words_are_readable_in_both_themes(show: Callable[..., Locator], page: LabPage, theme: str) -> None:
    plan = show(RECORD)
    page.theme(theme)
    plan.locator("summary", has_text="Speed").click()
    ground = page.page.evaluate("getComputedStyle(document.querySelector('.jp-Notebook')).backgroundColor")
    for selector in (".llama-nb-title", ".llama-nb-figure", ".llama-nb-verdict", "th", "code", "summary"):
        for element in plan.locator(selector).all()[:3]:
            colour = element.evaluate("element => getComputedStyle(element).color")
            assert contrast(colour, ground) >= 4.5, (selector, colour, ground)


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio of two CSS colours."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = (float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3])
    linear = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    red, green, blue = linear
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_real_plan_is_drawn_and_saved(page: LabPage, notebook: Callable[..., str]) -> None:
    asked = '%llama plan llama-3.3-70b --quant nf4 --gpus "2xRTX 4090"'
    page.open(
        notebook("%load_ext llama_nb", asked, "import llama_nb\nllama_nb.plan('llama-3.1-8b', train='lora')")
    )
    page.run_all()
    for index in (1, 2):
        assert MIME in page.outputs(index)[0]["data"]
        assert "damaged" not in page.text(index)
    plans = page.page.locator(".llama-nb-plan")
    assert plans.count() == 2
    assert "KV cache" in plans.first.inner_text()
    assert plans.first.locator(".llama-nb-quants tbody tr").count() > 5
    box = plans.first.bounding_box()
    assert box is not None
    assert box["height"] <= TALLEST
    page.save()
    page.shut_down()
    page.reload()
    plans.first.wait_for()
    plans.first.get_by_role("slider").focus()
    page.page.keyboard.press("End")
    assert verdict(plans.first) == "✗ does not fit"
    assert page.foreign == []


def test_a_hostile_record_runs_and_fetches_nothing(
    show: Callable[..., Locator], page: LabPage, canary: Canary
) -> None:
    attack = f"<img src='{canary.origin}/x' onerror='window.__hostile=1'><script>window.__hostile=1</script>"
    text = json.loads(json.dumps(RECORD), object_hook=lambda found: with_text(found, attack))
    plan = show({**text, "schema": 1, "sources": [attack, f"{canary.origin}/y"]})
    page.page.wait_for_timeout(1000)
    assert page.page.evaluate("window.__hostile") is None
    assert canary.hits == []
    assert plan.locator("img, script").count() == 0


def with_text(found: dict[str, Any], text: str) -> dict[str, Any]:
    return {
        name: text if isinstance(value, str) and name != "key" else value for name, value in found.items()
    }


def test_a_broken_record_is_one_sentence(show: Callable[..., Locator], page: LabPage) -> None:
    assert "no figures" in show({**RECORD, "stops": [{"bytes": ["x"]}]}).inner_text()
    assert page.foreign == []
