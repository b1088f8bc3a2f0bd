"""The tokenizer of a model folder: that it is one, and that it is this model's.

`check_tokenizer` needs no transformers; `read_tokenizer` makes the object that engines use.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import LoadError
from llama_nb.loading.config import refuse_custom_code
from llama_nb.loading.folder import inside, listing, read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOKENIZER: Final = "tokenizer.json"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
TEMPLATE_FILES: Final = ("chat_template.jinja", "chat_template.json")


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """How many ids the tokenizer uses (the largest and one), and whether a chat template comes with it."""

    ids: int
    has_chat_template: bool


def check_tokenizer(folder: Path, rows: int) -> TokenizerFacts:
    """Check the tokenizer's files against an embedding of `rows` rows.

    Raises
    ------
    LoadError
        If tokenizer.json is missing or no tokenizer, if it has more ids than the embedding has rows, or so
        few that it must be another model's.
    """
    if not (folder / TOKENIZER).exists():
        legacy = next((name for name in ("tokenizer.model", "vocab.json") if (folder / name).exists()), None)
        also = f"; {legacy} alone is not enough" if legacy else ""
        raise LoadError(
            f"{TOKENIZER} is missing in {folder.name}{also}. In it: {listing(folder)}.",
            f"Copy {TOKENIZER} from the model's source into the folder.",
        )
    settings = read_json(folder, TOKENIZER_CONFIG) if (folder / TOKENIZER_CONFIG).exists() else {}
    refuse_custom_code(settings, TOKENIZER_CONFIG)
    ids = _count_ids(read_json(folder, TOKENIZER))
    if ids > rows:
        raise LoadError(
            f"The tokenizer has {ids:,} tokens, but the model's embedding has {rows:,} rows.",
            f"{TOKENIZER} is from another model: get the one that belongs to these weights.",
        )
    # Embeddings are padded to round numbers, never to more than double.
    if 2 * ids < rows:
        raise LoadError(
            f"The tokenizer has only {ids:,} tokens for an embedding of {rows:,} rows.",
            f"{TOKENIZER} is from another model: get the one that belongs to these weights.",
        )
    return TokenizerFacts(ids, _has_template(folder, settings))


def _count_ids(content: Mapping[str, Any]) -> int:
    model, added = content.get("model"), content.get("added_tokens") or []
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if not vocab or not isinstance(vocab, dict | list) or not isinstance(added, list):
        keys = ", ".join(list(content)[:6]) or "nothing"
        raise LoadError(
            f"{TOKENIZER} is not a tokenizer: it has no vocabulary (in it: {keys}).", "Download it again."
        )
    try:
        known = vocab.values() if isinstance(vocab, dict) else [len(vocab) - 1]
        return int(max([*known, *(token["id"] for token in added)])) + 1
    except (TypeError, KeyError, ValueError):
        raise LoadError(
            f"{TOKENIZER} is not a tokenizer: its ids are no numbers.", "Download it again."
        ) from None


def _has_template(folder: Path, settings: Mapping[str, Any]) -> bool:
    for name in TEMPLATE_FILES:
        if (folder / name).exists():
            inside(folder, folder / name)
            return True
    return bool(settings.get("chat_template"))


def read_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """Return the tokenizer exactly as tokenizer.json describes it, whatever class the settings name.

    Raises
    ------
    LoadError
        If the tokenizers library cannot build it.
    """
    from transformers import PreTrainedTokenizerFast

    from llama_nb.loading.expected import quiet_transformers

    try:
        with quiet_transformers():
            return PreTrainedTokenizerFast.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # noqa: BLE001 - the Rust library raises bare Exceptions
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        cause = f"it has no {first}" if isinstance(error, KeyError) else first
        raise LoadError(f"{TOKENIZER} is not a tokenizer: {cause}.", "Download it again.") from None
