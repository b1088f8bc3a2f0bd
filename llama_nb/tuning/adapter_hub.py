"""An adapter's folder to the hub. The token is huggingface_hub's business and is never seen here.

What is uploaded says the base's name, never a path of this machine.
"""

import json
from pathlib import Path
from typing import Any, Final

from llama_nb.core.errors import AdapterError
from llama_nb.loading.hub import endpoint, quiet_hub
from llama_nb.runtime import hub_settings
from llama_nb.runtime.secrets import redact
from llama_nb.tuning.adapter_file import CONFIG, FACTS, TENSORS

_CARD: Final = """---
library_name: peft
tags:
- lora{base}
---

# {name}

{kind} for {base_name}: rank {rank}, {layers}.

```python
import llama_nb as llama

m = llama.load("{base_name}")
m.adapters.load("{repo}")
```
"""


def push_folder(repo: str, folder: Path, *, private: bool = True) -> str:
    """Upload an adapter that was saved into `folder` and return the address of its page.

    Raises
    ------
    AdapterError
        If there is no network or no log-in, the name is no hub id, or the hub refuses.
    """
    if hub_settings.offline():
        raise AdapterError(
            f"{repo} cannot be uploaded: the environment says HF_HUB_OFFLINE.", "Unset it, then push again."
        )
    _without_paths(folder, repo)
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint())
    with quiet_hub():
        try:
            address = str(api.create_repo(repo, private=private, exist_ok=True))
            api.upload_folder(
                repo_id=repo,
                folder_path=folder,
                allow_patterns=[CONFIG, TENSORS, FACTS, "README.md"],
                commit_message="An adapter",
            )
        except Exception as error:  # noqa: BLE001 - the hub's client raises its own, httpx's and the system's
            raise _explain(repo, error) from None
    return address


def _without_paths(folder: Path, repo: str) -> None:
    """Name the base by its name where its folder is named, and write the card."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    base = _plain(str(facts["base"]["name"]))
    if isinstance(facts.get("recipe"), dict):
        facts["recipe"].pop("sample_prompts", None)  # the user's own, and no part of the adapter
    config["base_model_name_or_path"] = facts["base"]["name"] = base
    _write(folder / CONFIG, config)
    _write(folder / FACTS, facts)
    layers = ", ".join(sorted({name.rpartition(".")[2] for name in config["target_modules"]}))
    kind = "A DoRA" if config.get("use_dora") else "An rsLoRA" if config.get("use_rslora") else "A LoRA"
    on_hub = f"\nbase_model: {base}" if "/" in base else ""
    card = _CARD.format(
        base=on_hub, name=repo.rpartition("/")[2], kind=kind, base_name=base, rank=config["r"],
        layers=layers, repo=repo,
    )  # fmt: skip
    (folder / "README.md").write_text(card, encoding="utf-8")


def _plain(source: str) -> str:
    """Return a hub id or a bundled name as it is; of a path only its last part."""
    parts = source.replace("\\", "/").rstrip("/").split("/")
    is_path = len(parts) > 2 or parts[0] in ("", ".", "..", "~") or Path(source).exists()
    return parts[-1] if is_path else source


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(f"{json.dumps(value, indent=1, ensure_ascii=False)}\n", encoding="utf-8")


def _explain(repo: str, error: Exception) -> AdapterError:
    name = redact(repo)[:96]
    status = getattr(getattr(error, "response", None), "status_code", None)
    if type(error).__name__ == "HFValidationError":
        return AdapterError(f"{name!r} is no hub id.", "It is written you/name.")
    if type(error).__name__ == "LocalTokenNotFoundError" or status == 401:
        return AdapterError(f"The hub does not know who pushes {name}.", "Log in first: %llama login")
    if status == 403:
        return AdapterError(
            f"You may not write to {name} (the hub answered 403).",
            "Log in with a token that may write: %llama login",
        )
    if status is not None:
        return AdapterError(f"The hub answered {status} when {name} was pushed.", "Try again later.")
    cause = redact(" ".join(str(error).split()))[:160] or type(error).__name__
    return AdapterError(f"The hub cannot be reached: {cause}", "Look at the network: %llama doctor")
