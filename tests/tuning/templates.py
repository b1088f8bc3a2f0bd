"""Chat templates in the formats that Meta published, which trl's package does not hold, and awkward ones.

Llama 2: https://github.com/meta-llama/llama, llama/generation.py. Llama 4: the model cards' prompt format,
https://www.llama.com/docs/model-cards-and-prompt-formats/llama4/.
"""

import importlib.util
from pathlib import Path

from tokenizers import AddedToken

LLAMA2 = """\
{%- if messages[0].role == 'system' -%}
    {%- set system = '<<SYS>>\\n' + messages[0].content.strip() + '\\n<</SYS>>\\n\\n' -%}
    {%- set turns = messages[1:] -%}
{%- else -%}
    {%- set system = '' -%}
    {%- set turns = messages -%}
{%- endif -%}
{%- for turn in turns -%}
    {%- if (turn.role == 'user') != (loop.index0 % 2 == 0) -%}
        {{- raise_exception('user and assistant take turns') -}}
    {%- endif -%}
    {%- if turn.role == 'user' -%}
        {{- bos_token + '[INST] ' + (system if loop.first else '') + turn.content.strip() + ' [/INST]' -}}
    {%- else -%}
        {{- ' ' + turn.content.strip() + ' ' + eos_token -}}
    {%- endif -%}
{%- endfor -%}
"""

LLAMA4 = """\
{{- bos_token -}}
{%- for turn in messages -%}
    {{- '<|header_start|>' + ('ipython' if turn.role == 'tool' else turn.role) + '<|header_end|>\\n\\n' -}}
    {%- if turn.tool_calls -%}
        {%- set call = turn.tool_calls[0].function -%}
        {{- '{"name": "' + call.name + '", "parameters": ' + call.arguments | tojson + '}<|eom|>' -}}
    {%- elif turn.content is string -%}
        {{- turn.content + '<|eot|>' -}}
    {%- else -%}
        {%- for part in turn.content -%}{{- part.text -}}{%- endfor -%}{{- '<|eot|>' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|header_start|>assistant<|header_end|>\\n\\n' -}}{%- endif -%}
"""

# What was thought is left out of all answers but the last, and ends of turns are followed by a line end.
THINKING = """\
{%- for turn in messages -%}
    {{- '<|start_header_id|>' + turn.role + '<|end_header_id|>\\n' -}}
    {%- if loop.last -%}{{- turn.content -}}
    {%- else -%}{{- turn.content.split('</think>')[-1].lstrip() -}}{%- endif -%}
    {{- '<|eot_id|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n' -}}{%- endif -%}
"""

PLAIN = """\
{%- for turn in messages -%}{{- turn.role.upper() + ': ' + turn.content + '\\n' -}}{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'ASSISTANT:' -}}{%- endif -%}
"""

SHOUTING = """\
{{- bos_token -}}
{%- for turn in messages -%}
    {{- loop.length | string + turn.role + ': ' + turn.content.replace('a', 'A').center(40) + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'assistant: ' -}}{%- endif -%}
"""


def metas(name: str) -> str:
    """Return one of Meta's Llama 3 templates as trl has it."""
    found = importlib.util.find_spec("trl")
    assert found is not None, "trl, whose package holds Meta's chat templates, is not installed: make env"
    assert found.origin is not None
    return (Path(found.origin).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def with_llama4_tokens(tokenizer):
    """Have the Llama 3 tokenizer know Llama 4's control tokens, too, and return it."""
    names = ("<|header_start|>", "<|header_end|>", "<|eot|>", "<|eom|>")
    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return tokenizer
