"""The adapters of one loaded model: several side by side in its layers, switched, mixed, trained, taken out.

They are put into the module itself by peft, so the engine keeps its module and all that looks inside sees the
adapted one. Everything here runs on the worker's thread; files, chats and KV caches are others' business.
"""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import torch

from llama_nb.core.adapter import NO_ADAPTER, mix_label
from llama_nb.core.errors import AdapterError, did_you_mean
from llama_nb.tuning.adapter_facts import AdapterFacts, Origin, check_adapter_name, require_peft
from llama_nb.tuning.targets import refuse_dora, resolve_target

if TYPE_CHECKING:
    from peft import LoraConfig

    from llama_nb.tuning.recipe import Recipe

LARGEST_WEIGHT: Final = 10.0
_HALF: Final = (torch.bfloat16, torch.float16)
_PREFIX: Final = "base_model.model."  # what peft's own files begin every name with


class AdapterSet:
    """The adapters in a module.

    What chats see is `active`: a weight for each adapter that is on, {} for the base alone. Off is exact: the
    layers then compute what they did before there was any adapter, to the last bit.

    Parameters
    ----------
    module
        A transformers model. An adapter's own numbers are float32 where the model's are half precision.
    base_name
        What adapters say they belong to: the source of the model.
    base_fingerprint
        Tells its weights from others.
    changed
        Called when an adapter came or went, or others are `active`.
    """

    def __init__(
        self,
        module: Any,
        *,
        base_name: str,
        base_fingerprint: str,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.module = module
        self.base_name = base_name
        self.base_fingerprint = base_fingerprint
        # peft's own names for them: it cannot have an adapter that is called "train", "keys" or "a.b".
        self._keys: dict[str, str] = {}
        self._origins: dict[str, Origin] = {}
        self._changed = changed
        self._made = 0
        self._active: dict[str, float] = {}
        self._trained: str | None = None
        self._serving = False  # chats, in between
        self._layers: dict[str, Any] = {}

    # --- which there are --------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The adapters that are in the module, in the order in which they came."""
        return tuple(self._keys)

    @property
    def active(self) -> dict[str, float]:
        """What chats see: the weight of each adapter that is on; {} for the base alone."""
        return dict(self._active)

    @property
    def trained(self) -> str | None:
        """The adapter that is being trained now."""
        return self._trained

    def facts(self, name: str) -> AdapterFacts:
        """Return what the adapter `name` is."""
        config = self.config(name)
        method = "dora" if config.use_dora else "rslora" if config.use_rslora else "lora"
        tensors = self.weights(name)
        return AdapterFacts(
            name,
            method,
            int(config.r),
            float(config.lora_alpha),
            tuple(sorted({path.rpartition(".")[2] for path in self._layers_of(name)})),
            len(self._layers_of(name)),
            sum(tensor.numel() for tensor in tensors.values()),
        )

    def config(self, name: str) -> "LoraConfig":
        """Return peft's configuration of the adapter `name`."""
        key = self.key(name)
        config: LoraConfig = self.module.peft_config[key]
        return config

    def origin(self, name: str) -> Origin:
        """Return where the adapter `name` comes from."""
        self.key(name)
        return self._origins[name]

    def key(self, name: str) -> str:
        """Return what peft calls the adapter `name` inside the module; AdapterError if there is none."""
        if name not in self._keys:
            have = f"There are: {', '.join(self._keys)}." if self._keys else "There is none yet."
            raise AdapterError(
                f"{self.base_name} has no adapter {name!r}. {have}",
                did_you_mean(name, self._keys) or "Train one: %llama train; or load one: %llama adapter load",
            )
        return self._keys[name]

    # --- coming and going -------------------------------------------------------------------------

    def create(self, name: str, recipe: "Recipe", *, run: str = "") -> None:
        """Put a new adapter into the module, switched off. It changes nothing yet: B is zero.

        Its A is drawn from `recipe.seed`; the global random state stays as it was. `run` trains it.

        Raises
        ------
        AdapterError
            If the name cannot be one or is taken, or the recipe's target names a layer that is not there.
        """
        require_peft()
        from peft import LoraConfig

        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=recipe.rank,
            lora_alpha=int(recipe.alpha) if recipe.alpha == int(recipe.alpha) else recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules=list(resolve_target(self.module, recipe.target)),
            use_dora=recipe.method == "dora",
            use_rslora=recipe.method == "rslora",
            base_model_name_or_path=self.base_name,
        )
        self.add(name, config, seed=recipe.seed, origin=Origin(run, recipe.to_dict()))

    def add(self, name: str, config: "LoraConfig", *, seed: int = 0, origin: Origin | None = None) -> None:
        """Put an adapter of peft's configuration into the module, switched off; see `create`."""
        require_peft()
        from peft import inject_adapter_in_model
        from peft.tuners.lora import LoraLayer

        check_adapter_name(name)
        if name in self._keys:
            raise AdapterError(
                f"{self.base_name} has an adapter {name!r} already.",
                f"Give this one another --name, or take that one out: %llama adapter delete {name}",
            )
        if config.use_dora:
            refuse_dora(self.module)
        self._made += 1
        key = f"adapter{self._made}"
        devices = [self.module.device] if self.module.device.type == "cuda" else []
        with warnings.catch_warnings(), torch.random.fork_rng(devices=devices):
            # It warns of a second adapter in the module, which is what is wanted here.
            warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
            torch.manual_seed(seed)
            inject_adapter_in_model(config, self.module, key)
        self._keys[name], self._origins[name] = key, origin or Origin()
        self.module._hf_peft_config_loaded = True  # what transformers' Trainer asks a quantised model for
        self._layers = {
            path: part for path, part in self.module.named_modules() if isinstance(part, LoraLayer)
        }
        for layer in self._layers_of(name).values():
            for part in _parts(layer, key).values():
                if part.dtype in _HALF:
                    part.data = part.data.float()
            layer.train(self.module.training)
        self._show_what_holds()
        self._changed()

    def delete(self, name: str) -> None:
        """Take an adapter out; the layers that hold no other become what they were."""
        key = self.key(name)
        if name == self._trained:
            raise AdapterError(f"{name} is being trained.", "Stop that first: %llama train stop")
        self._active.pop(name, None)
        self._show_what_holds()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Adapter .* was active which is now deleted")
            for layer in self._layers_of(name).values():
                layer.delete_adapter(key)
        del self._keys[name], self._origins[name], self.module.peft_config[key]
        for path, layer in list(self._layers.items()):
            if not layer.lora_A:
                parent, _, last = path.rpartition(".")
                setattr(self.module.get_submodule(parent), last, layer.base_layer)
                del self._layers[path]
        if not self._keys:
            del self.module.peft_config
            self.module._hf_peft_config_loaded = False
        self._show_what_holds()
        self._changed()

    # --- what chats see ---------------------------------------------------------------------------

    def use(self, name: str) -> None:
        """Switch to one adapter."""
        self.mix({name: 1.0})

    def off(self) -> None:
        """Switch all adapters off: the base alone."""
        self.mix({})

    def mix(self, weights: Mapping[str, float]) -> None:
        """Add the updates of several adapters, each times its weight; a weight of 0 is off.

        Raises
        ------
        AdapterError
            If there is no such adapter, a weight is out of its range, or one of several (or with a weight
            that is not 1) is a DoRA, whose update is no sum.
        """
        for name, weight in weights.items():
            config = self.config(name)
            if not math.isfinite(weight) or abs(weight) > LARGEST_WEIGHT:
                raise AdapterError(
                    f"The weight of {name} is {weight:g}; it may be {-LARGEST_WEIGHT:g} to "
                    f"{LARGEST_WEIGHT:g}.",
                    f"%llama adapter mix {name}:0.5",
                )
            if config.use_dora and (weight not in {0.0, 1.0} or len(weights) > 1):
                raise AdapterError(
                    f"{name} is a DoRA: it sets the length of each row of the weights anew, so it cannot be "
                    "weighted or added to others.",
                    f"Use it alone: %llama adapter use {name}",
                )
        self._active = {name: float(weight) for name, weight in weights.items() if weight}
        self._show_what_holds()
        self._changed()

    @contextlib.contextmanager
    def asked(self, adapter: str | None) -> Iterator[None]:
        """Have one request answered with an adapter of its own, `NO_ADAPTER` for none; None: as it is."""
        if adapter is None:
            yield
            return
        with self.shown({} if adapter == NO_ADAPTER else {adapter: 1.0}):
            yield

    @contextlib.contextmanager
    def shown(self, weights: Mapping[str, float]) -> Iterator[None]:
        """Have the module compute with these adapters in the block; what is `active` stays."""
        for name in weights:
            self.key(name)
        self._show(weights)
        try:
            yield
        finally:
            self._show_what_holds()

    def label(self, adapter: str | None) -> str:
        """Return what answers a request that asks for `adapter`, as one writes it; "" for the base alone."""
        if adapter is None:
            return mix_label(self._active)
        return "" if adapter == NO_ADAPTER else adapter

    # --- training ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def training(self, name: str) -> Iterator[None]:
        """Have the adapter `name` alone in the module, and gradients for its numbers and no others."""
        self.key(name)
        if self._trained is not None:
            raise AdapterError(
                f"{self._trained} is being trained already.", "Wait for it, or stop it: %llama train stop"
            )
        self._trained = name
        self._show_what_holds()
        try:
            yield
        finally:
            self._trained = None
            self._show_what_holds()

    @contextlib.contextmanager
    def as_chats_see(self) -> Iterator[None]:
        """Leave the training for the block: eval mode, no gradients, the adapters that are `active`.

        What is switched in the block holds for chats from then on; the training goes on as before.
        """
        was_training = self.module.training
        self._serving = True
        self._show_what_holds()
        self.module.eval()
        try:
            yield
        finally:
            self._serving = False
            self.module.train(was_training)
            self._show_what_holds()

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        """Return an adapter's tensors by the names that they have in peft's files.

        They are the module's own numbers, not copies: they change as the training goes on.
        """
        key = self.key(name)
        return {
            f"{_PREFIX}{path}.{part}": value.detach()
            for path, layer in self._layers_of(name).items()
            for part, value in _parts(layer, key).items()
        }

    def put_weights(self, name: str, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set an adapter's numbers, in place; the names and shapes must be those of `weights`.

        Raises
        ------
        AdapterError
            If a tensor is missing, unknown or of another shape; nothing is changed then.
        """
        own = self.weights(name)
        for path in sorted(own.keys() ^ tensors.keys()):
            missing = "is missing" if path in own else "has no place in the model"
            raise AdapterError(f"These are not the numbers of {name}: {path} {missing}.")
        for path, value in own.items():
            if value.shape != tensors[path].shape:
                raise AdapterError(
                    f"{path} has the shape {tuple(tensors[path].shape)}; here it is {tuple(value.shape)}.",
                    "The adapter belongs to a model of another size.",
                )
        with torch.no_grad():
            for path, value in own.items():
                value.copy_(tensors[path])

    def factors(self, name: str) -> Iterator[tuple[str, Any, str, float]]:
        """Yield each layer of an adapter: its path, peft's module, the adapter's key there, and its scale.

        The scale is that of the adapter with the weight 1: alpha / rank, or alpha / sqrt(rank).
        """
        key = self.key(name)
        for path, layer in self._layers_of(name).items():
            rank = layer.r[key]
            root = math.sqrt(rank) if layer.use_rslora[key] else rank
            yield path, layer, key, layer.lora_alpha[key] / root

    # --- inside -----------------------------------------------------------------------------------

    def _layers_of(self, name: str) -> dict[str, Any]:
        key = self._keys[name]
        return {path: layer for path, layer in self._layers.items() if key in layer.lora_A}

    def _show_what_holds(self) -> None:
        if self._trained is None or self._serving:
            self._show(self._active)
        else:
            self._show({self._trained: 1.0}, gradients=True)

    def _show(self, weights: Mapping[str, float], *, gradients: bool = False) -> None:
        keys = [self._keys[name] for name in weights]
        for layer in self._layers.values():
            # peft gives what it makes active gradients, which nobody needs who only chats.
            layer.set_adapter(keys, inference_mode=not gradients)
            for name, weight in weights.items():
                layer.set_scale(self._keys[name], weight)
            if any(key in layer.lora_A for key in keys):
                layer.__dict__.pop("forward", None)
            else:  # what is off costs nothing: peft's own way through the layer took a tenth of cria's time
                layer.forward = _straight_through(layer.base_layer)


def _straight_through(base: Any) -> Callable[..., torch.Tensor]:
    """Return the forward of a layer whose adapters are off: whatever `base` computes when it is called."""

    def forward(*given: Any, **named: Any) -> torch.Tensor:
        found: torch.Tensor = base.forward(*given, **named)  # training replaces it for a while
        return found

    return forward


def _parts(layer: Any, key: str) -> dict[str, Any]:
    """Return the parameters of an adapter in one layer, by the ends of their names in peft's files."""
    found = {"lora_A.weight": layer.lora_A[key].weight, "lora_B.weight": layer.lora_B[key].weight}
    if key in layer.lora_magnitude_vector:
        found["lora_magnitude_vector"] = layer.lora_magnitude_vector[key].weight
    return found
