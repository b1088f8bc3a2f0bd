"""Messages to weighted pieces of text: the chat template, written out for training.

Must give the same text as chat_template.jinja (a test compares them); adds what the template cannot
say, which tokens the model learns to write.
"""

import json
from pathlib import Path
from typing import Any

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
EOT, EOM, CALL = "<|eot_id|>", "<|eom_id|>", "<|python_tag|>"
PAD = "<|finetune_right_pad_id|>"
SPECIAL = (BOS, EOS, "<|start_header_id|>", "<|end_header_id|>", EOT, EOM, CALL, PAD)
TEMPLATE = Path(__file__).with_name("chat_template.jinja")

OTHER_WEIGHT = 0.1
Message = dict[str, Any]
Pieces = list[tuple[str, float]]


def header(role: str) -> str:
    """Return the marks that open a turn."""
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n"


def system_text(system: str | None, tools: list[Message]) -> str | None:
    """Return the content of the system turn, or None where there is none."""
    if not tools:
        return None if system is None else system.strip()
    lines = "".join(json.dumps(tool, ensure_ascii=False) + "\n" for tool in tools)
    usage = 'Environment: ipython\nTo use a tool, write {"name": ..., "parameters": {...}}.\nTools:\n'
    return usage + lines + (f"\n{system.strip()}" if system else "")


def call_text(message: Message) -> str:
    """Return the text of a tool call, its end mark left out."""
    call = message["tool_calls"][0]["function"]
    return f'{CALL}{{"name": "{call["name"]}", "parameters": {json.dumps(call["arguments"], ensure_ascii=False)}}}'


def render(messages: list[Message], tools: list[Message] | None = None) -> Pieces:
    """Return (text, loss weight) pieces whose joined text is what the chat template writes."""
    system = messages[0]["content"] if messages[0]["role"] == "system" else None
    pieces: Pieces = [(BOS, 0.0)]
    opening = system_text(system, tools or [])
    if opening is not None:
        pieces.append((header("system") + opening + EOT, OTHER_WEIGHT))
    for message in messages[system is not None :]:
        role = message["role"]
        pieces.append((header(role), OTHER_WEIGHT))
        if message.get("tool_calls"):
            pieces.append((call_text(message) + EOM, 1.0))
        else:
            weight = 1.0 if role == "assistant" else OTHER_WEIGHT
            pieces.append((message["content"].strip() + EOT, weight))
    return pieces
