"""A pickle checkpoint to safetensors, in a process of its own: `python -m llama_nb.loading.convert FOLDER`.

torch reads the pickles with weights_only=True: tensors and plain containers, no code. What holds more is
refused. The pickles stay; `model.safetensors` is written whole or not at all.
"""

import argparse
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from llama_nb.core.errors import LlamaError, LoadError
from llama_nb.loading.folder import INDEX, PICKLES, SINGLE, listing
from llama_nb.runtime import process

_NOT_WEIGHTS: Final = {
    "training_args.bin",
    "optimizer.bin",
    "optimizer.pt",
    "scheduler.pt",
    "scaler.pt",
    "rng_state.pth",
}

_GLOBAL: Final = re.compile(r"GLOBAL ([\w.]+)")


def convert(folder: Path) -> Path:
    """Write `model.safetensors` from the pickles of `folder` and return its path.

    Raises
    ------
    LoadError
        If there are no pickles, if safetensors are there already, or if a pickle holds more than tensors.
    """
    if (folder / SINGLE).exists() or (folder / INDEX).exists():
        raise LoadError(f"{folder} has safetensors already.", f"`%llama load {folder}`")
    pickles = sorted(
        path for path in folder.glob("*") if path.suffix in PICKLES and path.name not in _NOT_WEIGHTS
    )
    if not pickles:
        raise LoadError(f"{folder} has no pickle checkpoint; in it: {listing(folder)}.")
    process.prepare()
    from safetensors.torch import save_file

    tensors: dict[str, Any] = {}
    for path in pickles:
        for name, tensor in _read(path).items():
            if name in tensors:
                raise LoadError(f"The tensor {name} is in two of the pickles, again in {path.name}.")
            tensors[name] = tensor
    target, partial = folder / SINGLE, folder / f".{SINGLE}.partial"
    try:
        save_file(_apart(tensors), partial, metadata={"format": "pt"})
        partial.chmod(pickles[0].stat().st_mode & 0o777)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _read(path: Path) -> Mapping[str, Any]:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - a damaged or malicious pickle can make torch raise anything
        # torch goes on to advise reading it without the protection; only the name is taken from its text.
        named = _GLOBAL.search(str(error))
        what = (
            f"holds more than tensors: {named.group(1)}" if named else "is damaged or holds more than tensors"
        )
        raise LoadError(
            f"{path.name} is not converted: it {what}. It may be malicious.",
            "Get the model in safetensors format.",
        ) from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        raise LoadError(
            f"{path.name} is no checkpoint: it is not a table of tensors.", "Get it in safetensors format."
        )
    return content


def _apart(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Give each tensor memory of its own: safetensors stores no shared memory."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        pointer = tensor.untyped_storage().data_ptr()
        result[name] = tensor.clone().contiguous() if pointer in seen else tensor.contiguous()
        seen.add(pointer)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m llama_nb.loading.convert", description="Pickles to safetensors."
    )
    parser.add_argument("folder", type=Path, help="the model's folder")
    folder = parser.parse_args(arguments).folder
    try:
        target = convert(folder)
    except LlamaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{target}: {target.stat().st_size:,} bytes. Next: %llama load {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
