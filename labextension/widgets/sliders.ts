/**
 * Sampling parameters as sliders, each with a field to type into: off is shown as off, and what has no effect is
 * greyed, with the reason below.
 *
 * Knows the controls of llama_nb/session/controls.py and nothing of what they change. `changed` hears of a value at
 * most every 60 ms while a slider is dragged, and of null for "back to the default".
 */

import { element } from "./element";
import type { Control } from "./shapes";

export interface Sliders {
  root: HTMLElement;
  update(controls: Control[]): void;
}

type Value = number | null;

export const EVERY_MS = 60;
const SETTLES_MS = 400; // answers to older positions may come until then
const LOG_STOPS = 100;
const THUMB_PX = 14;

/** The values that a slider stops at, from its left to its right end. */
export function stopsOf(control: Control): Value[] {
  const { low, high, step, scale, off, off_end: end = "high" } = control;
  const count = scale === "log" ? LOG_STOPS : Math.round((high - low) / step);
  const found: Value[] = Array.from({ length: count + 1 }, (_, at) => {
    const value = scale === "log" ? low * (high / low) ** (at / count) : low + at * step;
    if (control.whole) return Math.round(value);
    return Number(value.toPrecision(scale === "log" ? 2 : 6));
  });
  const stops = found.filter((value, at) => value !== found[at - 1]);
  const apart = off === null ? control.can_be_off : off < low || off > high;
  if (apart) return end === "low" ? [off, ...stops] : [...stops, off];
  return stops;
}

/** The stop that is nearest to a value. */
export function stopAt(stops: Value[], value: Value, scale: Control["scale"]): number {
  const exact = stops.indexOf(value);
  if (exact >= 0 || value === null) return Math.max(0, exact);
  const measure = (one: number) => (scale === "log" ? Math.log(Math.max(one, 1e-9)) : one);
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  stops.forEach((stop, at) => {
    // The stop for off stands apart: 0 as "everything" is near to no small value.
    if (stop === null || (scale === "log" && stop <= 0)) return;
    const away = Math.abs(measure(stop) - measure(value));
    if (away < least) [best, least] = [at, away];
  });
  return best;
}

/** What a value is called: a word of its own, "off", or its digits. */
export function said(control: Control, value: Value): string {
  const word = control.words?.find(([of]) => of === value)?.[1];
  if (word) return word;
  if (control.can_be_off && value === control.off) return "off";
  return value === null ? "" : digits(value);
}

function digits(value: number): string {
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential().replace("e-", "e-");
  return String(Number(value.toPrecision(6)));
}

/** What was typed as a value; undefined when it is none that the parameter may have. */
export function read(control: Control, typed: string): Value | undefined {
  const text = typed.trim().toLowerCase();
  if (text === "") return control.default;
  const word = control.words?.find(([, called]) => called === text)?.[0];
  if (word !== undefined) return word;
  if (text === "off" && control.can_be_off) return control.off;
  const value = Number((text.split(" ")[0] ?? "").replace(",", "."));
  const { least = control.low, most } = control;
  if (!Number.isFinite(value) || value < least || (control.open && value === least)) return undefined;
  if (typeof most === "number" && value > most) return undefined;
  return control.whole && !Number.isInteger(value) ? undefined : value;
}

function allowed(control: Control): string {
  const { least = control.low, most } = control;
  const from = control.open ? `more than ${digits(least)}` : digits(least);
  return `Allowed: ${from}${typeof most === "number" ? ` to ${digits(most)}` : " or more"}`;
}

/** Make an empty panel of sliders; `signal` ends all listening. */
export function sliders(changed: (name: string, value: Value) => void, signal: AbortSignal): Sliders {
  const root = element("div", "llama-nb-sliders");
  const rows = element("div", "llama-nb-slider-rows");
  const reasons = element("p", "llama-nb-slider-reasons");
  root.append(rows, reasons);
  const made = new Map<string, Row>();

  const update = (controls: Control[]) => {
    for (const [name, row] of made) {
      if (controls.some((control) => control.name === name)) continue;
      row.root.remove();
      made.delete(name);
    }
    controls.forEach((control, at) => {
      let row = made.get(control.name);
      if (!row) {
        row = sliderRow(control, changed, signal);
        made.set(control.name, row);
      }
      if (rows.children[at] !== row.root) rows.insertBefore(row.root, rows.children[at] ?? null);
      row.update(control);
    });
    reasons.textContent = idleSentences(controls).join(" ");
    reasons.hidden = !reasons.textContent;
  };
  return { root, update };
}

/** "No effect: top-k, top-p (at temperature 0 the likeliest token is always taken)." for each reason. */
function idleSentences(controls: Control[]): string[] {
  const by = new Map<string, string[]>();
  for (const { idle, label } of controls) if (idle) by.set(idle, [...(by.get(idle) ?? []), label]);
  return [...by].map(([reason, labels]) => `No effect: ${labels.join(", ")} (${reason}).`);
}

interface Row {
  root: HTMLElement;
  update(control: Control): void;
}

function sliderRow(first: Control, changed: (name: string, value: Value) => void, signal: AbortSignal): Row {
  let control = first;
  let stops = stopsOf(first);
  const root = element("div", "llama-nb-slider");
  const label = element("span", "llama-nb-slider-label", first.label);
  const range = document.createElement("input");
  range.type = "range";
  range.min = "0";
  const field = document.createElement("input");
  field.type = "text";
  field.inputMode = "decimal";
  field.spellcheck = false;
  field.autocomplete = "off";
  range.setAttribute("aria-label", first.label);
  field.setAttribute("aria-label", `${first.label}, value`);
  root.append(label, range, field);

  const tell = throttled((value) => changed(control.name, value), signal);
  let touched = Number.NEGATIVE_INFINITY;
  let settling = 0;
  const show = (value: Value) => {
    const text = said(control, value);
    range.value = String(stopAt(stops, value, control.scale));
    range.setAttribute("aria-valuetext", text);
    root.dataset.off = String(Boolean(control.can_be_off) && value === control.off);
    if (document.activeElement !== field || !field.dataset.typed) field.value = text;
  };
  const move = (value: Value) => {
    touched = performance.now();
    window.clearTimeout(settling);
    settling = window.setTimeout(() => show(control.value), SETTLES_MS);
    show(value);
  };
  const back = () => {
    move(control.default);
    tell(null, true);
  };
  const commit = () => {
    if (!field.dataset.typed) return;
    const value = read(control, field.value);
    field.setAttribute("aria-invalid", String(value === undefined));
    field.title = value === undefined ? allowed(control) : control.meaning;
    if (value === undefined) return;
    delete field.dataset.typed;
    if (field.value.trim() === "" || (value === null && control.default === null)) back();
    else {
      move(value);
      tell(value, true);
    }
  };
  const revert = () => {
    delete field.dataset.typed;
    field.removeAttribute("aria-invalid");
    show(control.value);
  };

  const listen = { signal };
  range.addEventListener(
    "input",
    () => {
      const value = stops[Number(range.value)] ?? null;
      move(value);
      tell(value, false);
    },
    listen,
  );
  range.addEventListener("keydown", (event) => onDelete(event, back), listen);
  root.addEventListener("dblclick", (event) => event.target !== field && back(), listen);
  field.addEventListener("focus", () => field.select(), listen);
  field.addEventListener("input", () => (field.dataset.typed = "true"), listen);
  field.addEventListener("change", commit, listen);
  field.addEventListener("blur", () => field.dataset.typed && revert(), listen);
  field.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Enter") commit();
      else if (event.key === "Escape" && field.dataset.typed) revert();
      else return;
      event.stopPropagation();
      if (!field.dataset.typed) field.select();
    },
    listen,
  );
  signal.addEventListener("abort", () => window.clearTimeout(settling));

  const update = (next: Control) => {
    const moved = JSON.stringify(stopsOf(next)) !== JSON.stringify(stops);
    if (moved || !range.max) stops = stopsOf(next);
    control = next;
    range.max = String(stops.length - 1);
    label.textContent = next.label;
    root.title = next.idle
      ? `${next.meaning}. No effect now: ${next.idle}`
      : `${next.meaning}. Double-click: back to ${said(next, next.default)}`;
    root.dataset.idle = String(Boolean(next.idle));
    range.setAttribute("aria-description", next.idle ? `no effect: ${next.idle}` : next.meaning);
    const share = stops.length > 1 ? stopAt(stops, next.default, next.scale) / (stops.length - 1) : 0;
    root.style.setProperty("--ln-default", `calc(${THUMB_PX / 2}px + (100% - ${THUMB_PX}px) * ${share})`);
    root.dataset.changed = String(next.value !== next.default);
    if (performance.now() - touched > SETTLES_MS) show(next.value);
  };
  return { root, update };
}

function onDelete(event: KeyboardEvent, back: () => void): void {
  if (event.key !== "Delete" && event.key !== "Backspace") return;
  event.preventDefault();
  event.stopPropagation();
  back();
}

/** Call `send` at once and then at most every EVERY_MS, with the newest value last. */
function throttled(send: (value: Value) => void, signal: AbortSignal) {
  let next = Number.NEGATIVE_INFINITY;
  let timer = 0;
  signal.addEventListener("abort", () => window.clearTimeout(timer));
  return (value: Value, now: boolean) => {
    window.clearTimeout(timer);
    const fire = () => {
      next = performance.now() + EVERY_MS;
      send(value);
    };
    const wait = next - performance.now();
    if (now || wait <= 0) fire();
    else timer = window.setTimeout(fire, wait);
  };
}
