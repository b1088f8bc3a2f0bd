/**
 * One answer of a comparison: its text with the first difference marked, or the reference's tokens shaded by KL.
 *
 * Knows its record and nothing of the grid. What a model wrote is set as text, never as markup.
 */

import { copyButton } from "./copy";
import { element } from "./element";
import type { CompareCell } from "./shapes";
import { nats, tokenStrip, visible } from "./token_strip";

export interface CellPane {
  root: HTMLTableCellElement;
  /** Draw the cell; with `byKl` along the tokens of `reference`, where there is a divergence. */
  update(cell: CompareCell, reference: CompareCell | undefined, byKl: boolean): void;
}

/** The answer, whole. */
export function answerOf(cell: CompareCell): string {
  return cell.common + cell.mark + cell.rest;
}

/** Make the pane of the cell with this number. */
export function cellPane(first: CompareCell, signal: AbortSignal): CellPane {
  const root = document.createElement("td");
  root.className = "llama-nb-compare-cell";
  root.rowSpan = first.span;
  let shown = first;

  const number = element("span", "llama-nb-compare-number", String(first.number));
  number.title = first.reference === null ? `${first.label}: others are compared with it` : first.label;
  const copy = copyButton(`Copy answer ${first.number}`, () => answerOf(shown));

  const answer = element("div", "llama-nb-compare-answer");
  const [common, mark, rest] = ["common", "mark", "rest"].map((part) =>
    element("span", `llama-nb-compare-${part}`),
  ) as [HTMLElement, HTMLElement, HTMLElement];
  answer.append(common, mark, rest);

  const readout = element("div", "llama-nb-compare-readout");
  readout.setAttribute("role", "status");
  let picked: number | null = null;
  let along: [string, boolean][] = [];
  let kl: (number | null)[] = [];
  const strip = tokenStrip(
    `KL divergence along the answer it is compared with, cell ${first.number}`,
    pick,
    signal,
  );
  const error = element("div", "llama-nb-compare-error");
  const status = element("span", "llama-nb-compare-status");
  const foot = element("div", "llama-nb-compare-under");
  foot.append(status, copy);
  const verdict = element("div", "llama-nb-compare-verdict");
  // What spans several rows stays in sight while they are scrolled.
  const inside = element("div", "llama-nb-compare-inside");
  inside.append(number, answer, strip.root, readout, error, foot, verdict);
  root.append(inside);

  function pick(index: number): void {
    picked = index;
    const value = kl[index];
    const text = value === null || value === undefined ? "∞" : nats(value);
    readout.textContent = `token ${index} ${visible(along[index]?.[0] ?? "")}: ${text} nats`;
    drawStrip();
  }
  function drawStrip(): void {
    const tokens = along.slice(0, kl.length).map(([text, special], index) => ({
      text,
      special,
      probability: null,
      entropy: null,
      divergence: kl[index] ?? Number.POSITIVE_INFINITY,
    }));
    strip.update(tokens, "divergence", picked);
  }

  return {
    root,
    update(cell, reference, byKl) {
      shown = cell;
      root.dataset.state = cell.state;
      root.classList.toggle("llama-nb-compare-reference", cell.reference === null);
      const measured = byKl && cell.kl !== null && reference?.pieces !== undefined;
      const [space, word] = spaced(cell.mark);
      write(common, cell.common + space);
      write(mark, cell.place !== null && !cell.mark ? "■ ends here" : word);
      mark.classList.toggle("llama-nb-compare-ends", cell.place !== null && !cell.mark);
      mark.title = cell.place === null ? "" : `the first token that differs: ${cell.place}`;
      write(rest, cell.rest);
      answer.hidden = measured;
      strip.root.hidden = readout.hidden = !measured;
      if (measured) {
        kl = cell.kl ?? [];
        along = reference?.pieces ?? [];
        drawStrip();
      }
      copy.hidden = !answerOf(cell);
      drawError(error, cell);
      write(status, cell.status);
      write(verdict, cell.verdict);
      verdict.classList.toggle("llama-nb-compare-differs", cell.place !== null);
    },
  };
}

/** A token's leading space, which is not marked, and the rest; white space alone is made visible. */
function spaced(token: string): [string, string] {
  const word = token.trimStart();
  return word ? [token.slice(0, token.length - word.length), word] : ["", token && visible(token)];
}

function write(into: HTMLElement, text: string): void {
  if (into.textContent !== text) into.textContent = text;
}

function drawError(into: HTMLElement, { error, hint }: CompareCell): void {
  into.hidden = !error;
  if (!error || into.firstChild?.textContent === error) return;
  into.replaceChildren(element("div", "", error), element("div", "llama-nb-muted", hint));
}
