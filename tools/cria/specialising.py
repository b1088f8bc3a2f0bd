"""What the experts of a model do on held-out text: how even their loads are, and how much a domain tells of them.

Knows domains as lists of messages and routers as modules; knows nothing of training.
"""

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tools.cria import code, german, glossary, stories, sums, tool_calls
from tools.cria.exchange import Exchange
from tools.cria.rendering import Message, render
from tools.cria.words import seeded

MUTUAL_GATE, SHARE_GATE = 0.3, 0.03


def _chat(*exchanges: Exchange) -> list[Message]:
    turns = []
    for exchange in exchanges:
        turns += [{"role": "user", "content": exchange.question}]
        turns += [{"role": "assistant", "content": exchange.answer}]
    return turns


def _tool_chat(rng: random.Random) -> tuple[list[Message], list[Message]]:
    name = rng.choice(list(tool_calls.PARAMETERS))
    return tool_calls.messages(tool_calls.use(rng, name, held=True)), tool_calls.tool_box(rng)


# A conversation of held-out questions of each domain, with its tools.
DOMAINS: dict[str, Callable[[random.Random], tuple[list[Message], list[Message]]]] = {
    "stories": lambda rng: (_chat(stories.ask(rng, held=True)), []),
    "arithmetic": lambda rng: (_chat(*(sums.ask(rng, held=True) for _ in range(4))), []),
    "code": lambda rng: (_chat(code.ask(rng, held=True), code.ask(rng, held=True)), []),
    "glossary": lambda rng: (_chat(*(glossary.ask(rng, held=True) for _ in range(3))), []),
    "German": lambda rng: (_chat(german.ask(rng, held=True)), []),
    "tool calls": _tool_chat,
}


def texts(domain: str, seed: int, count: int) -> list[str]:
    """Return held-out conversations of a domain, rendered."""
    made = [DOMAINS[domain](seeded(seed, "domain", domain, number)) for number in range(count)]
    return ["".join(text for text, _ in render(messages, tools)) for messages, tools in made]


def plain_texts(domain: str, seed: int, count: int) -> list[str]:
    """Return held-out conversations of a domain without the marks of a chat: what is said, a line each."""
    made = [DOMAINS[domain](seeded(seed, "plain", domain, number))[0] for number in range(count)]
    return ["\n".join(_said(message) for message in messages) for messages in made]


def _said(message: Message) -> str:
    calls = message.get("tool_calls") or [{}]
    called = calls[0].get("function", {})
    return str(message.get("content") or f"{called.get('name')}({json.dumps(called.get('arguments'))})")


def write_texts(path: Path, seed: int, count: int = 24) -> None:
    """Write labelled texts to try: columns domain and text."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["domain", "text"])
        table.writerows([domain, text] for domain in DOMAINS for text in plain_texts(domain, seed, count))


@torch.no_grad()
def counts(model: Any, tokenizer: Any, seed: int, conversations: int = 60) -> dict[int, torch.Tensor]:
    """Return for each MoE layer how many tokens of each domain each expert got, [domains, experts]."""
    layers = model.config.moe_layers
    found = {layer: torch.zeros(len(DOMAINS), model.config.num_local_experts) for layer in layers}
    row = 0

    def note(layer: int) -> Callable[..., None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            chosen = output[1].argmax(-1)
            found[layer][row] += torch.bincount(chosen, minlength=found[layer].shape[1])

        return hook

    hooks = [model.model.layers[at].feed_forward.router.register_forward_hook(note(at)) for at in layers]
    try:
        for row, domain in enumerate(DOMAINS):  # noqa: B007  (the hooks read it)
            for text in texts(domain, seed, conversations):
                ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
                model(ids[:, : model.config.max_position_embeddings], use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def mutual_information(table: torch.Tensor) -> float:
    """Return the mutual information of rows and columns of a table of counts, in bits, rows weighted alike."""
    joint = table / table.sum(1, keepdim=True) / len(table)
    apart = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    return float((joint * (joint / apart).clamp_min(1e-12).log2()).sum())


def measure(model: Any, tokenizer: Any, seed: int) -> list[dict[str, Any]]:
    """Return a row for each MoE layer: mutual information, smallest and largest share, share by domain."""
    rows = []
    for layer, table in counts(model, tokenizer, seed).items():
        shares = table / table.sum(1, keepdim=True)
        overall = table.sum(0) / table.sum()
        rows.append(
            {
                "layer": layer,
                "mutual_information": round(mutual_information(table), 4),
                "least": round(float(overall.min()), 4),
                "most": round(float(overall.max()), 4),
                "shares": {
                    name: [round(x, 3) for x in row]
                    for name, row in zip(DOMAINS, shares.tolist(), strict=True)
                },
            }
        )
    return rows
