"""Deleting a model from the hub's cache: shows what would go, asks, and says what it gave back."""

from IPython.display import display

from llama_nb.core.errors import LlamaError
from llama_nb.magics.shown import Shown, table
from llama_nb.magics.units import size
from llama_nb.runtime.environment import detect
from llama_nb.session import cache

_ROWS = 12


def delete(name: str, *, sure: bool) -> Shown:
    """Delete a model from the cache; unless `sure`, a person is asked first.

    Raises
    ------
    LlamaError
        If it is not there, is loaded, cannot be deleted, or nobody is there to ask.
    """
    entry = cache.find(name)
    cache.check_deletable(entry)
    if not sure:
        if not detect().watched:
            raise LlamaError(
                f"Nobody is there to be asked whether {name} may be deleted; it was not.",
                f"To delete it without a question: %llama models --delete {name} --yes",
            )
        display(_contents(entry))
        answer = input(f"Delete {name} from the cache, {size(entry.bytes)}? [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            return Shown("Nothing was deleted.")
    return Shown(f"Deleted {name}: {size(cache.delete(name))} given back.")


def _contents(entry: cache.CacheEntry) -> Shown:
    """Return the table of what would be deleted, the largest files first."""
    rows = [[file, size(count)] for file, count in entry.files[:_ROWS]]
    rest = entry.files[_ROWS:]
    if rest:
        rows.append([f"and {len(rest)} more", size(sum(count for _, count in rest))])
    return table([entry.name, "size"], rows)
