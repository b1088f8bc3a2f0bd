"""`%load_ext llama_nb`: registers the magics, completion and the live views, and takes them back.

Imports no torch, no transformers and no ipywidgets: verbs import what they need when they run.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand

from llama_nb.magics import (
    catalog_page,
    completion,
    every_line,
    input_lines,
    live_values,
    model_card,
    terminal_values,
    verbs,
)
from llama_nb.magics.boundary import debug_asked, few_lines
from llama_nb.magics.commands.help import explain
from llama_nb.magics.parser import split_line
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call
from llama_nb.runtime.environment import detect
from llama_nb.runtime.process import prepare
from llama_nb.widgets import live, live_compare


@magics_class
class LlamaMagics(Magics):
    """`%llama` and `%%llama`."""

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def llama(
        self, line: str = "", cell: str | None = None, local_ns: Mapping[str, Any] | None = None
    ) -> Any:
        """Load a Llama, talk to it, look at what it sees.

        %llama load cria                 load a model: bundled, a folder, or a Hugging Face id
        %%llama                          the cell's body is a message; {{ python }} in it is filled in
        %%llama chat r << --temperature 0    the same with options; the Reply is kept as r
        %llama chat "and in one word?"   the same on a line; r = %llama chat "..." keeps the Reply
        %llama chat                      the chat panel: talk, stop, edit, branch at any token
        %%llama json Recipe              the reply as an object: r.json is an instance of your pydantic model
        %%llama tools weather clock      your functions: the model asks for calls, you say yes, it answers
        %%llama complete                 continue a text without a chat template
        %%llama why                      a message, and how sure the model was of each token of its reply
        %llama sampling                  the laboratory: why this word, and what other parameters would do
        %%llama attention                which tokens each head reads: maps, links, heads to turn off; --live
        %llama heads --kind induction    which attention heads copy; and who looks back, or at the start
        %%llama routing                  which experts each token goes through: load, paths, what-ifs; --live
        %%llama route --ban 3.2          forbid an expert, force one, drop the shared one: what that changes
        %%llama batch data.csv --column q    answer every row of a table, many at once
        %%llama lens                     what each layer would say at each place of a text: the logit lens
        %%llama ablate 5.attn            turn a head, an MLP or a layer off, and see what that changes
        %%llama patch                    where in the model the answer comes from: two lines, two texts
        %llama record                    keep every reply in a file; %llama load NAME --replay plays them back
        %%llama compare cria ./other     several models, samplings and seeds side by side; where they part
        %llama train data.jsonl          teach it your data (LoRA): live curves, pause, chat meanwhile
        %llama runs                      the training runs; of several, their curves in one picture
        %llama adapter use persona       which adapter answers: off, mix a:0.7 b:0.3, save, load, merge, look
        %llama set temperature 0.2       for the rest of the session
        %llama presets                   sampling parameters under a name: creative, llama-3.1, your own
        %llama prompt                    what the model really sees
        %llama tokens "some text"        how a text is cut into tokens
        %llama anatomy                   the model layer by layer: shapes, bytes, formulas; of a text, figures
        %llama chats                     the conversations: new, use, clear, delete; --tree: all branches
        %llama retry --temperature 1     another answer beside the last one
        %llama edit "in other words"     your last message in another wording, answered
        %llama branch 12 --rank 2        another token in the answer, and on from there
        %llama continue                  on from where an answer was stopped or cut off
        %llama goto 2                    back to an earlier turn, or to another branch
        %llama export chat.md            the conversation as a file; .ipynb, .json, .jsonl to train on
        %llama status                    models, memory, chats
        %llama models                    what can be loaded, what is loaded; --all: everything known
        %llama select --vram-gb 8        which model to take, and why
        %llama license MODEL             what its licence asks for
        %llama plan llama-3.3-70b --gpus 2x24GB   what a model takes, part by part, and whether it fits
        %llama cost --tokens-per-month 50M   rented GPUs against providers, with dated prices
        %llama providers                 where Llamas run: programs, APIs, clouds, fine-tuning
        %%llama quantize                 what each quantisation costs this model, measured on the cell's text
        %llama convert cria --to gguf    a file for llama.cpp and Ollama: Q8_0, F16 ...; of an adapter, too
        %llama use NAME                  choose among loaded models
        %llama unload                    give a model's memory back
        %llama stop                      end what runs in the background
        %llama doctor                    what is wrong with this installation, and the command against it
        %llama login                     log in to the Hugging Face hub; the token is typed unseen
        %llama logout                    remove the token from this machine
        %llama help VERB                 options and examples of a verb

        Every verb takes --debug, which shows the whole traceback of an error.
        """
        colour = str(getattr(self.shell, "colors", "")).lower() != "nocolor"
        with few_lines(debug=debug_asked(line), colour=colour):
            return run(self.shell, line, cell, local_ns or {})


def run(shell: Any, line: str, cell: str | None, namespace: Mapping[str, Any]) -> Any:
    """Run one `%llama` line, or `%%llama` cell, and return its value (None when a variable keeps it)."""
    command = split_line(line, verbs.names(), cell=cell is not None)
    args = verbs.parser(command.verb).parse_line(command.rest)
    if args.help:
        return Shown(explain(command.verb))
    call = Call(shell, cell if cell is None or cell.strip() else "", namespace, command.keep)
    value = verbs.find(command.verb).run(args, call)
    if command.keep is None:
        return value
    call.keep_value(value)
    return None


_installed: dict[InteractiveShell, contextlib.ExitStack] = {}


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register everything in `shell`; doing it twice changes nothing."""
    if shell in _installed:
        return
    prepare()
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_magics, shell)
        shell.register_magics(LlamaMagics)
        stack.callback(completion.install(shell))
        stack.callback(input_lines.install(shell))
        stack.callback(every_line.install(shell))
        stack.callback(terminal_values.install(shell))
        stack.callback(model_card.install(shell))
        stack.callback(catalog_page.install(shell))
        stack.callback(live_values.install(shell))
        stack.callback(live.install(detect))
        stack.callback(live_compare.install(detect))
        _installed[shell] = stack.pop_all()


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take back what was registered; models stay loaded."""
    stack = _installed.pop(shell, None)
    if stack is not None:
        stack.close()


def _remove_magics(shell: InteractiveShell) -> None:
    manager = shell.magics_manager
    for kind in ("line", "cell"):
        manager.magics[kind].pop(input_lines.NAME, None)
    manager.registry.pop(LlamaMagics.__name__, None)
