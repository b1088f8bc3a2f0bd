"""The tree is what README says, and no file names this machine or a registry."""

import re
from pathlib import Path

import pytest

MAP = re.compile(r"^\| `([^`]+)/` \|", re.MULTILINE)
TEXT = {
    ".css", ".html", ".ipynb", ".js", ".json", ".jsonl", ".lock", ".md", ".mjs", ".npmrc", ".py", ".sh",
    ".toml", ".ts", ".tsx", ".txt", ".yaml", ".yml", "",
}  # fmt: skip
MACHINE_PATHS = re.compile(r"(?<![\w.~-])/(?:work|root|tmp)/\w")
REGISTRY_HOSTS = re.compile(r'"resolved"' + r"\s*:|https?://[a-z.-]*" + "registry")


def folders_of_interest(tracked: list[Path]) -> set[str]:
    """Top-level folders, and the packages of llama_nb and labextension."""
    top = {path.parts[0] for path in tracked if len(path.parts) > 1 and not path.parts[0].startswith(".")}
    inner = {
        "/".join(path.parts[:2])
        for path in tracked
        if path.parts[0] in {"llama_nb", "labextension"} and len(path.parts) > 2
    }
    return top | inner


def test_the_map_in_the_readme_is_the_tree(root: Path, tracked: list[Path]) -> None:
    mapped = set(MAP.findall((root / "README.md").read_text(encoding="utf-8")))
    assert mapped == folders_of_interest(tracked)


@pytest.mark.parametrize("pattern", [MACHINE_PATHS, REGISTRY_HOSTS], ids=["machine path", "registry host"])
def test_no_file_names_this_machine_or_a_registry(
    root: Path, tracked: list[Path], pattern: re.Pattern[str]
) -> None:
    found = []
    for path in tracked:
        if path.suffix not in TEXT:
            continue
        text = (root / path).read_text(encoding="utf-8", errors="replace")
        found += [f"{path}: {match.group()}" for match in pattern.finditer(text)]
    assert not found


def test_the_checkout_is_not_named(root: Path, tracked: list[Path]) -> None:
    here = f"{root}/"
    assert not [path for path in tracked if here.encode() in (root / path).read_bytes()]


def test_links_between_documents_lead_somewhere(root: Path, tracked: list[Path]) -> None:
    broken = []
    for path in tracked:
        if path.suffix != ".md":
            continue
        text = (root / path).read_text(encoding="utf-8")
        targets = [
            target for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text) if "://" not in target
        ]
        broken += [f"{path}: {target}" for target in targets if not (root / path.parent / target).exists()]
    assert not broken
