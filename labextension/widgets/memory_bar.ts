/**
 * One stacked bar of memory: what takes how much, what is left of the capacity, what is too much for it.
 *
 * It knows labels, bytes and patterns, and neither plans nor models. Each part has a colour and a pattern, so that
 * nobody has to tell colours apart, and its figure stands in the legend. memory_bar.css draws it.
 */

import { bytesText } from "./bytes";
import { element } from "./element";

/** The looks that parts may have, by what the memory is for; memory_bar.css has a rule for each. */
export const LOOKS = [
  "weights",
  "kv_cache",
  "activations",
  "overhead",
  "adapter",
  "gradients",
  "optimizer",
  "other",
] as const;
export type Look = (typeof LOOKS)[number];

export interface BarPart {
  look: Look;
  label: string;
  bytes: number;
  /** Shown when the pointer rests on the part. */
  detail?: string;
}

export interface BarData {
  /** What the bar is about: "Llama 3.3 70B on 2 x RTX 4090". */
  name: string;
  parts: BarPart[];
  /** Bytes that there are, null when nobody knows. */
  capacity: number | null;
  /** Bytes at the bar's right end, when it should stay the same while the parts change. */
  scale?: number;
  /** What the rest of the capacity is called; "free" unless said. */
  rest?: string;
}

export interface MemoryBar {
  readonly root: HTMLElement;
  show(data: BarData): void;
}

interface Drawn {
  total: number;
  capacity: number | null;
  /** Bytes at the right end. */
  end: number;
}

/** Make a bar; `show` fills it, as often as the figures change. With `name`, its name stands above it. */
export function memoryBar({ named = true } = {}): MemoryBar {
  const root = element("div", "llama-nb-memory");
  const head = element("div", "llama-nb-memory-head");
  const title = element("span", "llama-nb-memory-name");
  const figure = element("span", "llama-nb-memory-figure");
  head.append(title, figure);
  const bar = element("div", "llama-nb-bar");
  bar.setAttribute("role", "img");
  const stack = element("div", "llama-nb-bar-stack");
  const over = element("div", "llama-nb-bar-over");
  const limit = element("div", "llama-nb-bar-limit");
  bar.append(stack, over, limit);
  const legend = element("ul", "llama-nb-legend");
  root.append(head, bar, legend);

  const show = (data: BarData) => {
    const parts = data.parts.filter((part) => part.bytes > 0);
    const drawn = measure(parts, data);
    title.textContent = named ? data.name : "";
    figure.textContent = totals(drawn);
    bar.setAttribute("aria-label", `${data.name}: ${spoken(drawn)}`);
    root.classList.toggle("llama-nb-over", excess(drawn) > 0);
    drawStack(stack, parts, drawn);
    drawLimits(limit, over, drawn);
    legend.replaceChildren(...parts.map(legendItem), ...restItem(drawn, data.rest ?? "free"));
  };
  return { root, show };
}

function measure(parts: BarPart[], data: BarData): Drawn {
  const total = parts.reduce((sum, part) => sum + part.bytes, 0);
  const end = Math.max(total, data.capacity ?? 0, data.scale ?? 0, 1);
  return { total, capacity: data.capacity, end };
}

function excess({ total, capacity }: Drawn): number {
  return capacity === null ? 0 : Math.max(0, total - capacity);
}

function totals(drawn: Drawn): string {
  const { total, capacity } = drawn;
  return capacity === null ? bytesText(total) : `${bytesText(total)} of ${bytesText(capacity)}`;
}

function spoken(drawn: Drawn): string {
  const { total, capacity } = drawn;
  if (capacity === null) return `${bytesText(total)}`;
  const more = excess(drawn);
  const rest = more > 0 ? `${bytesText(more)} too much` : `${bytesText(capacity - total)} free`;
  return `${totals(drawn)}, ${rest}`;
}

function share(bytes: number, { end }: Drawn): string {
  return `${((100 * bytes) / end).toFixed(3)}%`;
}

/** The parts keep their elements while their number stays, so that their widths can glide. */
function drawStack(stack: HTMLElement, parts: BarPart[], drawn: Drawn): void {
  while (stack.children.length > parts.length) stack.lastElementChild?.remove();
  parts.forEach((part, index) => {
    const there = stack.children[index] as HTMLElement | undefined;
    const segment = there ?? stack.appendChild(element("div", ""));
    segment.className = `llama-nb-part llama-nb-look-${part.look}`;
    segment.style.width = share(part.bytes, drawn);
    segment.title = [`${part.label}: ${bytesText(part.bytes)}`, part.detail].filter(Boolean).join("\n");
  });
}

function drawLimits(limit: HTMLElement, over: HTMLElement, drawn: Drawn): void {
  const { total, capacity } = drawn;
  limit.hidden = capacity === null;
  over.hidden = excess(drawn) === 0;
  if (capacity === null) return;
  limit.style.left = share(capacity, drawn);
  over.style.left = share(capacity, drawn);
  over.style.width = share(Math.max(0, total - capacity), drawn);
}

function legendItem(part: BarPart): HTMLElement {
  const item = element("li", "");
  if (part.detail) item.title = part.detail;
  item.append(swatch(`llama-nb-part llama-nb-look-${part.look}`), ` ${part.label} `);
  item.append(element("span", "llama-nb-figure", bytesText(part.bytes)));
  return item;
}

function restItem(drawn: Drawn, name: string): HTMLElement[] {
  const { total, capacity } = drawn;
  if (capacity === null) return [];
  const more = excess(drawn);
  const item = element("li", more > 0 ? "llama-nb-too-much" : "");
  item.append(
    swatch(more > 0 ? "llama-nb-bar-over" : "llama-nb-bar-rest"),
    more > 0 ? " too much " : ` ${name} `,
  );
  item.append(element("span", "llama-nb-figure", bytesText(more > 0 ? more : capacity - total)));
  return [item];
}

function swatch(looks: string): HTMLElement {
  const made = element("span", `llama-nb-swatch ${looks}`);
  made.setAttribute("aria-hidden", "true");
  return made;
}
