"""What a streamed reply sends to the page: every message of a real kernel, in full, while 1,000 tokens come.

The same tokens at the same speed are shown by our live view, by the chat panel (whose token view is then
opened), and, as peers, by re-sending the whole text as a Markdown display: on every token, and ten times a
second. Counted at the client's socket, headers included.
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
MOST_BYTES_OF_TOKENS = 300_000  # with the ten likeliest of each
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
print("[streamed]", flush=True)
reply.end(Finish("end", Usage(12, 0, len(PIECES), 0.1, 20.0), 7))
publish(ReplyEnded(reply))
"""
# A model whose engine says what we say; ten alternatives from a vocabulary of the size of Llama 3's.
PANEL = """
import random
import llama_nb as llama
from llama_nb.core.events import *
from llama_nb.widgets import chat_panel
model = llama.load("cria")
chance = random.Random(1)

def alternatives():
    left = sorted((chance.uniform(-14, -0.05) for _ in range(10)), reverse=True)
    return tuple(
        Alternative(chance.randrange(128256), chance.choice(PIECES), value, value / 2 if place < 3 else None)
        for place, value in enumerate(left)
    )

def stream(request, stop):
    for index, piece, elapsed in paced():
        yield TokenEvent(piece, chance.randrange(128256), -0.6931, 1.2345, alternatives(), elapsed)
    yield TokenEvent("", finish=Finish("end", Usage(12, 0, len(PIECES), 0.1, 20.0), 7))

model.engine.stream = stream
page = chat_panel.show(model)
print("[opened]", flush=True)
page.received({{"kind": "send", "text": "Explain tokens.", "page": "a"}})
while model.active:
    time.sleep(0.05)
print("[streamed]", flush=True)
ids = [step["id"] for step in page.path["steps"]]
page.received({{"kind": "want", "ids": ids}})
time.sleep(2.5)
print("[ended]", flush=True)
page.received({{"kind": "tokens", "id": ids[-1]}})
print("[told]", flush=True)
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
    """What arrived at a client: sizes and instants of the messages, and how many had come at which mark."""

    sizes: list[int] = field(default_factory=list)
    instants: list[float] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """All bytes, the opening of the widget and the finished output included."""
        return sum(self.sizes)

    def between(self, begin: str, end: str) -> "Traffic":
        """What arrived between two marks."""
        part = slice(self.marks[begin], self.marks[end])
        return Traffic(self.sizes[part], self.instants[part])

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
            kind, content = message["msg_type"], message["content"]
            if kind == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            if kind == "stream":
                for mark in re.findall(r"\[(\w+)\]", content["text"]):
                    traffic.marks[mark] = len(traffic.sizes)
            elif kind in SHOWN:
                traffic.sizes.append(sum(len(frame) for frame in frames))
                traffic.instants.append(_seconds(message))
            elif kind == "status" and content["execution_state"] == "idle" and _answers(message, request):
                return traffic
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _answers(message: dict[str, Any], request: str) -> bool:
    return bool(message["parent_header"].get("msg_id") == request)


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
        jobs[f"panel, {name}"] = setup + PANEL.format()
    found: dict[str, Traffic] = {}

    def work(name: str, code: str) -> None:
        found[name] = measure(code)

    threads = [threading.Thread(target=work, args=job) for job in jobs.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = [row for name in ("prose", "one code block") for row in _rows(name, found)]
    return rows + [row for name in ("prose", "one code block") for row in _panel_rows(name, found)]


def _panel_rows(name: str, found: dict[str, Traffic]) -> list[Row]:
    """The chat panel: an answer until its twin is in the notebook, then its token view."""
    whole, throttled = found[f"panel, {name}"], found[f"throttled, {name}"]
    answer, tokens = whole.between("opened", "ended"), whole.between("ended", "told")
    return [
        Row(
            what=f"chat panel, {name}: bytes, against Markdown re-sent at 10 Hz",
            ours=f"{answer.bytes / 1e6:.3f} MB",
            peer=f"{throttled.bytes / 1e6:.3f} MB",
            ratio=answer.bytes / throttled.bytes,
            budget=f"<= {MOST_BYTES / 1e6:g} MB",
            met=answer.bytes <= MOST_BYTES,
        ),
        Row(
            what=f"chat panel, {name}: messages, against Markdown re-sent at 10 Hz",
            ours=f"{len(answer.sizes)}",
            peer=f"{len(throttled.sizes)}",
            ratio=len(answer.sizes) / len(throttled.sizes),
            budget=f"<= {MOST_MESSAGES}",
            met=len(answer.sizes) <= MOST_MESSAGES,
        ),
        Row(
            what=f"chat panel, {name}: its token view with 10 alternatives",
            ours=f"{tokens.bytes / 1e6:.3f} MB",
            peer="",
            ratio=None,
            budget=f"<= {MOST_BYTES_OF_TOKENS / 1e6:g} MB",
            met=tokens.bytes <= MOST_BYTES_OF_TOKENS,
        ),
    ]


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
    streamed = ours.marks["streamed"]
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
