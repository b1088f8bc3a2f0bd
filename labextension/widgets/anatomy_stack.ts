/**
 * The diagram: blocks from top to bottom along the residual stream, layers that are alike once with their number.
 *
 * A list from which one block is chosen, by pointer or by arrow keys; "" stands for the whole model.
 */

import { count } from "./anatomy_figures";
import { element } from "./element";
import type { AnatomyBlock, AnatomyBody } from "./shapes";

/** Blocks whose summary has a line of its own. */
const WIDE = ["attention", "feed-forward", "experts", "other"];

export interface Stack {
  root: HTMLElement;
  update(body: AnatomyBody): void;
  select(id: string): void;
}

export function stack(choose: (id: string) => void, signal: AbortSignal): Stack {
  const root = element("div", "llama-nb-an-stack");
  root.setAttribute("role", "listbox");
  root.setAttribute("aria-label", "Blocks of the model");
  let options: HTMLElement[] = [];

  const select = (id: string) => {
    for (const option of options) {
      const picked = option.dataset.block === id;
      option.setAttribute("aria-selected", String(picked));
      option.tabIndex = picked ? 0 : -1;
    }
  };
  const reach = (index: number) => {
    const option = options[Math.max(0, Math.min(index, options.length - 1))];
    option?.focus();
    if (option?.dataset.block !== undefined) choose(option.dataset.block);
  };
  const moves: Record<string, (at: number) => number> = {
    ArrowDown: (at) => at + 1,
    ArrowUp: (at) => at - 1,
    Home: () => 0,
    End: () => options.length - 1,
  };
  root.addEventListener(
    "keydown",
    (event) => {
      const move = moves[event.key];
      const at = options.indexOf(event.target as HTMLElement);
      if (!move || at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      reach(move(at));
    },
    { signal },
  );
  root.addEventListener(
    "click",
    (event) => {
      const option = event.target instanceof Element ? event.target.closest("[role=option]") : null;
      if (option instanceof HTMLElement) reach(options.indexOf(option));
    },
    { signal },
  );

  const update = (body: AnatomyBody) => {
    const held = root.contains(document.activeElement);
    const chosen = options.find((option) => option.getAttribute("aria-selected") === "true");
    root.replaceChildren(...drawn(body));
    options = [...root.querySelectorAll<HTMLElement>("[role=option]")];
    select(chosen?.dataset.block ?? "");
    if (held) options.find(({ tabIndex }) => tabIndex === 0)?.focus();
  };
  return { root, update, select };
}

function drawn(body: AnatomyBody): HTMLElement[] {
  const { blocks = [], groups = [] } = body;
  const rows: HTMLElement[] = [whole(body), mark("token ids")];
  let box: HTMLElement | null = null;
  blocks.forEach((block, index) => {
    if (block.group === null) {
      rows.push(row(block, share(block, body)));
      return;
    }
    const group = groups[block.group];
    if (!box || blocks[index - 1]?.group !== block.group) {
      box = element("div", "llama-nb-an-group");
      const many = (group?.layers.length ?? 1) > 1;
      const name = many ? `${group?.layers.length} × layers ${group?.text}` : `layer ${group?.text}`;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", name);
      const times = element("div", "llama-nb-an-times", name);
      times.setAttribute("aria-hidden", "true");
      box.append(times);
      rows.push(box);
    }
    box.append(row(block, share(block, body)));
  });
  return [...rows, mark("next-token probabilities")];
}

/** What part of all parameters a block has, in all of its layers together. */
function share(block: AnatomyBlock, body: AnatomyBody): number {
  const times = block.group === null ? 1 : (body.groups?.[block.group]?.layers.length ?? 1);
  return body.parameters ? (times * block.parameters) / body.parameters : 0;
}

function mark(text: string): HTMLElement {
  const made = element("div", "llama-nb-an-mark", text);
  made.setAttribute("aria-hidden", "true");
  return made;
}

function whole(body: AnatomyBody): HTMLElement {
  const option = choice("", "whole");
  option.append(
    element("b", "", "Whole model"),
    element("span", "llama-nb-an-count", count(body.parameters ?? 0)),
  );
  return option;
}

function row(block: AnatomyBlock, part: number): HTMLElement {
  const line = element("div", "llama-nb-an-row");
  const inside = block.adds ? "adds" : "reads";
  line.dataset.place = block.kind === "rope" ? "side" : block.group === null ? "stream" : inside;
  line.dataset.kind = block.kind;
  if (block.group !== null) {
    const rail = element("span", "llama-nb-an-rail", block.adds ? "+" : "");
    rail.setAttribute("aria-hidden", "true");
    line.append(rail);
  }
  const option = choice(block.id, block.kind);
  const fill = element("span", "llama-nb-an-share");
  fill.style.width = `${(100 * part).toFixed(1)}%`;
  const wide = WIDE.includes(block.kind);
  const figure = block.tied ? "tied" : count(block.parameters);
  option.append(
    element("b", "", block.title),
    element("span", "llama-nb-an-count", block.kind === "rope" ? block.summary : figure),
    element("span", "llama-nb-an-summary", wide ? block.summary : ""),
    fill,
  );
  option.title = [block.name, block.summary, `${Number((100 * part).toPrecision(3))} % of all parameters`]
    .filter(Boolean)
    .join("\n");
  line.append(option);
  return line;
}

function choice(id: string, kind: string): HTMLElement {
  const option = element("div", "llama-nb-an-block");
  option.setAttribute("role", "option");
  option.dataset.block = id;
  option.dataset.kind = kind;
  return option;
}
