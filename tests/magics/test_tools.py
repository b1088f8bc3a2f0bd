"""`%%llama tools` in a real kernel: questions by `input()`, nobody to ask, interrupts in a function."""

import time

import pytest

from llama_nb.magics.commands.tools import EXAMPLES
from tests.conftest import ROOT
from tests.kernel import Kernel

SETUP = """
%load_ext llama_nb
import llama_nb, time, asyncio
from tests.session.tool_models import calling, call, last_result
from llama_nb.session import registry
ran = []

def weather(city: str) -> dict:
    "Get the weather in a city."
    ran.append(city)
    return {"sky": "sunny", "city": city}

@llama_nb.tool(safe=True)
def clock(city: str) -> str:
    "Get the time in a city."
    ran.append(city)
    return "12:30"

def slow(city: str) -> str:
    "Take long."
    time.sleep(60)
    return "late"

async def slow_too(city: str) -> str:
    "Take long."
    await asyncio.sleep(60)

def says(*texts):
    ran.clear()
    model = calling(*texts)
    registry._models["fake"] = model
    registry.use("fake")
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernel")
    with Kernel(environment={"PYTHONPATH": str(ROOT), "LLAMA_NB_CHATS": "off"}, cwd=folder) as started:
        started.ok(SETUP)
        yield started


@pytest.fixture
def asked(kernel):
    """Run a cell, answer its questions, and return the prompts with the finished cell."""

    def run(code, *answers):
        cell, prompts = kernel.submit(code), []
        for answer in answers:
            kernel.until(kernel.client.stdin_channel.msg_ready, 30)
            prompts.append(kernel.client.get_stdin_msg(timeout=5)["content"]["prompt"])
            if answer is None:
                kernel.interrupt()
            else:
                kernel.client.input(answer)
        return prompts, kernel.wait(cell, 30)

    return run


def roles(kernel):
    return kernel.evaluate("[node.message.role for node in registry._models['fake'].chats['main'].path()]")


def test_a_call_is_asked_for_run_and_answered(kernel, asked):
    kernel.ok("says(call('weather', city='Oslo'), 'It is sunny.')")
    prompts, cell = asked("%%llama tools weather\nHow is the weather in Oslo?", "y")
    assert prompts == ["Run weather(city='Oslo')? [y]es, [n]o, [a]lways in this run: "]
    assert cell.status == "ok", cell.error_text
    lines = [line.strip() for line in cell.text.splitlines() if "tokens" not in line]
    assert lines == [
        "weather(city='Oslo')",
        'weather returned {"sky": "sunny", "city": "Oslo"}',
        "It is sunny.",
    ]
    assert kernel.evaluate("ran") == ["Oslo"]


def test_a_no_is_told_to_the_model(kernel, asked):
    kernel.ok("says(call('weather', city='Oslo'), 'As you wish.')")
    _, cell = asked("%%llama tools weather\nHow is the weather in Oslo?", "n")
    assert cell.status == "ok"
    assert "weather was not run: the user did not allow it" in cell.text
    assert kernel.evaluate("ran") == []


def test_always_holds_for_one_run(kernel, asked):
    kernel.ok("says(*[call('weather', city=c) for c in 'abc'], 'Done.', call('weather', city='d'), 'Done.')")
    prompts, cell = asked("%%llama tools r << weather\nGo", "a")
    assert len(prompts) == 1
    assert cell.status == "ok"
    assert kernel.evaluate("ran") == ["a", "b", "c"]
    assert kernel.evaluate("[r.text, len(r.calls), r.done]") == ["Done.", 3, True]
    prompts, cell = asked("%%llama tools weather\nGo", "n")
    assert len(prompts) == 1


def test_safe_functions_run_unasked_with_auto_only(kernel, asked):
    kernel.ok("says(call('clock', city='Oslo'), 'It is 12:30.')")
    cell = kernel.ok("%%llama tools clock --auto\nWhat time is it?")
    assert "clock returned 12:30" in cell.text
    kernel.ok("says(call('clock', city='Oslo'), 'It is 12:30.')")
    prompts, _ = asked("%%llama tools clock\nWhat time is it?", "y")
    assert len(prompts) == 1


def test_with_nobody_to_ask_safe_functions_run_and_others_fail_the_cell(kernel):
    kernel.ok("says(call('clock', city='Oslo'), 'It is 12:30.')")
    cell = kernel.ok("%%llama tools clock weather --auto\nWhat time is it?", allow_stdin=False)
    assert cell.text.splitlines() == ["    clock(city='Oslo')", "clock returned 12:30", "It is 12:30."]
    kernel.ok("says(call('weather', city='Oslo'), 'never said')")
    cell = kernel.run("%%llama tools clock weather --auto\nHow is it?", allow_stdin=False)
    assert cell.status == "error"
    assert cell.error["ename"] == "ToolError"
    assert "weather(city='Oslo')" in cell.error_text
    assert "@llama_nb.tool(safe=True)" in cell.error_text
    assert len(cell.error_text.splitlines()) <= 12
    assert kernel.evaluate("ran") == []
    assert roles(kernel) == ["user", "assistant", "tool"]


def test_an_interrupt_at_the_question_is_a_no_and_stops(kernel, asked):
    kernel.ok("says(call('weather', city='Oslo'), 'never said')")
    _, cell = asked("%%llama tools r << weather\nGo", None)
    assert cell.status == "error"
    assert cell.error["ename"] == "ReplyInterrupted"
    assert kernel.evaluate("[r.stopped, r.calls[0].state, ran]") == [True, "refused", []]
    assert roles(kernel) == ["user", "assistant", "tool"]
    assert kernel.ok("%llama chat hello").status == "ok"


@pytest.mark.parametrize("function", ["slow", "slow_too"])
def test_an_interrupt_in_a_function_ends_it_and_the_chat_goes_on(kernel, function):
    kernel.ok(f"says(call('{function}', city='Oslo'), 'never said', 'Hello.')")
    cell = kernel.submit(f"run = registry.current().tools('Go', {function}, approve=lambda call: True)")
    kernel.until(lambda: "is running" in cell.text, 30)
    time.sleep(0.2)
    kernel.interrupt()
    began = time.monotonic()
    kernel.wait(cell, 30)
    assert time.monotonic() - began < 10
    assert cell.status == "ok", cell.error_text
    assert kernel.evaluate("[run.stopped, run.calls[0].state, len(run.replies)]") == [True, "failed", 1]
    assert roles(kernel) == ["user", "assistant", "tool"]
    kernel.ok("says('Hello.')")
    assert "Hello." in kernel.ok("%llama chat hi").text


def test_an_interrupted_cell_stops_the_cells_behind_it(kernel):
    kernel.ok("says(call('slow', city='Oslo'), 'never said')")
    cell = kernel.submit("%%llama tools r << slow --auto\nGo")
    kernel.until(kernel.client.stdin_channel.msg_ready, 30)
    kernel.client.get_stdin_msg(timeout=5)
    kernel.client.input("y")
    kernel.until(lambda: "is running" in cell.text, 30)
    behind = kernel.submit("1 + 1")
    kernel.interrupt()
    kernel.wait(cell, 30)
    assert cell.error["ename"] == "ReplyInterrupted"
    assert kernel.wait(behind, 30).status == "aborted"
    assert kernel.evaluate("r.calls[0].error") == "it was stopped by the user"


def test_in_the_background_the_cell_returns_and_stop_ends_the_function(kernel):
    kernel.ok("says(call('slow', city='Oslo'), 'never said')")
    kernel.ok("run = registry.current().tools('Go', slow, approve=lambda call: True, background=True)")
    kernel.ok("while not (run.calls and run.calls[0].state == 'running'): time.sleep(0.01)")
    assert "1" in kernel.ok("%llama stop").text
    kernel.ok("run.wait(10)")
    assert kernel.evaluate("[run.stopped, run.calls[0].state]") == [True, "failed"]


def test_the_value_is_shown_once_and_can_be_shown_again(kernel):
    kernel.ok("says(call('clock', city='Oslo'), 'It is 12:30.')")
    cell = kernel.ok("%%llama tools clock --auto\nWhat time is it?")
    assert cell.text.count("It is 12:30.") == 1
    kernel.ok("says(call('clock', city='Oslo'), 'It is 12:30.')")
    cell = kernel.ok("registry.current().tools('Go', clock, auto=True)")
    assert cell.text.count("It is 12:30.") == 1
    kernel.ok("says(call('clock', city='Oslo'), 'It is 12:30.')")
    kernel.ok("%%llama tools r << clock --auto\nWhat time is it?")
    assert kernel.ok("r").value["text/plain"].count("It is 12:30.") == 1
    assert "text/html" in kernel.ok("r").value


MISTAKES = [
    ("%%llama tools\nGo", "ToolError", "Name functions of yours"),
    ("%%llama tools wether\nGo", "ToolError", "Did you mean weather"),
    ("%%llama tools print\nGo", "ToolError", "There is no 'print' here"),
    ("%%llama tools says\nGo", "ToolError", "says takes any number of arguments"),
    ("%%llama tools time\nGo", "ToolError", "time is a module, not a function"),
    ("%%llama tools time.sleep\nGo", "ToolError", "sleep"),
    ("%%llama tools weather weather\nGo", "ToolError", "Two tools are called 'weather'"),
    ("%%llama tools weather\n", "MessageError", "Nothing to send"),
    ("%llama tools weather", "MessageError", "Nothing to send"),
    ("%%llama tools weather --rounds many\nGo", "LlamaError", "from 1 to 50"),
    ("%%llama tools weather --auot\nGo", "CommandError", "--auto"),
    ("%%llama tools weather 'and this?'\nGo", "CommandError", "There is text on the line"),
]


@pytest.mark.parametrize(("code", "name", "words"), MISTAKES)
def test_mistakes_on_the_line_say_what_was_meant(kernel, code, name, words):
    kernel.ok("says('never said')")
    cell = kernel.run(code)
    assert cell.status == "error"
    assert cell.error["ename"] == name, cell.error_text
    assert words in cell.error_text
    assert len(cell.error_text.splitlines()) <= 12
    assert roles(kernel) == []


def test_a_line_takes_the_message_in_quotes(kernel):
    kernel.ok("says(call('clock', city='Oslo'), 'It is 12:30.')")
    assert "It is 12:30." in kernel.ok('%llama tools clock, --auto "What time is it in Oslo?"').text
    sent = kernel.evaluate("registry.current().engine.requests[0].input[-1].content")
    assert sent == "What time is it in Oslo?"


def test_tab_offers_functions_of_the_notebook(kernel):
    offered = kernel.complete("%%llama tools we")
    assert offered == ["weather"]
    assert "weather" not in kernel.complete("%%llama tools weather ")
    assert "clock" in kernel.complete("%%llama tools weather ")


def test_every_example_runs_on_the_bundled_model(kernel, asked):
    kernel.ok("%llama load cria")
    kernel.ok("%llama set temperature 0")
    for example in EXAMPLES:
        _, cell = asked(example, *(["y"] if example.startswith("%%") and "--auto" not in example else []))
        assert cell.status == "ok", (example, cell.error_text)
    kernel.ok("%llama unload cria")
