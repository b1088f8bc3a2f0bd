"""Measures cria on held-out prompts: `python tools/evaluate_cria.py --model llama_nb/bundled/cria`.

Greedy answers in float32 through transformers' own model, tokenizer and chat template, so that what is
measured is what users load. --write puts the table into evaluation.json and the card; --check exits with
1 where a gate is missed.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.cria import specialising
from tools.cria.judging import SISTERS, SKILLS, Case, Skill, cases
from tools.cria.rendering import EOM, EOT

BEGIN, END = "<!-- evaluation: written by tools/evaluate_cria.py -->", "<!-- end of evaluation -->"
SEED = 7
INDUCTION_GATE = 0.4
LESS_THAN_CRIA = 0.05  # what the sister with experts may lack in each skill of cria's table
CRIA = Path(__file__).resolve().parents[1] / "llama_nb" / "bundled" / "cria" / "evaluation.json"


def load(folder: Path) -> tuple[Any, Any]:
    """Return the model in float32 and its tokenizer."""
    kind = json.loads((folder / "config.json").read_text())["architectures"][0]
    made = getattr(transformers, kind).from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    )
    return made.eval(), AutoTokenizer.from_pretrained(folder)


def skills_of(model: Any) -> tuple[Skill, ...]:
    """Return the skills that a model was trained for."""
    return SKILLS + SISTERS if has_experts(model) else SKILLS


def gate_of(skill: Skill, model: Any) -> float | None:
    """Return what a model must reach: cria its gate, the sister a little less than cria has reached."""
    measured = json.loads(CRIA.read_text())["skills"].get(skill.name) if has_experts(model) else None
    return round(measured["accuracy"] - LESS_THAN_CRIA, 4) if measured else skill.gate


def has_experts(model: Any) -> bool:
    """Whether it is the sister with experts."""
    return bool(getattr(model.config, "moe_layers", None))


def answers(model: Any, tokenizer: Any, batch: list[Case], most: int = 200) -> list[str]:
    """Return greedy answers, special tokens kept and the end of the turn cut off."""
    texts = [
        tokenizer.apply_chat_template(
            case.messages, tools=case.tools or None, tokenize=False, add_generation_prompt=True
        )
        for case in batch
    ]
    tokenizer.padding_side = "left"
    inputs = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
    with torch.no_grad():
        out = model.generate(**inputs, do_sample=False, max_new_tokens=most)
    replies = tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :])
    return [reply.split(EOT)[0].split(EOM)[0] for reply in replies]


def measure(
    model: Any, tokenizer: Any, skill: Skill, seed: int, count: int | None = None, show: int = 0
) -> dict[str, Any]:
    """Return the figures of one skill."""
    made = sorted(cases(skill, seed, count), key=lambda case: len(str(case.messages)))
    right = 0
    for start in range(0, len(made), 32):
        batch = made[start : start + 32]
        for case, answer in zip(batch, answers(model, tokenizer, batch), strict=True):
            good = case.judge(answer)
            right += good
            if not good and show > 0:
                show -= 1
                print(f"  {skill.name}: {[m.get('content') for m in case.messages][-3:]} -> {answer!r}")
    return {
        "correct": right,
        "n": len(made),
        "accuracy": round(right / len(made), 4),
        "gate": gate_of(skill, model),
    }


def induction(model: Any, seed: int, length: int = 64, rows: int = 8) -> dict[str, Any]:
    """Return the strongest induction head on random tokens that come twice, and its score.

    The score is the mean attention, over the second half, to the token after the earlier copy.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, model.config.vocab_size - 8, (rows, length), generator=generator)
    start = torch.full((rows, 1), model.config.bos_token_id)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        maps = model(torch.cat([start, ids, ids], 1), output_attentions=True).attentions
    model.set_attn_implementation("sdpa")
    scores = torch.stack([layer.diagonal(-(length - 1), 2, 3)[..., 2:].mean((0, 2)) for layer in maps])
    best = int(scores.argmax())
    heads = scores.shape[1]
    return {
        "layer": best // heads,
        "head": best % heads,
        "score": round(float(scores.max()), 3),
        "gate": None if has_experts(model) else INDUCTION_GATE,
    }


def table(result: dict[str, Any]) -> str:
    """Return the evaluation as a Markdown table."""
    lines = [
        "| skill | what is measured (greedy, held out) | right | of | accuracy | gate |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for skill in SKILLS + SISTERS:
        row = result["skills"].get(skill.name)
        if row:
            gate = f"{100 * row['gate']:.3g}%" if row["gate"] else "reported"
            figures = f"{row['correct']} | {row['n']} | {row['accuracy']:.1%} | {gate}"
            lines.append(f"| {skill.name} | {skill.measure} | {figures} |")
    head = result["induction"]
    where = f"layer {head['layer']}, head {head['head']} (counted from 0)"
    lines += [
        "",
        f"Strongest induction head on random tokens that come twice: {where}, score {head['score']:.2f}",
    ]
    lines[-1] += f" (wanted: {head['gate']})." if head["gate"] else "."
    return "\n".join([*lines, *_experts_table(result.get("experts", []))])


def _experts_table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        "",
        f"Experts on held-out text of {len(specialising.DOMAINS)} domains (wanted: in some layer "
        f"{specialising.MUTUAL_GATE} bits, for every expert {specialising.SHARE_GATE:.0%} of the tokens):",
        "",
        "| layer | domain tells of expert | smallest share | largest share |",
        "|---:|---:|---:|---:|",
    ]
    for row in rows:
        figures = f"{row['mutual_information']:.2f} bits | {row['least']:.1%} | {row['most']:.1%}"
        lines.append(f"| {row['layer']} | {figures} |")
    return lines


def passes(result: dict[str, Any]) -> bool:
    """Tell whether every gate is met."""
    rows = [row["accuracy"] >= row["gate"] for row in result["skills"].values() if row["gate"]]
    experts = result.get("experts", [])
    if experts:
        rows.append(max(row["mutual_information"] for row in experts) >= specialising.MUTUAL_GATE)
        rows.append(min(row["least"] for row in experts) >= specialising.SHARE_GATE)
    return all(rows) and result["induction"]["score"] >= (result["induction"]["gate"] or 0)


def write(folder: Path, result: dict[str, Any]) -> None:
    """Write evaluation.json, the table between the card's marks, and of a model with experts texts to try."""
    (folder / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n")
    if result.get("experts"):
        specialising.write_texts(folder / "domains.csv", result["seed"])
    card = folder / "README.md"
    if card.exists() and BEGIN in (text := card.read_text()):
        before, rest = text.split(BEGIN)
        card.write_text(f"{before}{BEGIN}\n\n{table(result)}\n\n{END}{rest.split(END)[1]}")


def main() -> int:
    """Read the command line, measure, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="llama_nb/bundled/cria", help="the model's folder")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--count", type=int, help="prompts for each skill (default: the full number)")
    parser.add_argument("--skill", action="append", help="only this skill (may be repeated)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="wrong answers to print for each skill")
    parser.add_argument("--write", action="store_true", help="write evaluation.json and the card's table")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a gate is missed")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, tokenizer = load(Path(args.model))
    wanted = [skill for skill in skills_of(model) if not args.skill or skill.name in args.skill]
    skills = {
        skill.name: measure(model, tokenizer, skill, args.seed, args.count, args.show) for skill in wanted
    }
    result = {"seed": args.seed, "temperature": 0, "skills": skills, "induction": induction(model, args.seed)}
    if has_experts(model):
        result["experts"] = specialising.measure(model, tokenizer, args.seed)
    print(table(result))
    if args.write:
        write(Path(args.model), result)
    return 0 if not args.check or passes(result) else 1


if __name__ == "__main__":
    sys.exit(main())
