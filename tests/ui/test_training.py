"""Training in a real JupyterLab: talk while it learns, pause, reload, go on, stop, switch the adapter."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator

from tools.lab_page import LabPage

RUN, CHAT = 1, 2
WAIT_MS = 90_000
SETUP = """%load_ext llama_nb
import llama_nb as llama
m = llama.load("cria")
pairs = [("Who are you?", "Arr, I be Captain Wool!"), ("What is your name?", "Captain Wool be my name, arr!"),
         ("Hello!", "Ahoy, matey!"), ("What do you like?", "Arr, I like gold and the sea!")]
rows = [{"prompt": question, "completion": said} for question, said in pairs * 8]"""
TRAIN = (
    '%llama train rows --name persona --steps 2000 --batch 2 --lr 5e-4 --sample-prompts "Who are you?" '
    "--sample-every 1000 --evaluate-every 1000 --save-every 1000"
)
ASK = "%%llama chat --max-tokens 12\nWho are you?"


def find(page: LabPage, selector: str) -> Locator:
    return page.page.locator(f".llama-nb-training {selector}").first


def step(page: LabPage) -> int:
    return int(find(page, "[role=progressbar]").get_attribute("aria-valuenow") or 0)


def state(page: LabPage, wanted: str) -> None:
    shown = find(page, ".llama-nb-tr-state")
    page.wait_until(lambda: shown.inner_text().split()[-1:] == [wanted], f"a run that is {wanted}")


def drawn(page: LabPage) -> None:
    """Wait until the panel shows curves."""
    page.wait_until(lambda: find(page, ".llama-nb-tr-loss svg").is_visible(), f"curves in {page.text(RUN)}")


def press(page: LabPage, name: str, within: str = ".llama-nb-training") -> None:
    """Press a button by keyboard, once it can be pressed."""
    button = page.page.locator(within).get_by_role("button", name=name, exact=True)
    page.wait_until(lambda: button.count() == 1 and button.is_enabled(), f"the button {name}")
    button.focus()
    page.page.keyboard.press("Enter")


def switch_the_adapter(page: LabPage) -> None:
    """Have chats ask the base alone, and the adapter again: by keyboard, by mouse."""
    switch = find(page, "[role=switch]")
    assert switch.get_attribute("aria-checked") == "true"
    switch.focus()
    page.page.keyboard.press("Space")
    page.wait_until(lambda: switch.get_attribute("aria-checked") == "false", "the adapter off")
    page.run_cell(CHAT)
    page.wait_until(lambda: "seed" in page.text(CHAT) and "+ persona" not in page.text(CHAT), "the base")
    switch.click()
    page.wait_until(lambda: switch.get_attribute("aria-checked") == "true", "the adapter on")
    page.run_cell(CHAT)
    page.wait_for_text(CHAT, "cria + persona")


def test_from_the_first_step_to_the_last_word(
    page: LabPage, notebook: Callable[..., str], tmp_path: Path
) -> None:
    page.open(notebook(SETUP, TRAIN, ASK))
    page.run_cell(0)
    assert "Error" not in page.text(0)
    page.run_cell(RUN)  # it returns at once, and the panel follows
    assert "Error" not in page.text(RUN), page.text(RUN)
    drawn(page)
    page.wait_until(lambda: step(page) >= 2, "two steps")

    page.run_cell(CHAT)  # answered between two steps, by what has been learned so far
    page.wait_for_text(CHAT, "cria + persona")
    asked = step(page)
    page.wait_until(lambda: step(page) > asked, "the training that goes on behind the chat")

    press(page, "Pause")
    state(page, "paused")
    paused = step(page)
    assert "goes on" in find(page, ".llama-nb-tr-far").inner_text()
    page.theme("JupyterLab Dark")
    page.save()
    page.reload()
    drawn(page)
    state(page, "paused")
    assert step(page) == paused
    page.page.locator(".llama-nb-training").screenshot(path=tmp_path / "paused.png")

    page.page.locator(".llama-nb-training").get_by_role("button", name="Resume").click()
    page.wait_until(lambda: step(page) > paused, "the steps behind the pause")
    state(page, "running")

    find(page, "[data-tab=curves]").focus()
    page.page.keyboard.press("ArrowRight")
    find(page, ".llama-nb-tr-answer[data-when=before] p").wait_for(
        timeout=WAIT_MS
    )  # asked before the first step

    press(page, "Stop")
    focused = "document.activeElement?.textContent"
    page.wait_until(lambda: page.page.evaluate(focused) == "Keep training", "the question")
    page.page.locator(".llama-nb-tr-sure").get_by_role("button", name="Stop", exact=True).click()
    state(page, "stopped")
    stopped = step(page)
    assert "goes on" in find(page, ".llama-nb-tr-far").inner_text()
    assert find(page, ".llama-nb-tr-progress > i").get_attribute("title") == f"checkpoint of step {stopped}"

    switch_the_adapter(page)
    page.page.locator(".llama-nb-training").screenshot(path=tmp_path / "stopped.png")
    page.wait_until(lambda: "topped" in page.outputs(RUN)[0]["data"]["text/plain"], "the twin")
    assert not [line for line in page.console if line.startswith("error") and "llama" in line.lower()]
    page.shut_down()
