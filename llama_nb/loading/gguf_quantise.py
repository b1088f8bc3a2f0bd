"""The finer types of GGUF (Q4_K_M and its kin), made by llama.cpp's own quantiser where there is one.

That is llama-cpp-python, or llama.cpp's program `llama-quantize`; either works in a process of its own, so
that a native crash is an error here: `python -m llama_nb.loading.gguf_quantise SOURCE TARGET TYPE`.
"""

import argparse
import ctypes
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from llama_nb.core.errors import ConvertError, did_you_mean
from llama_nb.core.events import Progress, publish
from llama_nb.loading.check import Checked
from llama_nb.loading.gguf_encode import TYPES
from llama_nb.loading.gguf_file import read_gguf
from llama_nb.loading.gguf_model import check_gguf
from llama_nb.loading.gguf_output import check_disk, partial_file
from llama_nb.loading.gguf_types import FILE_TYPES
from llama_nb.loading.gguf_write import Written, stored_type, write_gguf

NATIVE: Final = (
    "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS",
    "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K",
)  # fmt: skip
_MODULE: Final = "llama_nb.loading.gguf_quantise"
_LIBRARY: Final = "llama_cpp"
_PROGRAM: Final = "llama-quantize"


def parse_type(asked: str) -> str:
    """Return the name of a type; ConvertError with the nearest name for anything else."""
    name = str(asked).upper()
    if name not in TYPES and name not in NATIVE:
        known = (*TYPES, *NATIVE)
        near = did_you_mean(name, known) or "Q8_0 halves F16, Q4_K_M halves Q8_0."
        raise ConvertError(f"type is {str(asked)[:40]!r}; it must be one of {', '.join(known)}.", near)
    return name


def available() -> bool:
    """Whether a native quantiser is here."""
    return importlib.util.find_spec(_LIBRARY) is not None or shutil.which(_PROGRAM) is not None


def write_quantised(checked: Checked, path: Path, kind: str) -> Written:
    """Write the model of a checked folder into `path` as `kind`, one of `NATIVE`.

    The model is written as it is stored first, beside `path`, and goes again when it is quantised.

    Raises
    ------
    ConvertError
        If there is no native quantiser here, with the pip line; if it fails; or if the disk is too full.
    """
    if not available():
        raise ConvertError(
            f"{kind} is made by llama.cpp's own quantiser, which is not installed.",
            f"`pip install llama-cpp-python` (or put {_PROGRAM} on the PATH), or choose --type Q8_0.",
        )
    check_disk(path.parent, 2 * checked.stored_bytes, path.name)
    with partial_file(path) as partial:
        plain = partial.with_suffix(".plain")
        try:
            first = write_gguf(checked, plain, stored_type(checked))
            _quantise(plain, partial, kind)
        finally:
            plain.unlink(missing_ok=True)
        back = check_gguf(partial, checked.name)
        assert back.gguf is not None
        if back.gguf.type != kind:
            raise ConvertError(f"The quantiser wrote {back.gguf.type}, not {kind}.", "Update llama.cpp.")
    tensors = len(read_gguf(path).tensors)
    return Written(path, kind, tensors, path.stat().st_size, None, first.notes)


def _quantise(source: Path, target: Path, kind: str) -> None:
    if importlib.util.find_spec(_LIBRARY) is not None:
        command = [sys.executable, "-m", _MODULE, str(source), str(target), kind]
    else:
        command = [str(shutil.which(_PROGRAM)), str(source), str(target), kind]
    publish(Progress(f"Quantising to {kind}", 0, None, "B"))
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603 - a program of llama.cpp's, or ourselves
    finally:
        publish(Progress(f"Quantising to {kind}", 0, None, "B", ended=True))
    if done.returncode or not target.is_file():
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        why = said[-1].strip()[:200] if said else f"exit status {done.returncode}"
        raise ConvertError(f"llama.cpp's quantiser failed at {kind}: {why}", "Choose another --type.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {_MODULE}", description="A GGUF file, quantised.")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("kind", choices=NATIVE)
    asked = parser.parse_args(arguments)
    import llama_cpp

    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = next(number for number, name in FILE_TYPES.items() if name == asked.kind)
    paths = (str(path).encode() for path in (asked.source, asked.target))
    return int(llama_cpp.llama_model_quantize(*paths, ctypes.byref(settings)))


if __name__ == "__main__":
    sys.exit(main())
