"""Write a model or an adapter in another format: GGUF for llama.cpp, Ollama and LM Studio.

A loaded model is converted from what it was loaded from. The file is read back byte by byte, and of small
models the logits are compared. Without --type the numbers stay as they are; Q4_K_M and its kin need
llama.cpp's quantiser. An adapter (--adapter, or the folder of a run) becomes the file that llama.cpp takes
with --lora. With --to safetensors a folder of pickles is converted, in a process that reads tensors only.
"""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import Any

from llama_nb.magics import names, training_words
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%llama convert cria --to gguf",
    "%llama convert cria --to gguf --type Q8_0 --out ./cria.gguf",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare what is converted, to what, and where it goes."""
    parser.add_argument(
        "source", nargs="?", help="a loaded model, a folder, a hub id or a run; without it the current model"
    )
    parser.add_argument("--to", choices=("gguf", "safetensors"), default="gguf", help="the format")
    parser.add_argument("--type", metavar="TYPE", help="F32, F16, BF16, Q8_0, Q4_K_M ...; default as stored")
    parser.add_argument("--out", metavar="FILE", help="the file, or a folder for it")
    parser.add_argument("--adapter", metavar="NAME", help="convert this adapter of the model")
    parser.add_argument("--base", metavar="MODEL", help="the model that an adapter belongs to")
    parser.add_argument("--force", action="store_true", help="replace a file; an adapter of other weights")


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return the loaded models, those that are here, and the runs."""
    known = [*names.loaded(), *names.loadable(), *training_words.run_names()]
    return () if words else dict.fromkeys(known)


def run(args: Namespace, call: Call) -> Any:
    """Convert and return what was written."""
    del call
    from llama_nb.session.converting import convert

    return convert(
        args.source,
        to=args.to,
        type=args.type,
        out=args.out,
        adapter=args.adapter,
        base=args.base,
        force=args.force,
    )
