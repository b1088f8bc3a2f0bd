/** The explorer's first line: what is looked at, whether the kernel is at work, and what can be opened. */

import { button, element } from "./element";
import type { AttentionHead } from "./shapes";

export type Pane = "compare" | "off" | "export";

export interface Bar {
  root: HTMLElement;
  update(head: AttentionHead, open: Pane | "", off: number): void;
  say(text: string): void;
}

const LABELS: Record<Pane, string> = { compare: "Compare", off: "Turn off", export: "Export" };
const TITLES: Record<Pane, string> = {
  compare: "Put another head, layer or text beside this one",
  off: "Turn heads, MLPs or layers off and see what changes",
  export: "Take the map as PNG or SVG, or its data",
};

export function bar(toggle: (pane: Pane) => void, signal: AbortSignal): Bar {
  const root = element("div", "llama-nb-att-bar");
  const what = element("span", "llama-nb-muted llama-nb-att-what");
  const status = element("span", "llama-nb-att-status");
  status.setAttribute("role", "status");
  const panes = (Object.keys(LABELS) as Pane[]).map((pane) => {
    const made = button(LABELS[pane], "", () => toggle(pane), signal);
    made.dataset.pane = pane;
    made.title = TITLES[pane];
    return made;
  });
  root.append(element("span", "llama-nb-title", "Attention"), what, status, ...panes);
  return {
    root,
    say: (text) => {
      status.textContent = text;
    },
    update(head, open, off) {
      what.textContent = described(head);
      what.title = [what.textContent, head.bytes].filter(Boolean).join(" · ");
      for (const one of panes) one.setAttribute("aria-pressed", String(one.dataset.pane === open));
      const switches = panes.find((one) => one.dataset.pane === "off");
      if (!switches) return;
      switches.disabled = head.alive === false && off === 0;
      switches.textContent = off > 0 ? `${off} off` : LABELS.off;
    },
  };
}

function described({ model, title, tokens = 0, prompt = tokens, growing, alive }: AttentionHead): string {
  if (!model) return "";
  const count = `${tokens.toLocaleString("en")} tokens`;
  const parts = [model, title, prompt < tokens ? `${count}, ${tokens - prompt} written` : count];
  if (growing) parts.push("writing");
  if (alive === false) parts.push("model unloaded");
  return parts.filter(Boolean).join(" · ");
}
