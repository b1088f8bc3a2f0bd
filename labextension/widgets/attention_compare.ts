/** Beside the shown head: another head, another layer, or another text; side by side or as a difference. */

import { name } from "./attention_look";
import type { Host } from "./attention_more";
import { button, element, option } from "./element";

export interface ComparePane {
  root: HTMLElement;
  begin(): void;
  end(): void;
  update(): void;
}

export function comparePane({ ask, look }: Host, signal: AbortSignal): ComparePane {
  const root = element("div", "llama-nb-att-compare");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Compare");
  const mine = element("b", "");
  const [trace, layer, head] = ["Text to compare with", "Its layer", "Its head"].map((label) => {
    const made = document.createElement("select");
    made.setAttribute("aria-label", label);
    made.addEventListener("change", () => choose(), { signal });
    return made;
  }) as [HTMLSelectElement, HTMLSelectElement, HTMLSelectElement];
  const two = button("Side by side", "", () => ask({ kind: "mode", mode: "two" }), signal);
  const difference = button("Difference", "", () => ask({ kind: "mode", mode: "difference" }), signal);
  const toggle = element("span", "llama-nb-att-toggle");
  toggle.append(two, difference);
  const text = document.createElement("input");
  text.type = "text";
  text.placeholder = "or type another text, Enter";
  text.setAttribute("aria-label", "Another text to read");
  text.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Enter" && text.value.trim()) ask({ kind: "prompt", text: text.value });
    },
    { signal },
  );
  root.append(mine, element("span", "llama-nb-muted", "beside"), trace, layer, head, toggle, text);

  const other = () => look.view.other ?? { trace: look.head.id ?? "", layer: look.layer, head: next() };
  const next = () => (look.number + 1) % Math.max(1, look.head.heads ?? 1);
  const choose = () => {
    const about = of(trace.value);
    const nearest = about.layers.includes(Number(layer.value)) ? Number(layer.value) : (about.layers[0] ?? 0);
    const number = Math.min(Number(head.value), about.heads - 1);
    ask({ kind: "compare", trace: trace.value, layer: nearest, head: number });
  };
  const of = (id: string) => {
    const { layers = [], heads = 1, others = [] } = look.head;
    return others.find((one) => one.id === id) ?? { id, title: "this text", layers, heads, tokens: 0 };
  };
  let offered = "";
  const offer = (id: string) => {
    const others = look.head.others ?? [];
    const about = of(id);
    const key = JSON.stringify([look.head.id, others, about.layers, about.heads]);
    if (key === offered) return;
    offered = key;
    const short = (title: string) => (title.length > 30 ? `${title.slice(0, 29)}…` : title);
    const titles = others.map((one) => option(short(one.title), one.id));
    trace.replaceChildren(option("this text", look.head.id ?? ""), ...titles);
    layer.replaceChildren(...about.layers.map((one) => option(`Layer ${one}`, String(one))));
    head.replaceChildren(
      ...Array.from({ length: about.heads }, (_, number) => option(`Head ${number}`, String(number))),
    );
  };
  return {
    root,
    begin() {
      if ((look.view.mode ?? "one") === "one") ask({ kind: "compare", ...other() });
    },
    end() {
      if ((look.view.mode ?? "one") !== "one") ask({ kind: "compare", off: true });
    },
    update() {
      const shown = other();
      offer(shown.trace);
      mine.textContent = name(look.layer, look.number);
      trace.value = shown.trace;
      layer.value = String(shown.layer);
      head.value = String(shown.head);
      two.setAttribute("aria-pressed", String(look.view.mode === "two"));
      difference.setAttribute("aria-pressed", String(look.view.mode === "difference"));
      text.hidden = look.head.alive === false;
    },
  };
}
