"""The table of models that are here: bundled, in the hub's cache, loaded."""

from llama_nb.magics.shown import Shown, table
from llama_nb.magics.units import number, size


def overview() -> Shown:
    """Return the table; a loaded model stands in it once, as loaded."""
    from llama_nb.loading import source
    from llama_nb.session import cache, registry

    loaded = registry.loaded()
    rows = [[model.name, "loaded", number(model.parameters), size(model.bytes)] for model in loaded.values()]
    rows += [[name, "bundled", "", ""] for name in source.bundled() if name not in loaded]
    rows += [[model.name, "in the cache", "", size(model.bytes)] for model in source.cached()]
    half = [entry for entry in cache.entries() if not entry.complete]
    rows += [[entry.name, "in the cache, not whole", "", size(entry.bytes)] for entry in half]
    if not rows:
        return Shown("No model is bundled, in the cache or loaded.")
    return table(["model", "where", "parameters", "size"], rows)
