"""A look at an adapter's update: how large it is in each layer, and how many directions it takes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from llama_nb.session.handle import Handle
    from llama_nb.tuning.adapters import AdapterSet
    from llama_nb.tuning.update_size import UpdateSize


@dataclass(frozen=True)
class UpdateView:
    """The sizes of an adapter's update B·A; as the last line of a cell it shows them as a map.

    Attributes
    ----------
    adapter, model
        Whose update, in which model.
    method, rank
        What kind of adapter it is.
    sizes
        One for each layer that it sits on, with all singular values.
    """

    adapter: str
    model: str
    method: str
    rank: int
    sizes: "tuple[UpdateSize, ...]"

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each layer: its norm, effective rank, directions and singular values."""
        import pandas as pd

        return pd.DataFrame(
            {
                "path": [each.path for each in self.sizes],
                "layer": [each.layer for each in self.sizes],
                "kind": [each.kind for each in self.sizes],
                "norm": [each.norm for each in self.sizes],
                "relative": [each.relative for each in self.sizes],
                "effective_rank": [each.effective_rank for each in self.sizes],
                "directions": [each.directions for each in self.sizes],
                "singular": [list(each.singular) for each in self.sizes],
            }
        )

    def to_record(self) -> dict[str, Any]:
        """Return the maps as JSON values: layers x kinds."""
        layers = sorted({each.layer for each in self.sizes if each.layer is not None})
        kinds = list(dict.fromkeys(each.kind for each in self.sizes))
        there = {(each.layer, each.kind): each for each in self.sizes}

        def grid(name: str) -> list[list[Any]]:
            return [
                [getattr(there[layer, kind], name) if (layer, kind) in there else None for kind in kinds]
                for layer in layers
            ]

        known = any(each.relative is not None for each in self.sizes)
        return {
            "adapter": self.adapter,
            "model": self.model,
            "method": {"lora": "LoRA", "dora": "DoRA", "rslora": "rsLoRA"}[self.method],
            "rank": self.rank,
            "layers": layers,
            "kinds": kinds,
            "norms": grid("norm"),
            "relative": grid("relative") if known else None,
            "ranks": grid("effective_rank"),
            "directions": grid("directions"),
        }

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from llama_nb.render.update import bundle

        return bundle(self.to_record())

    def __repr__(self) -> str:
        return self._repr_mimebundle_()["text/plain"]


def look(model: "Handle", adapters: "AdapterSet", name: str) -> UpdateView:
    """Return the sizes of the update of the adapter `name`; on the model's worker."""
    from llama_nb.tuning.update_size import update_sizes

    facts = adapters.facts(name)
    return UpdateView(name, model.name, facts.method, facts.rank, update_sizes(adapters, name))
