/** What the colours mean, how a pixel stands for many weights, and what is pointed at, in one line. */

import { type Look, tokenText, weight } from "./attention_look";
import type { Frame, Tile } from "./attention_tiles";
import { CIVIDIS, css, DIVERGING } from "./colour_maps";
import { button, element } from "./element";

export interface Legend {
  root: HTMLElement;
  update(look: Look, tile: Tile | undefined, near: number | null): void;
}

/** `cancel` ends the computation of a map that takes long. */
export function legend(cancel: () => void, signal: AbortSignal): Legend {
  const root = element("div", "llama-nb-att-legend");
  const readout = element("span", "llama-nb-att-readout");
  readout.setAttribute("role", "status");
  const rule = element("span", "llama-nb-muted llama-nb-att-rule");
  const scale = element("span", "llama-nb-att-scale");
  const stop = button("Stop", "llama-nb-att-stop", cancel, signal);
  stop.title = "Leave the map as it is (Esc)";
  root.append(readout, rule, stop, scale);
  let signed: boolean | null = null;
  return {
    root,
    update(look, tile, near) {
      readout.replaceChildren(...pointed(look, near));
      rule.textContent = tile ? pooling(tile) : "";
      stop.hidden = !tile || tile.done >= 1;
      rule.title = look.head.legend ?? "";
      const now = look.view.mode === "difference";
      if (signed !== now) drawScale(scale, now);
      signed = now;
    },
  };
}

/** How many weights are behind one pixel. */
export function pooling({
  rows,
  cols,
  height,
  width,
  done,
}: Omit<Frame, "signed"> & { done: number }): string {
  if (done < 1) return `${Math.round(100 * done)} % exact`;
  const behind = [(rows[1] - rows[0]) / height, (cols[1] - cols[0]) / width].map((one) => Math.ceil(one));
  return Math.max(...behind) <= 1 ? "pixel: one weight" : `pixel: strongest of ${behind.join(" × ")}`;
}

const HELP = "A row is a token; bright is what it reads";

function pointed(look: Look, near: number | null): (Node | string)[] {
  if (!look.cell) return [element("span", "llama-nb-muted", HELP)];
  const { row, col, second } = look.cell;
  const texts = second ? look.others : look.texts;
  const token = (position: number) => tokenText(texts, position, 14);
  const place = (position: number) => element("span", "llama-nb-muted", ` ${position.toLocaleString("en")}`);
  const found = [token(row), place(row), " reads ", token(col), place(col), " "];
  if (look.view.mode === "difference") return [...found, ...difference(look, row, col)];
  const exact = look.asked.value(row, col, second);
  const shown = element("output", "llama-nb-att-exact");
  shown.dataset.exact = String(exact !== undefined);
  if (exact === null) shown.textContent = "comes later: not read";
  else shown.textContent = exact === undefined ? `≈ ${weight(near ?? 0).slice(0, 5)}` : weight(exact);
  return [...found, shown];
}

function difference(look: Look, row: number, col: number): Node[] {
  const one = look.asked.value(row, col);
  const other = look.asked.value(row, col, true);
  const shown = element("output", "llama-nb-att-exact");
  const known = typeof one === "number" && typeof other === "number";
  shown.dataset.exact = String(known);
  shown.textContent = known ? `${one.toFixed(4)} − ${other.toFixed(4)} = ${weight(one - other)}` : "…";
  if (one === null) shown.textContent = "comes later: not read";
  return [shown];
}

/** A bar of colours; squares are marked so that the ticks stand where the weights are. */
function drawScale(into: HTMLElement, signed: boolean): void {
  const map = signed ? DIVERGING : CIVIDIS;
  const stops = Array.from({ length: 17 }, (_, index) => css(map, index / 16)).join(", ");
  const bar = element("span", "llama-nb-att-ramp");
  bar.style.backgroundImage = `linear-gradient(to right, ${stops})`;
  const marks = signed
    ? ([
        ["−1", 0],
        ["0", 50],
        ["1", 100],
      ] as const)
    : ([
        ["0", 0],
        [".05", 22.4],
        [".25", 50],
        [".5", 70.7],
        ["1", 100],
      ] as const);
  const labels = marks.map(([text, at]) => {
    const label = element("i", "", text);
    label.style.left = `${at}%`;
    return label;
  });
  bar.append(...labels);
  into.replaceChildren(bar);
  into.title = signed
    ? "Orange: this head reads it more. Blue: the other does. The scale is a square root."
    : "The weight from 0 to 1; the scale is a square root, the same for every map.";
}
