/** What the colours mean, how a pixel stands for many weights, and what is pointed at, in one line. */

import { type Look, tokenText, weight } from "./attention_look";
import type { Host } from "./attention_more";
import type { Frame, Tile } from "./attention_tiles";
import { CIVIDIS, css, DIVERGING } from "./colour_maps";
import { button, element } from "./element";

export interface Legend {
  root: HTMLElement;
  update(look: Look, tile: Tile | undefined, near: number | null): void;
}

export function legend({ ask, look: now, maps, draw }: Host, signal: AbortSignal): Legend {
  const root = element("div", "llama-nb-att-legend");
  const readout = element("span", "llama-nb-att-readout");
  readout.setAttribute("role", "status");
  const rule = element("span", "llama-nb-muted llama-nb-att-rule");
  const turn = () => {
    now.faint = !now.faint;
    draw();
  };
  const scale = button("", "llama-nb-att-scale", turn, signal);
  const stop = button("Stop", "llama-nb-att-stop", () => ask({ kind: "cancel" }), signal);
  stop.title = "Leave the map as it is (Esc)";
  root.append(readout, rule, stop, scale);
  const map = maps.first.root;
  for (const [event, on] of [
    ["focus", true],
    ["blur", false],
  ] as const) {
    const changed = () => {
      root.dataset.keys = String(on && map.matches(":focus-visible"));
      draw();
    };
    map.addEventListener(event, changed, { signal });
  }
  let drawn = "";
  return {
    root,
    update(look, tile, near) {
      readout.replaceChildren(...pointed(look, near, root.dataset.keys === "true"));
      rule.textContent = tile ? pooling(tile) : "";
      stop.hidden = !tile || tile.done >= 1;
      rule.title = look.head.legend ?? "";
      const signed = look.view.mode === "difference";
      const key = [signed, look.faint].join();
      if (drawn !== key) drawScale(scale, signed, look.faint);
      drawn = key;
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
}: Omit<Frame, "signed" | "faint"> & { done: number }): string {
  if (done < 1) return `${Math.round(100 * done)} % exact`;
  const behind = [(rows[1] - rows[0]) / height, (cols[1] - cols[0]) / width].map((one) => Math.ceil(one));
  return Math.max(...behind) <= 1 ? "pixel: one weight" : `pixel: strongest of ${behind.join(" × ")}`;
}

const MARKS = [0, 0.05, 0.25, 0.5, 1];
const FAINT_MARKS = [0, 0.01, 0.1, 1];
const HELP = "A row is a token; bright is what it reads";
const KEYS = "Arrows move, + − 0 zoom, Enter keeps a row";

function pointed(look: Look, near: number | null, keys: boolean): (Node | string)[] {
  if (!look.cell) return [element("span", "llama-nb-muted", keys ? KEYS : HELP)];
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

/** A bar of colours, with ticks where the weights are: their root, or the root of that. */
function drawScale(into: HTMLElement, signed: boolean, faint: boolean): void {
  const map = signed ? DIVERGING : CIVIDIS;
  const stops = Array.from({ length: 17 }, (_, index) => css(map, index / 16)).join(", ");
  const ramp = element("span", "llama-nb-att-ramp");
  ramp.style.backgroundImage = `linear-gradient(to right, ${stops})`;
  const marks = signed ? [-1, faint ? -0.01 : -0.1, 0, faint ? 0.01 : 0.1, 1] : faint ? FAINT_MARKS : MARKS;
  ramp.append(
    ...marks.map((mark) => {
      const share = Math.abs(mark) ** (faint ? 0.25 : 0.5);
      const at = signed ? (1 + Math.sign(mark) * share) / 2 : share;
      const label = element("i", "", String(mark).replace("0.", ".").replace("-", "−"));
      label.style.left = `${100 * at}%`;
      return label;
    }),
  );
  into.replaceChildren(ramp);
  into.setAttribute("aria-pressed", String(faint));
  into.setAttribute("aria-label", "Show faint weights, too");
  const means = signed
    ? "Orange: this head reads it more. Blue: the other does."
    : "The weight from 0 to 1, the same for every map.";
  into.title = `${means} The scale is a ${faint ? "fourth" : "square"} root. Click: ${faint ? "as before" : "show faint weights, too"}`;
}
