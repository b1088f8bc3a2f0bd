"""Everything that is compared before a byte of weights is read: config, tokenizer, tensor names and shapes.

What loads is what was asked. Cheap checks come first; only the last one needs torch (its meta device).
"""

import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from llama_nb.core.errors import LoadError
from llama_nb.loading.config import read_config
from llama_nb.loading.expected import Expected, as_stored, expected_tensors
from llama_nb.loading.folder import Weights, find_weights, listing
from llama_nb.loading.gguf_file import GgufHeader
from llama_nb.loading.headers import TensorInfo
from llama_nb.loading.stored import Stored
from llama_nb.loading.stored import find as find_stored
from llama_nb.loading.tokenizer import TOKENIZER, check_tokenizer

_FLOATS: Final = frozenset({"F64", "F32", "F16", "BF16"})
_LAYER: Final = re.compile(r"(?:^|\.)layers\.(\d+)\.")
# Old checkpoints store the rotary frequencies; they are computed from the config.
_IGNORED: Final = re.compile(r"rotary_emb\.inv_freq$")
# Before the names of a model that lies in one that sees, too.
_INNER: Final[Mapping[str, str]] = {"llama4_text": "language_model."}
# A config whose only differences are these is the same model.
_VOLATILE: Final = {"_name_or_path", "transformers_version", "use_cache", "torch_dtype", "dtype"}
_SAMPLE: Final = 4096
_LONGEST_CONTENT: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Checked:
    """A model folder that was checked and can be read.

    Attributes
    ----------
    parameters
        Distinct parameters: tied embeddings count once.
    stored_bytes
        Bytes of the tensors in the files.
    context
        The longest sequence in tokens.
    fingerprint
        16 hexadecimal digits that copies share and fine-tuned or edited weights do not.
    linear
        (out, in) features of the linear layers by module name.
    routers, experts
        Which of them choose experts, and the parameters of experts that lie in one tensor for all.
    prefix
        What stands in the files before the names of `tensors`, where a model that sees holds the one that
        writes.
    unread
        Bytes in the files that belong to no tensor of it.
    stored
        How the checkpoint is quantised already; None for float weights.
    gguf
        The header, where the model is a GGUF file.
    """

    folder: Path
    name: str
    config: Mapping[str, Any]
    files: tuple[Path, ...]
    tensors: Mapping[str, TensorInfo]
    parameters: int
    stored_bytes: int
    context: int
    model_type: str
    has_chat_template: bool
    fingerprint: str
    linear: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    routers: frozenset[str] = frozenset()
    experts: int = 0
    prefix: str = ""
    unread: int = 0
    stored: Stored | None = None
    gguf: GgufHeader | None = None


def check(folder: Path, name: str | None = None) -> Checked:
    """Check a model folder in Hugging Face layout without reading its weights.

    Raises
    ------
    LoadError
        Naming the first thing that is missing, damaged, refused or contradicts the rest.
    """
    if not folder.is_dir():
        raise LoadError(
            f"{folder} is not a folder.", "A model is a folder with config.json and *.safetensors."
        )
    try:
        return _check(folder, name or folder.name)
    except OSError as error:
        where = Path(error.filename).name if isinstance(error.filename, str) else folder.name
        raise LoadError(
            f"{where} cannot be read: {error.strerror or error}.", f"In it: {listing(folder)}."
        ) from None


def _check(folder: Path, name: str) -> Checked:
    if not (folder / "config.json").is_file():
        find_weights(folder)  # a folder of pickles, GGUFs or an adapter has a better answer than "no config"
    config = read_config(folder)
    weights = find_weights(folder)
    tokenizer = check_tokenizer(folder, config["vocab_size"])
    plain, stored = expected_tensors(config), find_stored(config)
    if stored and plain.experts:
        raise LoadError(
            f"{name} is a mixture of experts that is quantised already ({stored.label}): none is read here.",
            "Load the model that it was made from, with --quant.",
        )
    expected = as_stored(plain, stored) if stored else plain
    tensors, prefix = _text_tensors(weights.tensors, config)
    compare(expected, tensors, config)
    _check_contents(expected, weights)
    kept = {key: info for key, info in tensors.items() if key in expected.shapes}
    counted = [shape for name, shape in plain.shapes.items() if name not in plain.tied and shape is not None]
    return Checked(
        folder=folder,
        name=name,
        config=config,
        files=weights.files,
        tensors=kept,
        parameters=sum(math.prod(shape) for shape in counted),
        stored_bytes=sum(info.bytes for info in kept.values()),
        context=config.get("max_position_embeddings") or 2048,
        model_type=config["model_type"],
        has_chat_template=tokenizer.has_chat_template,
        fingerprint=_fingerprint(folder, config, weights),
        linear=plain.linear,
        routers=plain.routers,
        experts=plain.experts,
        prefix=prefix,
        unread=sum(info.bytes for info in weights.tensors.values()) - sum(i.bytes for i in tensors.values()),
        stored=stored,
    )


def _text_tensors(
    tensors: Mapping[str, TensorInfo], config: Mapping[str, Any]
) -> tuple[Mapping[str, TensorInfo], str]:
    """Return the tensors of the model that writes text, and what stands before their names in the files."""
    prefix = _INNER.get(config["model_type"], "")
    inner = {name.removeprefix(prefix): info for name, info in tensors.items() if name.startswith(prefix)}
    return (inner, prefix) if prefix and inner else (tensors, "")


def compare(expected: Expected, found: Mapping[str, TensorInfo], config: Mapping[str, Any]) -> None:
    """Raise LoadError unless `found` holds exactly the tensors of `expected`, in the dtypes that they have.

    Tied and optional tensors may be absent.
    """
    for name, info in found.items():
        dtypes = expected.dtypes.get(name, _FLOATS)
        if info.dtype not in dtypes:
            raise LoadError(*_explain_dtype(name, info, dtypes, config))
    absent = expected.tied | expected.optional
    missing = [name for name in expected.shapes if name not in found and name not in absent]
    extra = [name for name in found if name not in expected.shapes and not _IGNORED.search(name)]
    if missing or extra:
        raise LoadError(*_explain_names(missing, extra, found, config))
    shapes = {name: shape for name, shape in expected.shapes.items() if shape is not None and name in found}
    wrong = {name: shape for name, shape in shapes.items() if found[name].shape != shape}
    if wrong:
        raise LoadError(*_explain_shapes(wrong, expected, found, config))


def _check_contents(expected: Expected, weights: Weights) -> None:
    """Read the small tensors that say how others are to be read; LoadError if one says something else."""
    folders = {path.name: path for path in weights.files}
    for name, wrong in expected.wrong.items():
        info = weights.tensors[name]
        with folders[info.file].open("rb") as file:
            file.seek(info.start)
            problem = wrong(file.read(min(info.bytes, _LONGEST_CONTENT)))
        if problem is not None:
            raise LoadError(f"{name} in {info.file} {problem}.", "The file is damaged: get it again.")


def _explain_dtype(
    name: str, info: TensorInfo, dtypes: frozenset[str], config: Mapping[str, Any]
) -> tuple[str, str]:
    if config.get("quantization_config"):
        return (
            f"{name} is stored as {info.dtype}, where config.json's quantization_config means "
            f"{' or '.join(sorted(dtypes))}.",
            "config.json is from another checkpoint: get it again.",
        )
    return (
        f"{name} is stored as {info.dtype}, not as float weights, and config.json has no quantization_config "
        "that says how.",
        "Get config.json again, or load the model that it was made from.",
    )


def _explain_names(
    missing: list[str], extra: list[str], found: Mapping[str, TensorInfo], config: Mapping[str, Any]
) -> tuple[str, str]:
    layers = config["num_hidden_layers"]
    stored = 1 + max((int(match.group(1)) for name in found if (match := _LAYER.search(name))), default=-1)
    if missing and extra and not set(_without_prefix(missing)).isdisjoint(_without_prefix(extra)):
        return (
            f"The tensors are named otherwise than in a {config['model_type']}: {missing[0]} is missing, "
            f"there is {_alike(missing[0], extra)} in its place.",
            "The weights are from another program or of another kind of model.",
        )
    parts = [by_layer(missing, "missing")] if missing else []
    if extra:
        parts.append(by_layer(extra, "more than config.json describes"))
    facts = f" config.json says {layers} layers, the weights hold {stored}." if stored != layers else ""
    if missing == ["lm_head.weight"]:
        facts = " config.json says that the head is not tied to the embedding (tie_word_embeddings)."
    return f"{'; '.join(parts)}.{facts}", "config.json is from another model, or files are missing."


def _without_prefix(names: Iterable[str]) -> list[str]:
    return [name.split(".", 1)[-1] for name in names] + list(names)


def _alike(name: str, candidates: list[str]) -> str:
    return next(
        (other for other in candidates if other in name or name.split(".", 1)[-1] in other), candidates[0]
    )


def by_layer(names: Iterable[str], what: str) -> str:
    """Return a summary of tensor names: "9 tensors missing in each of layers 2 and 3"."""
    layers: defaultdict[int, int] = defaultdict(int)
    others: list[str] = []
    for name in names:
        if match := _LAYER.search(name):
            layers[int(match.group(1))] += 1
        else:
            others.append(name)
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    parts = [f"{', '.join(others[:3])}{more} {what}"] if others else []
    for count in sorted(set(layers.values())):
        same = sorted(layer for layer, number in layers.items() if number == count)
        noun = "tensor" if count == 1 else "tensors"
        where = f"layer {same[0]}" if len(same) == 1 else f"each of layers {_ranges(same)}"
        parts.append(f"{count} {noun} {what} in {where}")
    return ", ".join(parts)


def _ranges(numbers: list[int]) -> str:
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    head = ", ".join(map(str, numbers[:-1][:8]))
    return f"{head} and {numbers[-1]}"


def _explain_shapes(
    wrong: Mapping[str, tuple[int, ...]],
    expected: Expected,
    found: Mapping[str, TensorInfo],
    config: Mapping[str, Any],
) -> tuple[str, str]:
    floats = {name: shape for name, shape in wrong.items() if name not in expected.dtypes}
    facts = _size_facts(floats, found, config)
    first = next(iter(wrong))
    ours, theirs = _times(wrong[first]), _times(found[first].shape)
    shown = f"{first} is {theirs} in the weights and {ours} by config.json"
    more = f" ({len(wrong) - 1} more differ)" if len(wrong) > 1 else ""
    cause = f"{'; '.join(facts[:3])}: " if facts else ""
    return (
        f"{cause}{shown}{more}.",
        "config.json is from another model: get the one that belongs to these weights.",
    )


def _size_facts(
    wrong: Mapping[str, tuple[int, ...]], found: Mapping[str, TensorInfo], config: Mapping[str, Any]
) -> list[str]:
    """Say which numbers of the config the shapes contradict, as far as single tensors tell."""
    sizes: dict[str, tuple[int, int]] = {}
    for name, ours in wrong.items():
        theirs = found[name].shape
        if len(ours) == len(theirs) == 2:
            sizes |= {
                key: pair for key, pair in _contradicted(name, ours, theirs).items() if key not in sizes
            }
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    query, key_value = sizes.pop("q", None), sizes.pop("k", None)
    if query and key_value and query[0] * key_value[1] == query[1] * key_value[0]:
        sizes["head_dim"] = (width, width * query[1] // query[0])
    else:
        for key, pair in (("num_attention_heads", query), ("num_key_value_heads", key_value)):
            if pair and pair[1] % width == 0:
                sizes[key] = (pair[0] // width, pair[1] // width)
    return [f"{key}: config says {ours}, weights {theirs}" for key, (ours, theirs) in sizes.items()]


def _contradicted(name: str, ours: tuple[int, ...], theirs: tuple[int, ...]) -> dict[str, tuple[int, int]]:
    """Sizes that one matrix (rows x columns) tells: by the config, and in the weights."""
    found = {}
    if ours[1] != theirs[1] and not name.endswith(("down_proj.weight", "o_proj.weight")):
        found["hidden_size"] = (ours[1], theirs[1])
    if ours[0] != theirs[0]:
        rows = {"embed_tokens": "vocab_size", "lm_head": "vocab_size", "gate_proj": "intermediate_size"}
        rows |= {"q_proj": "q", "k_proj": "k"}
        key = next((size for part, size in rows.items() if part in name), None)
        if key:
            found[key] = (ours[0], theirs[0])
    return found


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _fingerprint(folder: Path, config: Mapping[str, Any], weights: Weights) -> str:
    """Hash the config, the tokenizer, every header and three samples of each tensor.

    Headers alone do not tell a fine-tuned model from its base, and hashing all the weights would read them.
    """
    digest = hashlib.sha256()
    lasting = {key: value for key, value in config.items() if key not in _VOLATILE and value is not None}
    digest.update(json.dumps(lasting, sort_keys=True).encode())
    digest.update(hashlib.sha256((folder / TOKENIZER).read_bytes()).digest())
    by_file = {path.name: path for path in weights.files}
    opened = {name: path.open("rb") for name, path in by_file.items()}
    try:
        for name in sorted(weights.tensors):
            info = weights.tensors[name]
            digest.update(f"{name}|{info.dtype}|{info.shape}".encode())
            for offset in sorted({0, max(info.bytes // 2 - _SAMPLE // 2, 0), max(info.bytes - _SAMPLE, 0)}):
                opened[info.file].seek(info.start + offset)
                digest.update(opened[info.file].read(min(_SAMPLE, info.bytes - offset)))
    finally:
        for file in opened.values():
            file.close()
    return digest.hexdigest()[:16]
