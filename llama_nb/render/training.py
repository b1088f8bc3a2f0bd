"""A training run without scripts: how far it is, its losses as a picture, its answers before and after.

Takes the records that the page gets (labextension/widgets/training_shapes.ts). Texts in them may come from
anywhere. Where outputs are compared, what differs from run to run is left out: times, rates, memory, paths.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.render.clean import clean_line
from llama_nb.render.html import MUTED, SMALL, escape, styled, to_html, wall, without_math
from llama_nb.render.line_chart import COLOURS, Line, chart_html
from llama_nb.render.nodes import Node, element, plain_text
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text
from llama_nb.render.units import figure, number, size

Record = Mapping[str, Any]

STATES: Final = {
    "waiting": "waiting to begin",
    "running": "training",
    "paused": "paused",
    "stopped": "stopped",
    "finished": "finished",
    "failed": "failed",
    "interrupted": "interrupted",
}
_ITEM: Final = "display:inline-block;margin-right:20px;vertical-align:top"
_SHORTEST: Final = 240  # characters of an answer in text
_MOST_ANSWERS: Final = 6


def title(head: Record) -> str:
    """Return which run it is: "persona: LoRA of rank 16 on cria"."""
    rank = f" of rank {head['rank']}" if head.get("rank") else ""
    return clean_line(f"{head.get('name', 'run')}: {_method(head)}{rank} on {head.get('model', 'a model')}")


def progress(head: Record, *, watched: bool) -> str:
    """Return how far it is: "training, step 40 of 200, 2 min 10 s left"."""
    words = [STATES.get(str(head.get("state")), "unknown")]
    if head.get("steps"):
        words.append(f"step {head.get('step', 0):,} of {head['steps']:,}")
    if watched and head.get("state") == "running" and head.get("eta_s") is not None:
        words.append(f"{duration(head['eta_s'])} left")
    if watched and head.get("serving"):
        words.append(clean_line(str(head["serving"])))
    return ", ".join(words)


def to_plain(head: Record, samples: Record, *, watched: bool) -> str:
    """Return a run as text: its figures in lines, and its answers."""
    facts = figures(head, watched=watched)
    wide = max((len(name) for name, _ in facts), default=0)
    blocks = [
        "\n".join(
            [
                title(head),
                progress(head, watched=watched),
                *(f"  {name:<{wide}}  {value}" for name, value in facts),
            ]
        ),
        *_notes(head),
    ]
    answers = [*samples.get("answers", ())][:_MOST_ANSWERS]
    if answers:
        step = samples.get("step", 0)
        blocks += [_plain_answer(answer, f"after step {step:,}") for answer in answers]
    return "\n\n".join(blocks)


def to_page(head: Record, curves: Record, samples: Record, *, watched: bool) -> str:
    """Return a run as HTML that stands alone, its curves as pictures."""
    items = "".join(
        styled("span", _ITEM, styled("span", f"{SMALL};{MUTED}", escape(name)) + "<br>" + escape(value))
        for name, value in figures(head, watched=watched)
    )
    parts = [
        styled("div", "font-weight:bold", escape(title(head))),
        styled("div", MUTED, escape(progress(head, watched=watched))),
        styled("div", "margin:0.4em 0", items),
        loss_chart(head, curves),
        *(styled("p", SMALL, escape(note)) for note in _notes(head)),
    ]
    html = wall("".join(parts), pictures=True)
    table = _answers(samples)
    return without_math(html + to_html([table] if table else []))


def lines(text: str) -> str:
    """Return a title and what follows it as HTML."""
    first, *rest = text.split("\n")
    parts = [styled("div", "font-weight:bold", escape(first))]
    return without_math(wall("".join([*parts, *(styled("div", MUTED, escape(each)) for each in rest)])))


def loss_chart(head: Record, curves: Record) -> str:
    """Return the losses of a run as a chart, or nothing before the first step."""
    steps = curves.get("steps", [])
    lines = [
        Line("loss", list(zip(steps, curves.get("loss", []), strict=False)), COLOURS[0], "dots"),
        Line("smoothed", list(zip(steps, curves.get("smoothed", []), strict=False)), COLOURS[0]),
    ]
    checked = [(step, loss) for step, loss in curves.get("validation", [])]
    if checked:
        lines.append(Line("validation", checked, COLOURS[1], "dashed"))
    said = ", ".join(f"{name} {value}" for name, value in figures(head, watched=False))
    return chart_html(lines, f"Loss by step of the run {clean_line(str(head.get('name', '')))}: {said}")


def figures(head: Record, *, watched: bool) -> list[tuple[str, str]]:
    """Return what is known in numbers, each with its name."""
    data = head.get("data") or {}
    found: list[tuple[str, str]] = []
    loss = head.get("smoothed") if head.get("smoothed") is not None else head.get("loss")
    if loss is not None:
        found.append(("loss", loss_text(loss, watched=watched)))
    if head.get("validation") is not None:
        said = ""
        if head.get("best") is not None and head.get("best_step") is not None:
            said = f" (best {loss_text(head['best'], watched=watched)} at step {head['best_step']:,})"
        found.append(("validation", loss_text(head["validation"], watched=watched) + said))
    if head.get("parameters"):
        found.append(("trained weights", number(head["parameters"])))
    if data.get("rows") is not None:
        held = f" + {data['validation_rows']:,} for validation" if data.get("validation_rows") else ""
        found.append(("rows", f"{data['rows']:,}{held}"))
    if data.get("tokens") and data.get("trained") is not None:
        share = data["trained"] / data["tokens"]
        found.append(("tokens trained on", f"{data['trained']:,} of {data['tokens']:,} ({share:.0%})"))
    return found + (_measured(head) if watched else [])


def _measured(head: Record) -> list[tuple[str, str]]:
    """What differs from machine to machine and from moment to moment."""
    found: list[tuple[str, str]] = []
    if head.get("lr") is not None:
        found.append(("learning rate", f"{head['lr']:.3g}"))
    if head.get("tokens_per_s") is not None:
        found.append(("tokens/s", figure(head["tokens_per_s"])))
    for name, key, write in (("memory", "memory", size), ("time", "spent_s", duration)):
        planned = head.get(f"planned_{'s' if key == 'spent_s' else key}")
        if head.get(key) is not None:
            said = f" (planned {write(planned)})" if planned is not None else ""
            found.append((name, write(head[key]) + said))
    return found


def duration(seconds: float) -> str:
    """Return a time: "0.4 s", "45 s", "2 min 05 s", "3 h 10 min"."""
    if seconds < 59.5:
        return f"{max(seconds, 0.1):.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _method(head: Record) -> str:
    method = str(head.get("method") or "lora")
    names = {"lora": "LoRA", "dora": "DoRA", "rslora": "rank-stabilised LoRA", "full": "all weights"}
    said = names.get(method, method)
    return f"DPO, {said}" if head.get("objective") == "dpo" else said


def loss_text(value: float, *, watched: bool) -> str:
    """Return a loss: three digits, or two decimals where outputs are compared between machines."""
    return figure(value) if watched or value >= 100 else f"{value:.2f}"


def _notes(head: Record) -> list[str]:
    said = [head.get("error"), head.get("hint"), head.get("sentence"), *head.get("notes", ())]
    return [clean_line(str(each)) for each in said if each]


def _plain_answer(answer: Record, after: str) -> str:
    lines = [f"> {_short(str(answer.get('prompt', '')))}"]
    for name, nodes in (("before", answer.get("before")), (after, answer.get("after"))):
        if nodes is not None:
            lines.append(f"{name}: {_short(to_text(nodes))}")
    return "\n".join(lines)


def _short(text: str) -> str:
    line = clean_line(text.replace("\n", " "))
    return line if len(line) <= _SHORTEST else line[: _SHORTEST - 1] + "\u2026"


def _answers(samples: Record) -> Node | None:
    """Return a table with the prompts and the answers before and after."""
    answers: Sequence[Record] = samples.get("answers", ())
    if not answers:
        return None
    head = table_node(["prompt", "before", f"after step {samples.get('step', 0):,}"], [])
    rows: list[Node] = [
        element(
            "tr",
            element("td", clean_line(str(answer.get("prompt", "")))),
            element("td", *_cell(answer.get("before"))),
            element("td", *_cell(answer.get("after"))),
        )
        for answer in answers
    ]
    return {**head, "c": [*head.get("c", []), element("tbody", *rows)]}


def _cell(nodes: Sequence[Node] | None) -> Sequence[Node]:
    return nodes if nodes and plain_text(nodes).strip() else ["\u2013"]
