"""The magics in a real kernel, with the scripted model."""

import random
import subprocess
import sys
from operator import itemgetter

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.conftest import ROOT
from tests.kernel import Kernel

pytestmark = pytest.mark.kernel

REPLY = "application/vnd.llama-nb.reply+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
SLOW = "fake.install(pace_s=0.01)"


def test_a_reply_streams_and_leaves_one_output_without_a_widget(kernel):
    result = kernel.ok("%%llama\nhello there")
    assert len(result.outputs) == 1
    data = result.outputs[0]["data"]
    assert "echo: hello there" in data["text/plain"]
    assert "echo: hello there" in data["text/html"]
    assert data[REPLY]["text"].strip() == "echo: hello there"
    assert WIDGET not in data
    assert any(WIDGET in display["data"] for display in result.displays)
    assert kernel.evaluate("_.text") == "echo: hello there "


def test_python_users_see_the_same(kernel):
    result = kernel.ok("m.chat('hi')")
    assert len(result.outputs) == 1
    assert REPLY in result.outputs[0]["data"]


def test_a_kept_reply_can_be_shown_again(kernel):
    assert len(kernel.ok("r = %llama chat hello").outputs) == 1
    again = kernel.ok("r")
    assert again.value[REPLY]["text"].strip() == "echo: hello"
    assert len(again.outputs) == 1
    assert len(kernel.ok("%%llama chat r <<\nhello").outputs) == 1


def test_nobody_watches_one_final_display(kernel):
    result = kernel.run("%%llama\nhello there", allow_stdin=False)
    # comm_close: views of earlier cells may be taken down now.
    kinds = [
        kind for kind in map(itemgetter("msg_type"), result.messages) if kind not in {"status", "comm_close"}
    ]
    assert kinds == ["execute_input", "display_data"]
    data = result.displays[0]["data"]
    assert REPLY in data
    assert result.displays[0].get("transient", {}).get("display_id") is None


def test_where_nobody_watches_two_runs_give_equal_outputs(kernel):
    shown = []
    for _ in range(2):
        kernel.ok("%llama chats clear", allow_stdin=False)
        shown.append(kernel.ok("%%llama\nhello there", allow_stdin=False).displays[0]["data"])
    assert shown[0] == shown[1]


def test_text_needs_no_widget(kernel):
    result = kernel.ok("%%llama --text\nhello there")
    assert "echo: hello there" in result.stdout
    assert not result.comms
    assert len(result.outputs) == 1


@pytest.mark.parametrize(
    ("code", "ename", "says"),
    [
        ("%llama laod cria", "CommandError", "'load'"),
        ("%llama chat --temprature 1 hi", "CommandError", "--temperature"),
        ("%llama chat --temperature hot hi", "SamplingError", "0 to 100"),
        ("%%llama\n{{ missing }}", "TemplateError", "missing"),
        ("%%llama", "MessageError", "Nothing to send"),
        ("%llama chat say boom now", "EngineError", "NaN"),
        ("%llama chat say bug now", "EngineError", "ZeroDivisionError"),
        ("%llama load ./nowhere", "LoadError", "nowhere"),
    ],
)
@pytest.mark.parametrize("watched", [True, False])
def test_an_error_fails_the_cell_in_a_few_lines(kernel, code, ename, says, watched):
    result = kernel.run(code, allow_stdin=watched)
    assert result.status == "error"
    assert result.error["ename"] == ename
    assert says in result.error_text
    assert len(result.error_text.splitlines()) <= 12
    assert "Traceback" not in result.error_text
    assert result.stderr == ""


def test_errors_can_be_caught_by_type(kernel):
    code = "try:\n    %llama chat say boom now\nexcept llama_nb.LlamaError as error:\n    caught = error"
    kernel.ok(code)
    assert kernel.evaluate("type(caught).__name__") == "EngineError"


def test_python_users_and_debug_see_the_traceback(kernel):
    for code in ("m.chat('say boom now')", "%llama chat --debug say boom now"):
        result = kernel.run(code)
        assert "Traceback" in result.error_text
        assert "EngineError" in result.error_text
        assert len(result.error_text.splitlines()) > 12


def test_what_came_before_an_error_stays(kernel):
    result = kernel.run("%llama chat one two boom three")
    assert any("one two" in out.get("data", {}).get("text/plain", "") for out in result.outputs)


def test_an_interrupt_keeps_the_reply_and_stops_run_all(kernel):
    kernel.ok(SLOW)
    cell = kernel.submit("%%llama chat r <<\ncount 400")
    after = kernel.submit("later = 1")
    kernel.until(lambda: len(cell.comms) > 3)
    kernel.pump(0.3)
    kernel.interrupt()
    kernel.wait(cell)
    kernel.wait(after)
    assert cell.status == "error"
    assert cell.error_text.startswith("Stopped: ")
    assert len(cell.error_text.splitlines()) == 1
    assert after.status == "aborted"
    said = kernel.evaluate("(r.text, r.finish.reason, r.finish.detail, Out[max(Out)].text == r.text)")
    assert said[0].startswith("1 2 3 ")
    assert said[1:] == ("stopped", "interrupted", True)
    assert cell.outputs[0]["data"][REPLY]["text"] == said[0]
    assert f"Stopped: {len(said[0].split())} tokens kept" in cell.error_text
    assert kernel.ok("%llama chat hello").status == "ok"


def test_an_interrupt_at_a_random_instant_loses_nothing(kernel):
    kernel.ok(SLOW)
    rng = random.Random(7)
    for _ in range(15):
        kernel.ok("r = None")
        cell = kernel.submit("%%llama chat r <<\ncount 60")
        # Not earlier: an interrupt inside ipykernel's own code loses the cell's reply.
        kernel.until(lambda result=cell: "comm_open" in map(itemgetter("msg_type"), result.messages))
        kernel.interrupt(after=0.001 + rng.random() * 0.4)
        kernel.wait(cell)
        assert cell.error_text.startswith("Stopped: ")
        assert len(cell.error_text.splitlines()) == 1
        assert cell.stderr == ""
        words = kernel.evaluate("r.text").split()
        assert words == [str(number) for number in range(1, len(words) + 1)]
    assert kernel.ok("%llama chat hello").text


def test_a_reply_interrupted_after_another_in_its_cell_is_kept_too(kernel):
    kernel.ok(SLOW)
    cell = kernel.submit("a = llama_nb.current().chat('count 300')\nb = None\n%llama chat count 300")
    kernel.until(lambda: len(cell.comms) > 3)
    opened = len(cell.displays)
    kernel.interrupt(after=0.1)
    kernel.until(lambda: len(cell.displays) > opened)
    kernel.pump(0.3)
    kernel.interrupt()
    kernel.wait(cell)
    assert cell.error_text.startswith("Stopped: ")
    assert kernel.evaluate("(a.finish.reason, Out[max(Out)].finish.reason)") == ("stopped", "stopped")


def test_a_stop_that_is_no_interrupt_does_not_fail_the_cell(kernel):
    kernel.ok(SLOW)
    kernel.ok("import threading\nthreading.Timer(0.2, llama_nb.current().stop).start()")
    result = kernel.ok("%%llama chat r <<\ncount 400")
    assert result.error is None
    assert kernel.evaluate("r.finish.reason") == "stopped"


def test_background_replies_grow_in_their_own_cell(kernel):
    kernel.ok(SLOW)
    first = kernel.ok("%%llama chat r << --bg\ncount 30")
    second = kernel.ok("before = r.done\nprint('second')")
    assert kernel.evaluate("before") is False
    kernel.ok("_ = r.wait()")
    kernel.until(lambda: REPLY in first.outputs[0].get("data", {}))
    assert first.outputs[0]["data"][REPLY]["text"].split()[-1] == "30"
    assert second.text == "second"
    assert len(first.outputs) == 1


def test_a_second_reply_waits_for_the_first_and_can_be_stopped_meanwhile(kernel):
    kernel.ok(SLOW)
    kernel.ok("%%llama chat first << --bg\ncount 80")
    kernel.ok("second = %llama chat count 3")
    assert kernel.evaluate("(first.done, first.text.split()[-1], second.text)") == (True, "80", "1 2 3 ")
    kernel.ok("%%llama chat first << --bg\ncount 300")
    cell = kernel.submit("%%llama chat second <<\ncount 3")
    kernel.until(lambda: len(cell.comms) > 3)
    kernel.interrupt(after=0.2)
    kernel.wait(cell)
    assert cell.error_text.startswith("Stopped: 0 tokens")
    assert kernel.evaluate("(first.done, second.text)") == (False, "")
    kernel.ok("%llama stop\n_ = first.wait(10)")


THREADS = """
import threading
got = []
def ask(number):
    got.append(llama_nb.current().chat("count 5", chat=f"c{number}").text)
threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_threads_may_chat_at_once(kernel):
    kernel.ok(SLOW)
    kernel.ok(THREADS)
    assert kernel.evaluate("got") == ["1 2 3 4 5 "] * 4


def test_who_watches_is_asked_for_each_cell(kernel):
    code = "from llama_nb.runtime.environment import detect\nseen = detect()"
    kernel.ok(code, allow_stdin=False)
    assert kernel.evaluate("(seen.kind, seen.watched)") == ("batch", False)
    kernel.ok(code)
    assert kernel.evaluate("(seen.kind, seen.watched, seen.widgets)") == ("lab", True, True)


def test_tab_completes_over_the_wire(kernel):
    kernel.ok("fake.install('second')\n%llama chats new ideas")
    assert "load" in kernel.complete("%llama lo")
    assert "load" in kernel.complete("x = 1\n%llama lo")
    assert kernel.complete("x = 1\nr = %llama chat --temp") == ["--temperature"]
    assert "--max-tokens" in kernel.complete("%%llama --ma")
    assert "--max-tokens" in kernel.complete("%%llama chat --m")
    assert set(kernel.complete("%llama use ")) == {"fake", "second"}
    assert kernel.complete("%llama chat --model sec") == ["second"]
    assert "ideas" in kernel.complete("%llama chat --chat ")
    assert "ideas" in kernel.complete("%llama chats use ")
    assert kernel.complete("%llama chats cl") == ["clear"]
    assert kernel.complete("%llama set temp") == ["temperature"]
    assert kernel.complete("%llama chat --overflow ") == ["drop-oldest", "error"]
    assert "tokens" in kernel.complete("%llama help ")
    assert "%llama" in kernel.complete("%llam")
    assert "import" in kernel.complete("%%llama\nimpor")
    assert kernel.evaluate("'torch' in __import__('sys').modules") is False


def test_the_docstring_is_shown(kernel):
    assert "%%llama complete" in kernel.inspect("%llama")


def test_unloading_the_extension_takes_everything_back_and_reloading_doubles_nothing(kernel):
    state = (
        "(len(core._observers), len(ip.Completer.custom_matchers), len(ip.input_transformers_cleanup), "
        "len(ip.input_transformer_manager.token_transformers), 'llama' in ip.magics_manager.magics['cell'])"
    )
    kernel.ok("from llama_nb.core import events as core\nip = get_ipython()")
    before = kernel.evaluate(state)
    kernel.ok("%load_ext llama_nb\nllama_nb.load_ipython_extension(ip)\n%reload_ext llama_nb")
    assert kernel.evaluate(state) == before
    kernel.ok("%unload_ext llama_nb")
    assert kernel.evaluate(state) == (0, *(count - 1 for count in before[1:4]), False)
    assert "not found" in kernel.run("%llama status").text
    kernel.ok("%load_ext llama_nb")
    assert kernel.evaluate(state) == before
    assert len(kernel.ok("%llama chat hi").outputs) == 1


def notebook(*cells):
    sources = ["%load_ext llama_nb\nfrom tests.magics import fake\nm = fake.install()", *cells]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


@pytest.fixture
def batch_environment(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("LLAMA_NB_CHATS", "off")


def test_nbclient_stores_one_output_a_cell(batch_environment, tmp_path):
    book = notebook("%%llama\nhello", "r = %llama chat again", "m", "%llama tokens two words")
    NotebookClient(book, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    kinds = [[output["output_type"] for output in cell["outputs"]] for cell in book.cells[1:]]
    assert kinds == [["display_data"], ["display_data"], ["execute_result"], ["execute_result"]]
    assert "echo: hello" in book.cells[1]["outputs"][0]["data"]["text/plain"]
    nbformat.validate(book)


def test_a_failed_cell_fails_under_nbclient(batch_environment, tmp_path):
    book = notebook("%llama chat --temperature hot hi")
    with pytest.raises(CellExecutionError, match="SamplingError"):
        NotebookClient(book, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()


def nbval(folder, *options):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--nbval-cell-timeout=60",
        *options,
    ]
    run = subprocess.run(
        [*command, "book.ipynb"], capture_output=True, text=True, cwd=folder, timeout=120, check=False
    )
    return run.stdout


def test_nbval_compares_replies_and_sees_errors(batch_environment, tmp_path):
    book = notebook("%%llama\nhello", "m", "%llama status", "r = %llama chat again\nr.text")
    NotebookClient(book, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    book.cells.append(nbformat.v4.new_code_cell("%llama chat --temperature hot hi"))
    nbformat.write(book, tmp_path / "book.ipynb")
    said = nbval(tmp_path, "--nbval")
    assert "1 failed, 5 passed" in said, said
    assert "SamplingError" in said


LOADING = """
import sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import ipykernel.zmqshell, ipykernel.ipkernel
began = time.process_time()
shell.run_line_magic("load_ext", "llama_nb")
spent = time.process_time() - began
heavy = "torch transformers tokenizers huggingface_hub ipywidgets anywidget numpy pandas jinja2".split()
print(spent, *[name for name in heavy if name in sys.modules])
"""


def python(*arguments, stdin=""):
    return subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    ).stdout


def test_loading_the_extension_is_cheap():
    measured = [python("-c", LOADING).split() for _ in range(2)]
    assert [heavy for _, *heavy in measured] == [[], []]
    assert min(float(seconds) for seconds, *_ in measured) <= 0.3


def test_a_terminal_prints_the_reply_once():
    code = (
        "%load_ext llama_nb\nfrom tests.magics import fake\nm = fake.install()\n"
        "%llama chat hello there\nr = %llama chat again\n%llama chat --temprature 1 x\nprint('end')\nexit\n"
    )
    shown = python("-m", "IPython", "--simple-prompt", "--no-banner", "--colors=nocolor", stdin=code)
    assert shown.count("echo: hello there") == 1
    assert shown.count("echo: again") == 1
    assert "Did you mean '--temperature'?" in shown
    assert "Traceback" not in shown
    assert "end" in shown


def test_the_harness_itself_ends_its_kernel():
    with Kernel() as started:
        pid = started.pid
        assert started.run("1 + 1").value["text/plain"] == "2"
    assert pid is not None
    assert subprocess.run(["ps", "-p", str(pid)], capture_output=True, check=False).returncode != 0
