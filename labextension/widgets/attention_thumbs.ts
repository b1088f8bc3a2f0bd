/**
 * The heads of one layer as small maps: a list of choices, heads that share keys and values under one bracket.
 *
 * With a score chosen they stand in its order. What is drawn are bytes of the kernel, 64 x 64 at most a head.
 */

import { group } from "./attention_look";
import { picture } from "./attention_tiles";
import { element } from "./element";
import type { AttentionHead, AttentionOff, AttentionScore } from "./shapes";

export interface ThumbData {
  head: AttentionHead;
  layer: number;
  number: number;
  /** Pictures of the heads; empty until they have come. */
  bytes: Uint8Array;
  side: number;
  score: AttentionScore | null;
  off: AttentionOff[];
}

export interface Thumbs {
  root: HTMLElement;
  update(data: ThumbData): void;
  /** The picture of a head that is shown now. */
  preview(head: number): HTMLCanvasElement | null;
  focus(): void;
}

export function thumbs(
  pick: (head: number) => void,
  turn: (by: -1 | 1) => void,
  signal: AbortSignal,
): Thumbs {
  const root = element("div", "llama-nb-att-thumbs");
  root.setAttribute("role", "listbox");
  root.setAttribute("aria-label", "Heads of this layer");
  let made = "";
  let drawn: Uint8Array | null = null;
  let chips: HTMLElement[] = [];
  let pictures: HTMLCanvasElement[] = [];
  let current = 0;

  const choose = (index: number, focus: boolean) => {
    const chip = chips[Math.max(0, Math.min(index, chips.length - 1))];
    if (!chip) return;
    if (focus) chip.focus();
    current = chips.indexOf(chip);
    pick(Number(chip.dataset.head));
  };
  root.addEventListener(
    "click",
    (event) => {
      const chip =
        event.target instanceof Element ? event.target.closest<HTMLElement>("[role=option]") : null;
      if (chip) choose(chips.indexOf(chip), true);
    },
    { signal },
  );
  const below = (step: -1 | 1) => {
    const from = chips[current];
    const line = (chip: HTMLElement) => (chip.offsetTop - (from?.offsetTop ?? 0)) * step;
    const rest = chips.filter((chip) => line(chip) > 4);
    const nearest = Math.min(...rest.map(line));
    const away = (chip: HTMLElement) => Math.abs(chip.offsetLeft - (from?.offsetLeft ?? 0));
    const row = rest.filter((chip) => line(chip) < nearest + 4).sort((a, b) => away(a) - away(b));
    return row[0] ? chips.indexOf(row[0]) : current;
  };
  const moves: Record<string, () => number> = {
    ArrowRight: () => current + 1,
    ArrowLeft: () => current - 1,
    ArrowDown: () => below(1),
    ArrowUp: () => below(-1),
    Home: () => 0,
    End: () => chips.length - 1,
  };
  root.addEventListener(
    "keydown",
    (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const move = moves[event.key];
      if (move) choose(move(), true);
      else if (event.key === "PageDown" || event.key === "PageUp") turn(event.key === "PageDown" ? 1 : -1);
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
    { signal },
  );

  const build = (data: ThumbData) => {
    const focused = root.contains(document.activeElement);
    const order = inOrder(data);
    pictures = [];
    chips = order.map((head) => {
      const chip = element("div", "llama-nb-att-thumb");
      chip.setAttribute("role", "option");
      chip.dataset.head = String(head);
      const frame = element("span", "llama-nb-att-picture");
      chip.append(frame, element("span", "llama-nb-att-name", `H${head}`));
      return chip;
    });
    root.replaceChildren(...(data.score ? ranked(data, chips, data.score) : bracketed(data.head, chips)));
    made = plan(data);
    drawn = null;
    if (focused) chips.find((chip) => Number(chip.dataset.head) === data.number)?.focus();
  };
  const draw = (data: ThumbData) => {
    const { side, bytes } = data;
    const size = side * side;
    const rows: [number, number] = [0, Math.max(1, data.head.tokens ?? side)];
    for (const chip of chips) {
      const head = Number(chip.dataset.head);
      if (bytes.length < (head + 1) * size) continue;
      const values = bytes.subarray(head * size, (head + 1) * size);
      const small = picture(values, {
        rows,
        cols: rows,
        height: side,
        width: side,
        signed: false,
        faint: false,
      });
      pictures[head] = small;
      chip.firstElementChild?.replaceChildren(small);
    }
    root.setAttribute("aria-busy", String(bytes.length === 0));
    drawn = bytes;
  };
  const mark = (chip: HTMLElement, index: number, picked: boolean) => {
    if (picked && chip.getAttribute("aria-selected") !== "true") reveal(root, chip);
    if (picked) current = index;
    chip.setAttribute("aria-selected", String(picked));
    chip.tabIndex = picked ? 0 : -1;
  };
  return {
    root,
    preview: (head) => pictures[head] ?? null,
    focus: () => chips[current]?.focus(),
    update(data) {
      if (made !== plan(data)) build(data);
      if (drawn !== data.bytes) draw(data);
      const off = new Set(data.off.filter(([layer]) => layer === data.layer).map(([, part]) => part));
      for (const [index, chip] of chips.entries()) {
        const head = Number(chip.dataset.head);
        chip.dataset.off = String(off.has(head) || off.has("attention") || off.has("layer"));
        chip.title = described(data, head);
        chip.setAttribute("aria-label", chip.title);
        mark(chip, index, head === data.number);
      }
    },
  };
}

function plan({ head, score, layer }: ThumbData): string {
  return [head.heads, head.kv_heads, score?.name, score ? layer : ""].join();
}

function scoreOf({ head, layer, score }: ThumbData, number: number): number | null {
  return score?.values[(head.layers ?? []).indexOf(layer)]?.[number] ?? null;
}

function inOrder(data: ThumbData): number[] {
  const all = Array.from({ length: data.head.heads ?? 0 }, (_, head) => head);
  if (!data.score) return all;
  const of = (head: number) => scoreOf(data, head) ?? Number.NEGATIVE_INFINITY;
  return all.sort((a, b) => of(b) - of(a));
}

function described(data: ThumbData, head: number): string {
  const shared = (data.head.heads ?? 1) > (data.head.kv_heads ?? 1);
  const score = scoreOf(data, head);
  const parts = [`Layer ${data.layer}, head ${head}`];
  if (shared) parts.push(`keys and values of group ${group(head, data.head)}`);
  if (data.score && score !== null) parts.push(`${data.score.label} ${score}`);
  return parts.join(", ");
}

/** Heads in the order of a score, each with its value. */
function ranked(data: ThumbData, chips: HTMLElement[], score: AttentionScore): HTMLElement[] {
  const row = element("div", "llama-nb-att-group");
  row.dataset.bracket = "false";
  for (const chip of chips) {
    const value = scoreOf(data, Number(chip.dataset.head));
    chip.append(element("span", "llama-nb-att-score", value === null ? "" : `${value}`));
    chip.title = score.label;
  }
  row.append(...chips);
  return [row];
}

/** Heads side by side with those that read the same keys and values. */
function bracketed(head: AttentionHead, chips: HTMLElement[]): HTMLElement[] {
  const shared = (head.heads ?? 1) > (head.kv_heads ?? 1);
  if (!shared) return ranked({ head, score: null } as ThumbData, chips, { label: "" } as AttentionScore);
  return Array.from({ length: head.kv_heads ?? 1 }, (_, number) => {
    const row = element("div", "llama-nb-att-group");
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", `Heads that share keys and values ${number}`);
    row.dataset.bracket = "true";
    const label = element("span", "llama-nb-att-kv", `kv ${number}`);
    label.title = `These heads share keys and values ${number}`;
    row.append(label, ...chips.filter((chip) => group(Number(chip.dataset.head), head) === number));
    return row;
  });
}

/** Scroll a list so that one of it is seen, and nothing else of the page. */
export function reveal(list: HTMLElement, item: HTMLElement): void {
  const top = item.offsetTop - list.offsetTop;
  if (top < list.scrollTop) list.scrollTop = top - 14;
  else if (top + item.offsetHeight > list.scrollTop + list.clientHeight)
    list.scrollTop = top + item.offsetHeight - list.clientHeight + 4;
}
