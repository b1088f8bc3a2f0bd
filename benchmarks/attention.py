"""Our attention explorer beside bertviz and circuitsvis: the same model and text, each in headless Chromium.

The peers show their page alone, from a file that they built of eager attention: bertviz its head view of all
layers, circuitsvis one layer, which is what it takes. Ours stands in a JupyterLab with a kernel, shows all
layers, and is timed from the start of the cell that shows a captured text. A peer is given up beyond 100 s,
a page of 1 GB, or 10 GB in its kernel. README.md says how they are installed.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.attention_lab import Seen, look
from benchmarks.attention_page import Opened, open_page
from benchmarks.attention_subject import HEADS, LAYERS, text_of, tokenizer_of, write_model
from benchmarks.attention_watch import MOST_BYTES, NotFinished, run_child
from benchmarks.report import Row

TITLE = f"The attention explorer: {LAYERS} layers of {HEADS} heads"
VARIABLE: Final = "LLAMA_NB_PEERS"
PEERS: Final = ("bertviz", "circuitsvis")
BESIDE: Final = (64, 256, 1024)
ALONE: Final = (4096, 8192, 16_384, 32_768)
FEW: Final = [0, 1]  # layers that are captured of the longest texts: reading ends behind them
FEW_FROM: Final = 8192
BYTES_TO_OPEN, BYTES_OF_A_TILE = 500_000, 270_000
INTERACTIVE_S, TILE_S = 1.0, 0.2
INTERACTIVE_AT, TILE_AT = 4096, 8192


@dataclass(frozen=True)
class Peer:
    """What a peer did: its page opened, or the words why not; and what building it took."""

    built: dict[str, Any] | None
    opened: Opened | str


def run() -> list[Row]:
    """Measure the peers where they are installed, and ours at every length."""
    peers = Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None
    threads = len(os.sched_getaffinity(0))
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as base:
        folder = write_model(Path(base) / "model")
        tokenizer = tokenizer_of(folder)
        for tokens in (*BESIDE, *ALONE):
            text = Path(base) / f"{tokens}.txt"
            text.write_text(text_of(tokenizer, tokens), encoding="utf-8")
            beside = PEERS if tokens in BESIDE and peers is not None else ()
            known = {name: _peer(name, folder, text, peers) for name in beside if peers is not None}
            seen = look(folder, text, FEW if tokens >= FEW_FROM else "all", threads)
            print(tokens, seen, known, flush=True)
            found += rows(tokens, seen, known)
    return found


def _peer(name: str, folder: Path, text: Path, peers: Path) -> Peer:
    page = text.with_suffix(f".{name}.html")
    case = {"work": "build", "peer": name, "folder": str(folder), "text": str(text), "page": str(page)}
    try:
        built = run_child({**case, "peers": str(peers)})
        if built["bytes"] > MOST_BYTES:
            raise NotFinished(f"a page of {built['bytes'] / 1e9:.1f} GB")
    except NotFinished as limit:
        return Peer(None, f"not finished: {limit}")
    try:
        return Peer(built, open_page(page, name, peers))
    except NotFinished as limit:
        return Peer(built, f"not finished: {limit}")
    finally:
        page.unlink(missing_ok=True)


def rows(tokens: int, seen: Seen, peers: dict[str, Peer]) -> list[Row]:
    """Return the rows of one text: a row a figure, for each peer or once without one."""
    beside = [row for name, peer in peers.items() for row in _beside(tokens, seen, name, peer)]
    return [*(beside or _opened(tokens, seen)), *_alone(tokens, seen)]


def _beside(tokens: int, seen: Seen, name: str, peer: Peer) -> list[Row]:
    opened, built = peer.opened, peer.built
    says = opened if isinstance(opened, str) else ""
    page = None if isinstance(opened, str) else opened
    size = page.bytes if page else built["bytes"] if built else None
    named = f"T = {tokens:,}, beside {name}"
    return [
        _row(f"{named}: bytes to the page", seen.exact_bytes / 1e6, size and size / 1e6, "MB", says,
             BYTES_TO_OPEN / 1e6),
        _row(f"{named}: text to page in the kernel", seen.read["seconds"],
             built["forward_s"] + built["build_s"] if built else None, "s", says),
        _row(f"{named}: time to interactive", seen.interactive_s, page and page.seconds, "s", says),
        _row(f"{named}: memory of the kernel", (seen.read["memory"] + seen.kernel) / 1e6,
             built["memory"] / 1e6 if built else None, "MB", says),
        _row(f"{named}: memory of the page", seen.page / 1e6, page and page.memory / 1e6, "MB", says),
    ]  # fmt: skip


def _opened(tokens: int, seen: Seen) -> list[Row]:
    most = INTERACTIVE_S if tokens == INTERACTIVE_AT else None
    return [
        _row(f"T = {tokens:,}: bytes to the page", seen.exact_bytes / 1e6, None, "MB", "",
             BYTES_TO_OPEN / 1e6),
        _row(f"T = {tokens:,}: time to interactive", seen.interactive_s, None, "s", "", most),
        _row(f"T = {tokens:,}: memory of the page", seen.page / 1e6, None, "MB", ""),
    ]  # fmt: skip


def _alone(tokens: int, seen: Seen) -> list[Row]:
    layers = f"{len(FEW)} layers" if tokens >= FEW_FROM else "all layers"
    made = [
        _row(f"T = {tokens:,}: the whole map exact, from the cell on", seen.exact_s, None, "s", ""),
        _row(f"T = {tokens:,}: capture of {layers}", seen.read["seconds"], None, "s", ""),
        _row(f"T = {tokens:,}: queries and keys of {layers}", seen.read["bytes"] / 1e6, None, "MB", ""),
    ]
    if tokens > 2 * 512:  # below that one map has every weight
        most = TILE_S if tokens == TILE_AT else None
        made += [
            _row(f"T = {tokens:,}: a zoomed map, from the key on", seen.zoom_s, None, "s", "", most),
            _row(f"T = {tokens:,}: bytes of a zoomed map", seen.zoom_bytes / 1e6, None, "MB", "",
                 BYTES_OF_A_TILE / 1e6),
        ]  # fmt: skip
    return made if tokens in ALONE else made[:1]


def _row(
    what: str, ours: float, peer: float | None, unit: str, says: str, budget: float | None = None
) -> Row:
    theirs = says if peer is None else f"{peer:,.3g} {unit}" if peer < 1000 else f"{peer:,.0f} {unit}"
    if peer is not None and says:
        theirs += f" ({says})"
    return Row(
        what=what,
        ours=f"{ours:,.3g} {unit}" if ours < 1000 else f"{ours:,.0f} {unit}",
        peer=theirs,
        ratio=ours / peer if peer else None,
        budget=f"<= {budget:g} {unit}" if budget is not None else "",
        met=ours <= budget if budget is not None else None,
    )
