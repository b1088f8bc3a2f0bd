/**
 * Tokens in a row, each shaded by how likely it was, by how unsure the model was there, or by how far another model
 * was from it; one can be picked.
 *
 * Knows nothing of chats and distributions: whoever shows a strip says what its tokens are and what a pick does.
 */

import { element } from "./element";

export interface StripToken {
  text: string;
  special: boolean;
  probability: number | null;
  entropy: number | null;
  /** KL divergence in nats; infinite where the other model rules out what this one does not. */
  divergence?: number | null;
  /** A word about this token that is said and shown at it, such as "chosen by you". */
  mark?: string;
}
export type Shading = "probability" | "entropy" | "divergence";

export interface TokenStrip {
  root: HTMLElement;
  update(tokens: StripToken[], by: Shading, picked: number | null): void;
}

/** The classes of render/why.py: class k holds what is at least PROBABILITIES[k], or below ENTROPIES[k] nats. */
const PROBABILITIES = [0.9, 0.5, 0.2, 0.05];
const ENTROPIES = [0.5, 1, 2, 3];
/** Those of render/compare.py, in nats. */
const DIVERGENCES = [0.001, 0.01, 0.1, 1];
export const LEGENDS: Record<Shading, string[]> = {
  probability: ["from 90 %", "50 %", "20 %", "5 %", "below"],
  entropy: ["below 0.5 nats", "from 0.5", "1", "2", "3"],
  divergence: ["below 0.001 nats", "from 0.001", "0.01", "0.1", "1"],
};
const MARKS: Record<string, string> = { " ": "·", "\n": "⏎", "\t": "⇥" };

/** The text of a token with its spaces, line ends and tabs to be seen. */
export function visible(text: string): string {
  return text === "" ? "∅" : text.replace(/[ \n\t]/g, (space) => MARKS[space] ?? space);
}

/** A probability in three significant digits. */
export function percent(probability: number): string {
  if (probability > 0 && probability < 1e-4) return "< 0.01 %";
  if (probability >= 0.9995) return "100 %";
  return `${Number((100 * probability).toPrecision(3))} %`;
}

/** A divergence in three significant digits. */
export function nats(value: number): string {
  if (!Number.isFinite(value)) return "∞";
  return value > 0 && value < 1e-4 ? "< 0.0001" : String(Number(value.toPrecision(3)));
}

/** The class of a token, 0 (sure) to 4; empty where it has no figure. */
function level(token: StripToken, by: Shading): string {
  const value = token[by] ?? null;
  if (value === null) return "";
  const edges = { probability: PROBABILITIES, entropy: ENTROPIES, divergence: DIVERGENCES }[by];
  return String(edges.filter((edge) => (by === "probability" ? value < edge : value >= edge)).length);
}

function described(token: StripToken, index: number): string {
  const figures = [
    token.probability === null ? "" : `probability ${percent(token.probability)}`,
    token.entropy === null ? "" : `entropy ${token.entropy.toFixed(2)} nats`,
    typeof token.divergence === "number" ? `KL ${nats(token.divergence)} nats` : "",
    token.mark ?? "",
  ];
  return [`token ${index}: ${visible(token.text)}`, ...figures.filter(Boolean)].join(", ");
}

/** Write a token's text; spaces are marked faintly, so that the words stand out. */
export function write(into: HTMLElement, text: string): void {
  const pieces = text === "" ? ["∅"] : text.split(/([ \n\t])/).filter(Boolean);
  into.replaceChildren(
    ...pieces.map((piece) => (MARKS[piece] ? element("i", "llama-nb-space", MARKS[piece]) : piece)),
  );
}

/** Make an empty strip. `onPick` gets a token's number and its element; `signal` ends all listening. */
export function tokenStrip(
  label: string,
  onPick: (index: number, anchor: HTMLElement) => void,
  signal: AbortSignal,
): TokenStrip {
  const root = element("div", "llama-nb-strip");
  const list = element("div", "llama-nb-strip-tokens");
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", label);
  const legend = element("div", "llama-nb-strip-legend");
  root.append(list, legend);
  const chips: HTMLElement[] = [];
  const texts: string[] = [];
  let reached = 0;
  let legendOf = "";

  const reach = (index: number, focus: boolean) => {
    const next = chips[Math.max(0, Math.min(index, chips.length - 1))];
    if (!next) return;
    chips[reached]?.setAttribute("tabindex", "-1");
    reached = chips.indexOf(next);
    next.tabIndex = 0;
    if (focus) next.focus();
  };
  const pick = (index: number) => {
    const chip = chips[index];
    if (chip) onPick(index, chip);
  };
  /** The token in the line above or below that is nearest to this one. */
  const beside = (step: -1 | 1): number => {
    const from = chips[reached];
    let best = reached;
    let line: number | null = null;
    for (let index = reached + step; from && chips[index]; index += step) {
      const { offsetTop, offsetLeft } = chips[index] as HTMLElement;
      if (Math.abs(offsetTop - from.offsetTop) < 4) continue;
      line ??= offsetTop;
      if (Math.abs(offsetTop - line) > 4) break;
      const away = (chip: HTMLElement) => Math.abs(chip.offsetLeft - from.offsetLeft);
      if (best === reached || Math.abs(offsetLeft - from.offsetLeft) < away(chips[best] as HTMLElement))
        best = index;
    }
    return best;
  };
  const moves: Record<string, () => number> = {
    ArrowRight: () => reached + 1,
    ArrowLeft: () => reached - 1,
    ArrowDown: () => beside(1),
    ArrowUp: () => beside(-1),
    Home: () => 0,
    End: () => chips.length - 1,
  };
  list.addEventListener(
    "keydown",
    (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const move = moves[event.key];
      if (move) reach(move(), true);
      else if (event.key === "Enter" || event.key === " ") pick(reached);
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
    { signal },
  );
  list.addEventListener(
    "click",
    (event) => {
      const chip = event.target instanceof Element ? event.target.closest("[role=option]") : null;
      const index = chips.indexOf(chip as HTMLElement);
      if (index < 0) return;
      reach(index, true);
      pick(index);
    },
    { signal },
  );

  const chipAt = (index: number): HTMLElement => {
    let chip = chips[index];
    if (!chip) {
      chip = element("span", "llama-nb-chip");
      chip.setAttribute("role", "option");
      chip.tabIndex = -1;
      chips.push(chip);
      list.append(chip);
    }
    return chip;
  };
  const draw = (token: StripToken, index: number, by: Shading, picked: boolean) => {
    const chip = chipAt(index);
    if (texts[index] !== token.text) {
      texts[index] = token.text;
      write(chip, token.text);
      const broken = chip.nextSibling instanceof HTMLBRElement ? chip.nextSibling : null;
      if (!token.text.endsWith("\n")) broken?.remove();
      else if (!broken) chip.after(document.createElement("br"));
    }
    chip.classList.toggle("llama-nb-pill", token.special);
    chip.dataset.level = level(token, by);
    chip.dataset.mark = token.mark ?? "";
    chip.title = described(token, index);
    chip.setAttribute("aria-label", chip.title);
    chip.setAttribute("aria-selected", String(picked));
  };
  const update = (tokens: StripToken[], by: Shading, picked: number | null) => {
    for (const chip of chips.splice(tokens.length)) {
      if (chip.nextSibling instanceof HTMLBRElement) chip.nextSibling.remove();
      chip.remove();
    }
    texts.length = Math.min(texts.length, tokens.length);
    tokens.forEach((token, index) => {
      draw(token, index, by, index === picked);
    });
    reach(picked ?? reached, false);
    if (legendOf !== by) drawLegend(by);
    legendOf = by;
  };
  const drawLegend = (by: Shading) => {
    const keys = LEGENDS[by].map((text, index) => {
      const key = element("span", "llama-nb-chip", text);
      key.dataset.level = String(index);
      return key;
    });
    legend.replaceChildren(element("span", "", by), ...keys);
  };
  return { root, update };
}
