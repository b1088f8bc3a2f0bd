"""A model whose every weight was trained, as a folder that `llama_nb.load` reads."""

from pathlib import Path
from typing import TYPE_CHECKING

from llama_nb.loading.expected import quiet_transformers
from llama_nb.tuning.whole_folder import written_whole

if TYPE_CHECKING:
    from llama_nb.tuning.parts import Parts


def save_model(folder: Path, parts: "Parts") -> Path:
    """Write the module's weights with config and tokenizer, whole or not at all, and return the folder.

    Raises
    ------
    AdapterError
        If the disk has no room or cannot be written; what was there is as it was.
    """
    module = parts.module
    needed = sum(weight.nbytes for weight in {id(each): each for each in module.parameters()}.values())
    with written_whole(
        folder, f"the model {folder.parent.name}", needed=needed, replaces="config.json"
    ) as part:
        with quiet_transformers():
            module.save_pretrained(part)
        parts.loaded.tokenizer.save_pretrained(part)
    return folder
