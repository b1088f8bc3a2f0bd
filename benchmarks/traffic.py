"""What a streamed reply sends to the page: every message of a real kernel, in full, while 1,000 tokens come.

The same tokens at the same speed are shown by our live view and, as peers, by re-sending the whole text as a
Markdown display: on every token, and ten times a second. Counted at the client's socket, headers included.
"""

import re
import threading
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

from jupyter_client import KernelManager

from benchmarks.report import Row

TITLE = "Page traffic: 1,000 tokens at 50 tokens/s"
TOKENS, RATE = 1000, 50
MOST_BYTES, MOST_MESSAGES, MOST_IN_A_SECOND = 200_000, 120, 30
SHOWN = {"comm_open", "comm_msg", "comm_close", "display_data", "update_display_data"}

PROSE = """## Part {}

A token is a piece of text with a number. The *tokenizer* cuts a text into tokens, and the **model** says how
likely each of its `128,256` tokens is to come next.

1. the text is cut
2. each piece is looked up
3. the numbers go through the layers

| layer | heads |
|---|---|
| attention | 32 |
| cache | 8 |

"""
CODE = """def step{}(q, k, v):
    scores = q @ k.transpose(-1, -2) / 8.0  # scaled
    return "ok", scores @ v

"""

SETUP = """
import sys, time, re
sys.path.insert(0, ".")
PIECES = {pieces!r}

def paced():
    began = time.monotonic()
    for index, piece in enumerate(PIECES):
        time.sleep(max(0.0, began + index / {rate} - time.monotonic()))
        yield index, piece, time.monotonic() - began
"""
OURS = """
from llama_nb.core.events import *
from llama_nb.core.sampling import Sampling
from llama_nb.runtime.environment import detect
from llama_nb.session.reply import Reply
from llama_nb.widgets import live
live.install(detect)
about = dict(kind="chat", model_name="cria", fingerprint="0" * 16, chat="main")
reply = Reply(**about, sampling=Sampling(), user="Explain tokens.")
publish(ReplyStarted(reply))
for index, piece, elapsed in paced():
    event = TokenEvent(piece, id=index, logprob=-0.6931, entropy=1.2345, elapsed_s=elapsed)
    reply.append(event)
    publish(ReplyAdvanced(reply, event))
print("streamed", flush=True)
reply.end(Finish("end", Usage(12, 0, len(PIECES), 0.1, 20.0), 7))
publish(ReplyEnded(reply))
"""
RESENT = """
from IPython.display import Markdown, display
handle, text, due = display(Markdown(""), display_id=True), "", 0.0
for index, piece, elapsed in paced():
    text += piece
    if elapsed >= due:
        handle.update(Markdown(text))
        due = elapsed + {every}
handle.update(Markdown(text))
"""


@dataclass
class Traffic:
    """What arrived at a client: sizes and instants of the messages, and what of it was only the end."""

    sizes: list[int] = field(default_factory=list)
    instants: list[float] = field(default_factory=list)
    streamed: int | None = None  # how many messages had come with the last token

    @property
    def bytes(self) -> int:
        """All bytes, the opening of the widget and the finished output included."""
        return sum(self.sizes)

    @property
    def busiest(self) -> int:
        """The most messages in any second."""
        return max(sum(start <= other < start + 1 for other in self.instants) for start in self.instants)


def pieces(template: str) -> list[str]:
    """Cut a text made from `template` into about the tokens that a Llama's tokenizer would."""
    text = "".join(template.format(number) for number in range(40))
    return list(islice(cycle(re.findall(r" ?[A-Za-z]+|\d{1,3}|\s+|[^\sA-Za-z\d]", text)), TOKENS))


def measure(code: str) -> Traffic:
    """Run `code` in a fresh kernel and count what reaches a client."""
    manager = KernelManager()
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    traffic = Traffic()
    try:
        client.wait_for_ready(timeout=60)
        request = client.execute(code, allow_stdin=True)
        while True:
            _, frames = client.session.feed_identities(client.iopub_channel.socket.recv_multipart())
            message = client.session.deserialize(frames)
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            if kind == "stream" and "streamed" in content["text"]:
                traffic.streamed = len(traffic.sizes)
            elif kind in SHOWN:
                traffic.sizes.append(sum(len(frame) for frame in frames))
                traffic.instants.append(_seconds(message))
            elif kind == "status" and content["execution_state"] == "idle":
                return traffic
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _seconds(message: dict[str, Any]) -> float:
    return float(message["header"]["date"].timestamp())


def run() -> list[Row]:
    """Measure all at the same time: they sleep more than they work."""
    jobs: dict[str, str] = {}
    for name, opening, template in (("prose", [], PROSE), ("one code block", ["```", "python", "\n"], CODE)):
        text = [*opening, *pieces(template)][:TOKENS]
        setup = SETUP.format(pieces=text, rate=RATE)
        jobs[f"ours, {name}"] = setup + OURS
        jobs[f"every, {name}"] = setup + RESENT.format(every=0.0)
        jobs[f"throttled, {name}"] = setup + RESENT.format(every=0.1)
    found: dict[str, Traffic] = {}

    def work(name: str, code: str) -> None:
        found[name] = measure(code)

    threads = [threading.Thread(target=work, args=job) for job in jobs.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [row for name in ("prose", "one code block") for row in _rows(name, found)]


def _rows(name: str, found: dict[str, Traffic]) -> list[Row]:
    ours, every, throttled = (found[f"{way}, {name}"] for way in ("ours", "every", "throttled"))
    rows = []
    for peer, what in ((every, "Markdown re-sent on every token"), (throttled, "Markdown re-sent at 10 Hz")):
        rows.append(
            Row(
                what=f"{name}: bytes, against {what}",
                ours=f"{ours.bytes / 1e6:.3f} MB",
                peer=f"{peer.bytes / 1e6:.3f} MB",
                ratio=ours.bytes / peer.bytes,
                budget=f"<= {MOST_BYTES / 1e6:g} MB",
                met=ours.bytes <= MOST_BYTES,
            )
        )
    streamed = ours.streamed or len(ours.sizes)
    rows.append(
        Row(
            what=f"{name}: messages, against {what}",
            ours=f"{len(ours.sizes)}",
            peer=f"{len(throttled.sizes)}",
            ratio=len(ours.sizes) / len(throttled.sizes),
            budget=f"<= {MOST_MESSAGES}",
            met=len(ours.sizes) <= MOST_MESSAGES,
        )
    )
    rows.append(
        Row(
            what=f"{name}: most messages in a second",
            ours=f"{ours.busiest}",
            peer=f"{every.busiest} (every token)",
            ratio=ours.busiest / every.busiest,
            budget=f"<= {MOST_IN_A_SECOND}",
            met=ours.busiest <= MOST_IN_A_SECOND,
        )
    )
    rows.append(
        Row(
            what=f"{name}: of these bytes, while streaming / the finished output",
            ours=f"{sum(ours.sizes[:streamed]) / 1e6:.3f} / {sum(ours.sizes[streamed:]) / 1e6:.3f} MB",
            peer="",
            ratio=None,
            budget="",
            met=None,
        )
    )
    return rows
