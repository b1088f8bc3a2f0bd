"""Live replies in a real kernel: which cell they land in, what is left, and Stop while a cell runs.

The replies are paced by a loop instead of a model; everything else is as in a notebook.
"""

import pytest

from llama_nb.render.reply import MIME
from tests.kernel import Kernel

VIEW = "application/vnd.jupyter.widget-view+json"

SETUP = """
import threading, time
from contextvars import copy_context
from llama_nb.core.events import *
from llama_nb.core.sampling import Sampling
from llama_nb.runtime.environment import detect
from llama_nb.session.reply import Reply
from llama_nb.widgets import live
uninstall = live.install(detect)

def write(words, pause=0.02, background=False):
    greedy = Sampling(temperature=0)
    reply = Reply(kind="chat", model_name="cria", fingerprint="0", sampling=greedy, user="Hi")
    publish(ReplyStarted(reply))
    def work():
        began = time.monotonic()
        for index, word in enumerate(words):
            if reply.stop_flag.is_set():
                break
            time.sleep(pause)
            event = TokenEvent(word + " ", id=index, elapsed_s=time.monotonic() - began)
            reply.append(event)
            publish(ReplyAdvanced(reply, event))
        reason = "stopped" if reply.stop_flag.is_set() else "end"
        reply.end(Finish(reason, Usage(3, 0, len(reply.tokens), 0.02, time.monotonic() - began)))
        publish(ReplyEnded(reply))
    if background:
        threading.Thread(target=copy_context().run, args=(work,)).start()
    else:
        work()
    return reply
"""


@pytest.fixture(scope="module")
def kernel(root):
    with Kernel(cwd=root) as running:
        running.ok(SETUP)
        yield running


def deltas(result):
    return [
        data["content"] for data in (comm["data"] for comm in result.comms) if data.get("method") == "custom"
    ]


def test_a_reply_streams_and_leaves_a_bundle_without_a_widget(kernel):
    result = kernel.ok("r = write(['one', 'two', 'three'])")
    assert VIEW in result.displays[0]["data"]
    assert "three" in str(deltas(result))
    (output,) = result.outputs
    assert set(output["data"]) == {"text/plain", "text/html", MIME}
    assert output["data"]["text/plain"].startswith("one two three")


def test_a_reply_that_is_the_value_of_its_cell_is_shown_once(kernel):
    assert len(kernel.ok("write(['only', 'once'])").outputs) == 1
    again = kernel.ok("r = write(['only', 'once'])\nr")
    assert len(again.outputs) == 1
    later = kernel.ok("r")
    assert later.value[MIME]["text"] == "only once "


def test_a_background_reply_stays_in_its_cell_while_others_run(kernel):
    background = kernel.ok("b = write(['left'] * 40, background=True)")
    other = kernel.ok("a = write(['right'] * 10)\nprint('done')")
    kernel.until(lambda: MIME in background.outputs[0]["data"])
    assert background.outputs[0]["data"][MIME]["text"] == "left " * 40
    assert len(background.outputs) == 1
    assert [output["output_type"] for output in other.outputs] == ["display_data", "stream"]
    assert other.outputs[0]["data"][MIME]["text"] == "right " * 10


def test_two_replies_of_one_cell_have_their_own_outputs(kernel):
    result = kernel.ok("pair = [write([word] * 20, background=True) for word in ('left', 'right')]")
    kernel.until(lambda: all(MIME in output["data"] for output in result.outputs))
    assert [output["data"][MIME]["text"].split()[0] for output in result.outputs] == ["left", "right"]


def test_stop_is_taken_while_the_cell_runs_on_a_subshell(kernel):
    """As JupyterLab sends it: a comm message with a subshell's id. ipykernel 7.4 needs our hint for this."""
    subshell = create_subshell(kernel)
    if subshell is None:
        pytest.skip("this ipykernel has no subshells: no Stop button is drawn there")
    running = kernel.submit("r = write(['word'] * 1000)")
    kernel.until(lambda: bool(running.displays))
    view = running.displays[0]["data"][VIEW]["model_id"]
    send_on(kernel, subshell, view, {"kind": "hello", "page": "a"})
    kernel.until(lambda: {"stoppable": True} in [comm["data"].get("state") for comm in all_comms(kernel)], 10)
    assert not running.done
    send_on(kernel, subshell, view, {"kind": "stop"})
    kernel.wait(running, 10)
    assert running.outputs[0]["data"][MIME]["finish"] == "stopped"
    assert kernel.evaluate("len(r.tokens)") < 500


def test_without_a_subshell_the_page_is_heard_after_the_cell_and_no_button_is_offered(kernel):
    running = kernel.submit("r = write(['word'] * 20)")
    kernel.until(lambda: bool(running.displays))
    view = running.displays[0]["data"][VIEW]["model_id"]
    before = len(all_comms(kernel))
    kernel.send_comm(view, {"method": "custom", "content": {"kind": "hello", "page": "a"}})
    kernel.wait(running)
    kernel.pump(0.3)
    assert {"stoppable": True} not in [comm["data"].get("state") for comm in all_comms(kernel)[before:]]


def test_where_nobody_watches_one_display_and_no_widget(kernel):
    first, second = (kernel.run("r = write(['one', 'two'])", allow_stdin=False) for _ in range(2))
    kinds = [message["msg_type"] for message in second.messages]
    assert kinds == ["status", "execute_input", "display_data", "status"]
    assert first.outputs[0]["data"] == second.outputs[0]["data"]


def test_progress_is_one_output(kernel):
    code = "for n in range(10):\n    publish(Progress('Reading', n, 9, 'files', n == 9))\n    time.sleep(.06)"
    result = kernel.ok(code)
    assert result.text.startswith("Reading: 9 files in ")
    assert len(result.outputs) == 1


def create_subshell(kernel):
    message = kernel.client.session.msg("create_subshell_request", {})
    kernel.client.control_channel.send(message)
    reply = kernel.client.get_control_msg(timeout=10)
    return reply["content"].get("subshell_id")


def send_on(kernel, subshell, comm_id, content):
    data = {"method": "custom", "content": content}
    message = kernel.client.session.msg("comm_msg", {"comm_id": comm_id, "data": data})
    message["header"]["subshell_id"] = subshell
    kernel.client.shell_channel.send(message)


def all_comms(kernel):
    return [comm for result in list(kernel._results.values()) for comm in result.comms]
