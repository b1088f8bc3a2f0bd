"""An adapter as a folder: peft's own two files, and beside them what tells the base that it belongs to.

What a file says is untrusted: only safetensors are read, names and shapes are held against the model's layers
before anything is put into it. Where adapters come from (a run, the hub) is adapter_source's business.
"""

import copy
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from llama_nb.core.errors import AdapterError, LoadError
from llama_nb.loading.folder import PICKLES, inside, listing
from llama_nb.loading.headers import TensorInfo, read_header
from llama_nb.tuning.adapter_facts import Origin, is_adapter_name, require_peft
from llama_nb.tuning.adapters import AdapterSet
from llama_nb.tuning.json_lines import read_json
from llama_nb.tuning.targets import linear_layers
from llama_nb.tuning.whole_folder import written_whole

if TYPE_CHECKING:
    from peft import LoraConfig

CONFIG: Final = "adapter_config.json"
TENSORS: Final = "adapter_model.safetensors"
FACTS: Final = "llama_nb.json"
MANIFEST: Final = "manifest.json"  # of a checkpoint, which names its base, too
SCHEMA: Final = 1

_TENSOR: Final = re.compile(
    r"base_model\.model\.(?P<path>[\w.]{1,300})\.(?P<part>lora_A\.weight|lora_B\.weight|lora_magnitude_vector)"
)
_FLOATS: Final = ("F64", "F32", "F16", "BF16")
_PLAIN: Final = re.compile(r"[\w.]{1,200}")
_LARGEST_RANK: Final = 8192
# Parts of peft that change more than the layers' own products: they would be lost in silence.
_NOT_READ: Final = (
    "modules_to_save", "trainable_token_indices", "target_parameters", "layer_replication", "lora_bias",
    "use_qalora", "alora_invocation_tokens", "arrow_config", "velora_config", "kasa_config", "use_bdlora",
    "monteclora_config", "megatron_config", "fan_in_fan_out", "corda_config", "lora_ga_config",
)  # fmt: skip
# Ways to begin that leave the base's own weights alone; PiSSA, OLoRA and others subtract from them.
_HARMLESS_STARTS: Final = (True, False, None, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """What the files of an adapter say, before it is put into a model.

    Attributes
    ----------
    name
        What it was called when it was saved here; "" where it was not.
    base_name, fingerprint
        The base that it says it belongs to; "" where it does not.
    tensors
        The header of its safetensors file.
    config
        peft's configuration.
    """

    folder: Path
    name: str
    base_name: str
    fingerprint: str
    config: Mapping[str, Any]
    tensors: Mapping[str, TensorInfo]
    origin: Origin = field(default_factory=Origin)


def save_adapter(folder: Path, adapters: AdapterSet, name: str) -> Path:
    """Write the adapter `name` in peft's format, with the fingerprint of its base, and return the folder.

    An adapter that is there already is replaced, and stays whole if this fails.

    Raises
    ------
    AdapterError
        If there is no such adapter, the folder holds something else, or the disk has no room.
    """
    tensors = {path: value.contiguous() for path, value in adapters.weights(name).items()}
    needed = sum(value.nbytes for value in tensors.values())
    folder = folder.expanduser()
    with written_whole(folder, f"the adapter {name}", needed=needed, replaces=CONFIG) as part:
        write_adapter(part, tensors, adapters.config(name), facts_of(adapters, name))
    return folder


def write_adapter(
    folder: Path, tensors: Mapping[str, torch.Tensor], config: "LoraConfig", facts: Mapping[str, Any]
) -> None:
    """Write the files of an adapter into an empty folder, which is whoever calls this's to make whole."""
    from safetensors.torch import save_file

    config = copy.copy(config)
    config.inference_mode = True
    config.save_pretrained(str(folder))
    save_file(
        {path: value.detach().cpu().contiguous() for path, value in tensors.items()},
        folder / TENSORS,
        {"format": "pt"},
    )
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    (folder / FACTS).write_text(f"{text}\n", encoding="utf-8")


def facts_of(adapters: AdapterSet, name: str) -> dict[str, Any]:
    """Return what stands in our own file beside peft's."""
    origin = adapters.origin(name)
    return {
        "schema": SCHEMA,
        "name": name,
        "base": {"name": adapters.base_name, "fingerprint": adapters.base_fingerprint},
        "run": origin.run,
        "recipe": origin.recipe,
    }


def read_adapter(folder: Path) -> AdapterFile:
    """Read what an adapter's folder says; no tensor is read.

    Raises
    ------
    AdapterError
        If it is no LoRA of a kind that is known here, a pickle, damaged, or not there.
    """
    config = read_json(folder / CONFIG)
    if config is None:
        damaged = "damaged" if (folder / CONFIG).exists() else "missing"
        raise AdapterError(
            f"{folder} is no adapter: {CONFIG} is {damaged}. In it: {listing(folder)}.",
            "An adapter is a folder with adapter_config.json and adapter_model.safetensors.",
        )
    _check_kind(folder, config)
    path = folder / TENSORS
    if not path.is_file():
        pickles = sorted(each.name for each in folder.iterdir() if each.suffix in PICKLES)
        if pickles:
            raise AdapterError(
                f"{folder.name} has its numbers in a pickle only ({pickles[0]}): reading one can run any "
                "code in it: refused.",
                "Ask whoever made it for adapter_model.safetensors.",
            )
        raise AdapterError(f"{folder} has no {TENSORS}; in it: {listing(folder)}.")
    try:
        tensors = read_header(inside(folder, path))
    except LoadError as error:
        raise AdapterError(error.message, error.hint) from None
    _check_tensors(folder, tensors)
    facts = read_json(folder / FACTS) or {}
    base, recipe = facts.get("base"), facts.get("recipe")
    base = base if isinstance(base, dict) else {}
    name = _text(facts.get("name"))
    return AdapterFile(
        folder,
        name if is_adapter_name(name) else "",
        _text(base.get("name")) or _text(config.get("base_model_name_or_path")),
        _text(base.get("fingerprint")) or _text((read_json(folder / MANIFEST) or {}).get("base")),
        config,
        tensors,
        Origin(_text(facts.get("run")), recipe if isinstance(recipe, dict) else None, str(folder)),
    )


def put_in(file: AdapterFile, adapters: AdapterSet, name: str, *, force: bool = False) -> list[str]:
    """Put an adapter from its files into the module, switched off; return what its reader should know.

    Raises
    ------
    AdapterError
        If it belongs to other weights (`force` puts it in even so), does not fit the module's layers, holds
        values that are no numbers, or the name is taken. The module is as it was then.
    """
    from safetensors.torch import load_file

    notes = _check_base(file, adapters, name, force=force)
    config = _peft_config(file, adapters, name)
    tensors = load_file(file.folder / TENSORS)
    for path, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise AdapterError(
                f"The adapter {name} holds values that are no numbers, first in {path}.",
                "Its training went wrong: take an earlier checkpoint of it.",
            )
    adapters.add(name, config, origin=file.origin)
    try:
        adapters.put_weights(name, tensors)
    except AdapterError:
        adapters.delete(name)
        raise
    return notes


def is_same(file: AdapterFile, adapters: AdapterSet, name: str) -> bool:
    """Whether the adapter `name` in the module has the numbers that the file holds."""
    from safetensors.torch import load_file

    there = adapters.weights(name)
    if {path: tuple(value.shape) for path, value in there.items()} != {
        path: info.shape for path, info in file.tensors.items()
    }:
        return False
    tensors = load_file(file.folder / TENSORS)
    return all(torch.equal(there[path].cpu(), value.to(there[path].dtype)) for path, value in tensors.items())


# --- checks -------------------------------------------------------------------------------------------------


def _check_kind(folder: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise AdapterError(
            f"{folder.name} is an adapter of the kind {str(kind)[:40]!r}; known here are LoRA, rsLoRA and "
            "DoRA.",
            "Merge it into its base with peft, then load the merged model.",
        )
    odd = [name for name in _NOT_READ if config.get(name)]
    if config.get("bias") not in (None, "none"):
        odd.append("bias")
    if config.get("init_lora_weights") not in _HARMLESS_STARTS:
        odd.append("init_lora_weights")
    if odd:
        raise AdapterError(
            f"{folder.name} changes more than the products of layers: {odd[0]} is "
            f"{str(config[odd[0]])[:60]!r}. Without that it would answer wrongly.",
            "Merge it into its base with peft, then load the merged model.",
        )
    for name in ("r", "lora_alpha"):
        value = config.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise AdapterError(f"{folder.name} is damaged: {name} is {str(value)[:40]!r} in {CONFIG}.")
    alphas = config.get("alpha_pattern") or {}
    if not isinstance(alphas, dict) or not all(
        _PLAIN.fullmatch(key) and isinstance(value, int | float) for key, value in alphas.items()
    ):
        raise AdapterError(f"{folder.name}: alpha_pattern in {CONFIG} is more than names and numbers.")


def _check_tensors(folder: Path, tensors: Mapping[str, TensorInfo]) -> None:
    if not tensors:
        raise AdapterError(f"{folder.name}: {TENSORS} holds no tensor.")
    for path, info in tensors.items():
        if _TENSOR.fullmatch(path) is None or info.dtype not in _FLOATS:
            raise AdapterError(
                f"{folder.name}: {path[:120]!r} ({info.dtype}) is no part of a LoRA.",
                "Its numbers may be those of a whole model: %llama load takes these.",
            )


def _check_base(file: AdapterFile, adapters: AdapterSet, name: str, *, force: bool) -> list[str]:
    here = f"{adapters.base_name} ({adapters.base_fingerprint[:8]})"
    if file.fingerprint:
        if file.fingerprint == adapters.base_fingerprint:
            return []
        there = f"{file.base_name or 'another model'} ({file.fingerprint[:8]})"
        said = f"The adapter {name} was trained on {there}, and this is {here}: other weights"
    elif file.base_name and _plain_name(file.base_name) == _plain_name(adapters.base_name):
        return [
            f"{name} names {file.base_name} as its base. That its weights were these is not known: "
            "it has no fingerprint."
        ]
    elif file.base_name:
        said = f"The adapter {name} names {file.base_name} as its base, and this is {here}"
    else:
        return [f"{name} does not say which base it belongs to; its shapes fit."]
    if force:
        return [f"{said}. It was put on even so."]
    raise AdapterError(f"{said}.", "Load its base; or put it on even so with --force (force=True).")


def _plain_name(name: str) -> str:
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()
    return re.sub(r"(-unsloth)?(-bnb-[48]bit)?(-gguf)?$", "", last)


def _peft_config(file: AdapterFile, adapters: AdapterSet, name: str) -> "LoraConfig":
    """Return the configuration that puts the file's layers, and no others, into the module.

    Layers and ranks are those of the tensors: what the file says of them are patterns, and untrusted.
    """
    require_peft()
    from peft import LoraConfig

    ranks = _ranks(file, adapters, name)
    usual = max(set(ranks.values()), key=list(ranks.values()).count)
    config = file.config
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=usual,
        lora_alpha=config["lora_alpha"],
        lora_dropout=_share(config.get("lora_dropout")),
        target_modules=_short(ranks, adapters),
        rank_pattern={re.escape(path): rank for path, rank in ranks.items() if rank != usual},
        alpha_pattern={re.escape(key): value for key, value in (config.get("alpha_pattern") or {}).items()},
        use_dora=bool(config.get("use_dora")),
        use_rslora=bool(config.get("use_rslora")),
        base_model_name_or_path=adapters.base_name,
    )


def _ranks(file: AdapterFile, adapters: AdapterSet, name: str) -> dict[str, int]:
    """Return the rank of each layer that the file has, all of them held against the module's."""
    layers = linear_layers(adapters.module)
    dora = bool(file.config.get("use_dora"))
    wanted = {"lora_A.weight", "lora_B.weight"} | ({"lora_magnitude_vector"} if dora else set())
    parts: dict[str, dict[str, tuple[int, ...]]] = {}
    for tensor, info in file.tensors.items():
        match = _TENSOR.fullmatch(tensor)
        assert match is not None  # read_adapter looked
        parts.setdefault(match["path"], {})[match["part"]] = info.shape
    ranks: dict[str, int] = {}
    for path, shapes in parts.items():
        layer = layers.get(path)
        if layer is None:
            raise AdapterError(
                f"The adapter {name} has a layer {path}, and {adapters.base_name} has none.",
                "It belongs to a model of another kind or size.",
            )
        if shapes.keys() != wanted:
            odd = min(shapes.keys() ^ wanted)
            raise AdapterError(f"The adapter {name} is damaged: {path} has {odd} or lacks it.")
        rank = shapes["lora_A.weight"][0] if shapes["lora_A.weight"] else 0
        fits = {
            "lora_A.weight": (rank, layer.in_features),
            "lora_B.weight": (layer.out_features, rank),
            "lora_magnitude_vector": (layer.out_features,),
        }
        for part, shape in shapes.items():
            if shape != fits[part] or not 0 < rank <= _LARGEST_RANK:
                raise AdapterError(
                    f"The adapter {name} does not fit {adapters.base_name}: {path}.{part} is "
                    f"{' x '.join(map(str, shape))}, and {' x '.join(map(str, fits[part]))} would fit.",
                    "It belongs to a model of another size.",
                )
        ranks[path] = rank
    return ranks


def _short(ranks: Mapping[str, int], adapters: AdapterSet) -> list[str]:
    """Return the last parts of the paths where these name the same layers, else the whole paths."""
    ends = {path.rpartition(".")[2] for path in ranks}
    named = {path for path in linear_layers(adapters.module) if path.rpartition(".")[2] in ends}
    return sorted(ends) if named == ranks.keys() else sorted(ranks)


def _share(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1 else 0.0


def _text(value: Any) -> str:
    return value[:200] if isinstance(value, str) and value.isprintable() else ""
