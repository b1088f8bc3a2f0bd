"""Record every reply into a file, so that the notebook runs without the model.

Recorded are the messages, the sampling parameters and the tokens with their probabilities. %llama load NAME
--replay plays them back, and so does every load where the variable LLAMA_NB_REPLAY names the file: the same
cells show the same, on any laptop. Restart the kernel before you record. Without a file it is
<notebook>.replies.jsonl beside the notebook.
"""

from argparse import Namespace
from typing import Any

from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call
from llama_nb.runtime.environment import detect

EXAMPLES = (
    "%llama record",
    "%llama record --stop",
    "%llama record lesson.replies.jsonl",
    "%llama record --stop",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the file and --stop."""
    parser.add_argument("file", nargs="?", help="where the replies go; what is there is appended to")
    parser.add_argument("--stop", action="store_true", help="record no more")


def run(args: Namespace, call: Call) -> Shown:
    """Start, say the state, or stop."""
    del call
    from llama_nb.session import record

    running = record.recorder()
    if args.stop:
        if running is not None:
            running.stop()
        return Shown(_stopped(running))
    if running is not None and args.file is None:
        return Shown(_state(running))
    return Shown(_state(record.record(args.file)))


# Where outputs are compared they hold no path and no count: the next run may record none.
def _state(recording: Any) -> str:
    if not detect().watched:
        return "Replies are recorded from here on."
    from llama_nb.session import registry

    left_out = f", {recording.left_out:,} left out" if recording.left_out else ""
    played = ", ".join(name for name, model in registry.loaded().items() if model.replayed)
    return (
        f"Replies are recorded into {recording.file.name}: {_count(recording.replies)} so far{left_out}. "
        + (f"Not those of {played}: they are played back. " if played else "")
        + "To end it: %llama record --stop"
    )


def _stopped(recording: Any) -> str:
    if not detect().watched:
        return "Nothing is recorded any more."
    if recording is None:
        return "Nothing is recorded. To begin: %llama record"
    return (
        f"{_count(recording.replies).capitalize()} recorded into {recording.file.name}. "
        f"To play them back: %llama load NAME --replay {recording.file.name}"
    )


def _count(replies: int) -> str:
    return {0: "no reply", 1: "1 reply"}.get(replies, f"{replies:,} replies")
