"""`%%llama tools` in a real page: questions are answered by keyboard; call and result stay, as text."""

from collections.abc import Callable

from tests.ui.canary import Canary
from tools.lab_page import LabPage

SETUP = """%load_ext llama_nb
import llama_nb, time
%llama load cria
%llama set temperature 0

def weather(city: str) -> dict:
    "Get the weather in a city."
    return {"temperature": 12, "sky": "sunny"}
"""
ASK = "%%llama tools weather\nWhat is the weather in Oslo?"
QUESTION = "Run weather(city='Oslo')? [y]es, [n]o, [a]lways in this run:"
PROMPT = ".jp-Stdin-input"


def wait_for_question(page: LabPage, index: int) -> None:
    page.wait_for_input()  # JupyterLab puts the cursor into the question
    page.wait_until(lambda: "Run " in page.text(index), "a question")


def shown(page: LabPage, index: int) -> list[str]:
    """The lines of a cell's outputs without status lines and buttons."""
    lines = [line.strip() for line in page.text(index).splitlines()]
    return [line for line in lines if line and "tokens/s" not in line and line not in ("Copy", "Tokens")]


def test_a_call_is_asked_for_by_keyboard_and_stays_in_the_notebook(
    page: LabPage, notebook: Callable[..., str]
) -> None:
    page.open(notebook(SETUP, ASK, "%%llama tools r << weather\nWhat is the weather in Rome?", "r"))
    page.run_cell(0)
    page.start_cell(1)
    wait_for_question(page, 1)
    assert QUESTION in page.text(1)
    assert "returned" not in page.text(1)
    page.page.keyboard.type("y")
    page.page.keyboard.press("Enter")
    page.wait_cell(1)
    expected = [
        "What is the weather in Oslo?",
        "weather(city='Oslo')",
        f"{QUESTION}  y",
        "weather returned",
        '{"temperature": 12, "sky": "sunny"}',
        "It is 12 degrees and sunny in Oslo.",
    ]
    page.wait_until(lambda: shown(page, 1) == expected, f"{expected}")

    page.start_cell(2)
    wait_for_question(page, 2)
    page.page.locator(PROMPT).click()  # by mouse and keyboard
    page.page.locator(PROMPT).fill("n")
    page.page.locator(PROMPT).press("Enter")
    page.wait_cell(2)
    assert "weather was not run: the user did not allow it" in page.text(2)
    page.run_cell(3)  # the whole run as a value: each part once
    assert page.text(3).count("weather was not run") == 1

    page.theme("JupyterLab Dark")
    page.save()
    page.shut_down()
    page.reload()
    page.wait_until(lambda: shown(page, 1) == expected, f"{expected}")
    assert page.foreign == []


def test_an_interrupt_ends_a_function_and_the_question(page: LabPage, notebook: Callable[..., str]) -> None:
    slow = SETUP.replace('    return {"temp', '    time.sleep(60)\n    return {"temp')
    page.open(notebook(slow, ASK, ASK, "%llama chats"))
    page.run_cell(0)
    page.start_cell(1)
    wait_for_question(page, 1)
    page.page.keyboard.type("yes")
    page.page.keyboard.press("Enter")
    page.wait_for_text(1, "weather is running")
    page.interrupt()
    page.wait_cell(1)
    assert "weather failed: it was stopped by the user" in page.text(1)
    page.start_cell(2)
    wait_for_question(page, 2)
    page.command("notebook:interrupt-kernel")  # by the page: it also ends the question that it shows
    page.wait_cell(2)
    assert "weather was not run: it was stopped by the user" in page.text(2)
    page.run_cell(3)
    assert page.text(3).split()[-2:] == ["current", "2"]  # two turns
    page.shut_down()


HOSTILE = """%load_ext llama_nb
from tests.session.tool_models import calling, call
from llama_nb.session import registry
bad = '<img src="CANARY/x" onerror="window.__hostile=1"><script>__hostile=1</script>$x$ **b** \\x1b[31m'
def page(url: str, more: dict) -> str:
    "Read a page."
    return bad
def fails(url: str) -> str:
    "Fail."
    raise ValueError(bad)
model = calling(call("page", url=bad, more={bad: bad}), call("fails", url=bad), call(bad, x=1), bad)
registry._models["fake"] = model
registry.use("fake")
"""


def test_hostile_calls_and_results_stay_text(
    page: LabPage, notebook: Callable[..., str], canary: Canary
) -> None:
    canary.hits.clear()
    setup = HOSTILE.replace("CANARY", canary.origin)
    page.open(notebook(setup, "%%llama tools r << page fails\nGo", "r"))
    page.run_cell(0)
    page.start_cell(1)
    for number in range(1, 3):
        page.wait_until(lambda n=number: page.text(1).count("Run ") == n, "a question")
        page.wait_for_input()
        page.page.keyboard.type("y")
        page.page.keyboard.press("Enter")
        page.wait_until(lambda n=number: page.text(1).count("run:  y") == n, "an answer")
    page.wait_cell(1)
    page.run_cell(2)
    page.page.wait_for_timeout(1000)
    for index in (1, 2):
        assert "onerror=" in page.text(index)  # it is there, as text
        assert "<script>" in page.text(index)
        assert "was not run: This is no call that can be read" in page.text(index)
        assert page.output(index).query_selector("img, script, .MathJax, mjx-container") is None
    assert page.page.evaluate("window.__hostile") is None
    assert canary.hits == []
    assert page.foreign == []
    assert page.dialogs == []
    page.shut_down()
