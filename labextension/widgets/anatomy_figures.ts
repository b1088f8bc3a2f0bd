/** Figures of the anatomy as they are read: counts and sizes with three digits, statistics, formulas. */

import { bytesText as sizes } from "./bytes";
import { element } from "./element";

export { sizes };

const UNITS = ["", " k", " M", " B", " T"];

/** A number of parameters: "260 k", "8.03 B", as llama_nb/render/units.py writes it. */
export function count(value: number): string {
  let scaled = value;
  let power = 0;
  while (scaled >= 999.5 && power < UNITS.length - 1) {
    scaled /= 1000;
    power += 1;
  }
  const digits = power === 0 || scaled >= 99.95 ? 0 : scaled >= 9.995 ? 1 : 2;
  return `${scaled.toFixed(digits)}${UNITS[power]}`;
}

/** A figure with three significant digits; a dash where there is none. */
export function figure(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)) {
    const [digits, power] = value.toExponential(2).split("e");
    return minus(`${Number(digits)}e${Number(power)}`);
  }
  return minus(String(Number(value.toPrecision(3))));
}

function minus(text: string): string {
  return text.replaceAll("-", "−");
}

export function share(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : `${Number((100 * value).toPrecision(3))} %`;
}

/** A line of a formula: what stands behind an underscore, as a word or in braces, hangs lower. */
export function formula(text: string): HTMLElement {
  const line = element("span", "llama-nb-an-formula");
  text.split(/_(\{[^}]*\}|[A-Za-z0-9]+)/).forEach((piece, index) => {
    if (index % 2) line.append(element("sub", "", piece.replace(/[{}]/g, "")));
    else if (piece) line.append(piece);
  });
  return line;
}
