"""Trains cria from scratch: `python tools/train_cria.py --out FOLDER --tokens 30000000`.

Everything is drawn from the seed, so a training that was cut off goes on with the same command as if
nothing had happened. FOLDER holds recipe.json, tokenizer.json, metrics.jsonl, checkpoint.pt, export/ and
an optional control.json: {"decay_steps": N} begins the last phase now, {"stop": true} ends after a step.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.cria import tokenizer as bpe
from tools.cria.model import CONTEXT, attach, build, export
from tools.cria.optimiser import Optimiser, Rates, decay_now, plain_knots, schedule
from tools.cria.workers import Crew, Job

DEFAULTS = Path(__file__).with_name("cria") / "recipe.json"


def prepare(out: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Write recipe and tokenizer into a new folder, or read the recipe of an old one."""
    out.mkdir(parents=True, exist_ok=True)
    if (out / "recipe.json").exists():
        recipe: dict[str, Any] = json.loads((out / "recipe.json").read_text())
    else:
        recipe = json.loads(Path(args.recipe).read_text())
        recipe.update(seed=args.seed, architecture=args.architecture)
        (out / "recipe.json").write_text(json.dumps(recipe, indent=2) + "\n")
    if not (out / "tokenizer.json").exists():
        size = recipe["vocabulary"]
        texts = bpe.corpus(recipe["seed"], recipe["tokenizer_texts"], recipe.get("tokenizer_corpus"))
        learned = bpe.learn(texts, size["size"], size["glued"])
        learned.save(str(out / "tokenizer.json"))
    return recipe


def stage_of(recipe: dict[str, Any], step: int) -> dict[str, Any]:
    """Return the stage of the recipe that holds at a step: the last one that has begun."""
    return [stage for stage in recipe["stages"] if stage["from_step"] <= step][-1]


def save_checkpoint(out: Path, crew: Crew, optimiser: Optimiser, progress: dict[str, Any]) -> None:
    """Write the whole state beside the old one, then put it in its place."""
    state = {"flat": crew.flat.clone(), "optimiser": optimiser.state, "progress": progress}
    state["loads"] = crew.shared.loads.clone()
    temporary = out / "checkpoint.tmp"
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(out / "checkpoint.pt")


def load_checkpoint(out: Path, crew: Crew, optimiser: Optimiser, progress: dict[str, Any]) -> None:
    """Bring back a state where there is one, and cut metrics that came after it."""
    if not (out / "checkpoint.pt").exists():
        (out / "metrics.jsonl").write_text("")
        return
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    crew.flat.copy_(state["flat"])
    crew.shared.loads.copy_(state.get("loads", crew.shared.loads))
    for name, value in state["optimiser"].items():
        optimiser.state[name].copy_(value)
    progress.update(state["progress"])
    lines = (out / "metrics.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["step"] < progress["step"]]
    (out / "metrics.jsonl").write_text("".join(line + "\n" for line in kept))


def control(out: Path) -> dict[str, Any]:
    """Read the control file; a half-written one counts as none."""
    try:
        return dict(json.loads((out / "control.json").read_text()))
    except (OSError, ValueError):
        return {}


def steps(
    out: Path, recipe: dict[str, Any], crew: Crew, optimiser: Optimiser, progress: dict[str, Any], total: int
) -> Iterator[dict[str, Any]]:
    """Train until the tokens are used up or the decay is over; yields one record a step."""
    per_step = sum(length * rows for length, rows in crew.job.plan)
    planned = total // per_step
    knots = recipe.get("knots") or plain_knots(planned, recipe["warm_up"], recipe["decay_share"])
    while True:
        orders = control(out)
        if "decay_steps" in orders and not progress["knots"]:
            progress["knots"] = decay_now(knots, progress["step"], int(orders["decay_steps"]))
        now = progress["knots"] or knots
        if orders.get("stop") or progress["step"] >= min(now[-1][0], planned):
            return
        began = time.monotonic()
        gradient, loss, tokens = crew.gradient(progress["step"])
        norm = float(gradient.norm())
        gradient *= min(1.0, recipe["clip"] / (norm + 1e-9))
        factor = schedule(progress["step"], now)
        optimiser.step(gradient, progress["step"], factor)
        record: dict[str, Any] = {
            "step": progress["step"],
            "loss": round(loss, 4),
            "norm": round(norm, 3),
            "factor": round(factor, 4),
        }
        if crew.shared.loads.numel():
            record["least"] = round(float(crew.shared.loads.min()), 4)
        progress["step"] += 1
        progress["tokens"] += tokens
        yield record | {"tokens": progress["tokens"], "rate": round(tokens / (time.monotonic() - began))}


def train(args: argparse.Namespace) -> None:
    """Train, from the start or the last checkpoint; a new crew where a stage changes the mixture."""
    out = Path(args.out)
    recipe = prepare(out, args)
    progress: dict[str, Any] = {"step": 0, "tokens": 0, "knots": []}
    saved = out / "checkpoint.pt"
    if saved.exists():
        progress.update(torch.load(saved, weights_only=True)["progress"])
    stage = stage_of(recipe, progress["step"])
    plan = tuple((length, rows) for length, rows in stage["plan"])
    job = Job(
        str(out / "tokenizer.json"),
        recipe["architecture"],
        recipe["seed"],
        recipe.get("shape", {}),
        stage["mixture"],
        plan,
        recipe.get("balance", 0.0),
    )
    crew = Crew(job, args.workers)
    optimiser = Optimiser(crew.model, crew.flat, Rates(**recipe["rates"]))
    load_checkpoint(out, crew, optimiser, progress)
    last_save = time.monotonic()
    with (out / "metrics.jsonl").open("a", buffering=1) as metrics:
        for record in steps(out, recipe, crew, optimiser, progress, args.tokens):
            metrics.write(json.dumps(record) + "\n")
            if record["step"] % 20 == 0:
                print(json.dumps(record), flush=True)
            changes = stage_of(recipe, progress["step"]) is not stage
            if changes or time.monotonic() - last_save > args.save_every:
                save_checkpoint(out, crew, optimiser, progress)
                last_save = time.monotonic()
            if changes:
                break
        else:
            changes = False
    save_checkpoint(out, crew, optimiser, progress)
    crew.close()
    if changes:
        train(args)
    else:
        export_to(out, out / "export")


def export_to(out: Path, folder: Path) -> None:
    """Write the last checkpoint of a run as a folder that transformers loads."""
    recipe = json.loads((out / "recipe.json").read_text())
    learned = Tokenizer.from_file(str(out / "tokenizer.json"))
    model = build(recipe["architecture"], learned, recipe["seed"], recipe.get("shape", {}))
    attach(model, torch.load(out / "checkpoint.pt", weights_only=True)["flat"])
    export(model, folder)
    bpe.save(learned, folder, CONTEXT)


def curve(out: Path, points: int = 16, width: int = 50) -> str:
    """Return the loss of a run as a Markdown table: the mean of ``width`` steps up to each point."""
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    lines = ["| tokens | loss |", "|---:|---:|"]
    for point in range(1, points + 1):
        last = len(records) * point // points
        part = records[max(0, last - width) : last]
        mean = sum(record["loss"] for record in part) / max(1, len(part))
        lines.append(f"| {part[-1]['tokens']:,} | {mean:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, help="the folder of the run")
    parser.add_argument(
        "--tokens", type=int, default=30_000_000, help="all tokens to train on (default 30 million)"
    )
    parser.add_argument("--architecture", choices=("dense", "moe"), default="dense")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--recipe", default=str(DEFAULTS), help="a recipe file, copied into a new run's folder"
    )
    parser.add_argument("--workers", type=int, default=4, help="processes that compute gradients; 0 for none")
    parser.add_argument("--save-every", type=float, default=120.0, help="seconds between checkpoints")
    parser.add_argument("--export", metavar="FOLDER", help="only write the last checkpoint as a model folder")
    parser.add_argument("--curve", action="store_true", help="only print the loss of a run as a table")
    args = parser.parse_args()
    if args.curve:
        print(curve(Path(args.out)))
        return
    if args.export:
        export_to(Path(args.out), Path(args.export))
        return
    if args.tokens > 80_000_000:
        parser.error("at most 80 million tokens")
    train(args)


if __name__ == "__main__":
    main()
