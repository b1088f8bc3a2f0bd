/** Turns parts of the model off and shows what that does to the next token, to the text, and to the loss. */

import { name, named } from "./attention_look";
import type { Host } from "./attention_more";
import { button, element, option } from "./element";
import type { AttentionEffect, AttentionOff } from "./shapes";
import { nats, percent, visible } from "./token_strip";

export interface OffPane {
  root: HTMLElement;
  update(effect: AttentionEffect): void;
}

type Part = AttentionOff[1];
const PARTS: [Part | null, (layer: number, head: number) => string][] = [
  [null, name],
  ["attention", (layer) => `L${layer} all heads`],
  ["mlp", (layer) => `L${layer} MLP`],
  ["layer", (layer) => `layer ${layer}`],
];

function nameOf([layer, part]: AttentionOff): string {
  const [, named] = PARTS.find(([one]) => one === part) ?? [null, name];
  return named(layer, Number(part));
}

export function offPane({ ask, look }: Host, signal: AbortSignal): OffPane {
  const root = element("div", "llama-nb-att-off");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Turn parts off");
  const same = (a: AttentionOff, b: AttentionOff) => a[0] === b[0] && a[1] === b[1];
  const parts = () => look.view.off ?? [];
  const how = document.createElement("select");
  how.setAttribute("aria-label", "What stands in place of what is off");
  how.append(option("zero", "zero"), option("its mean", "mean"));
  how.title = "What stands in place of the output that is off: nothing, or its mean over the text";
  const send = (off: AttentionOff[]) => ask({ kind: "off", parts: off, mode: how.value as "zero" | "mean" });
  how.addEventListener("change", () => parts().length && send(parts()), { signal });
  const switches = PARTS.map(([part]) => {
    const made = button(
      "",
      "llama-nb-att-switch",
      () => {
        const chosen: AttentionOff = [look.layer, part ?? look.number];
        const on = parts().some((one) => same(one, chosen));
        send(on ? parts().filter((one) => !same(one, chosen)) : [...parts(), chosen]);
      },
      signal,
    );
    made.setAttribute("role", "switch");
    return made;
  });
  const row = element("div", "llama-nb-att-switches");
  row.append(element("span", "llama-nb-muted", "Turn off"), ...switches, how);
  const off = element("div", "llama-nb-att-parts");
  const found = element("div", "llama-nb-att-effect");
  root.append(row, off, found);

  const drawParts = () => {
    const made = parts().map((part) => {
      const one = button(
        `${nameOf(part)} ✕`,
        "llama-nb-att-part",
        () => send(parts().filter((other) => !same(other, part))),
        signal,
      );
      one.setAttribute("aria-label", `Turn ${nameOf(part)} on again`);
      return one;
    });
    const all = button("All on", "llama-nb-att-quiet", () => send([]), signal);
    off.replaceChildren(...(made.length ? [element("span", "llama-nb-muted", "Off:"), ...made, all] : []));
  };
  let drawn = "";
  return {
    root,
    update(effect) {
      const layer = Math.max(0, look.layer);
      for (const [index, [part, named]] of PARTS.entries()) {
        const one = switches[index];
        const on = parts().some((other) => same(other, [layer, part ?? look.number]));
        if (one) one.textContent = named(layer, look.number);
        one?.setAttribute("aria-checked", String(on));
      }
      const key = JSON.stringify(parts());
      if (key !== drawn) drawParts();
      drawn = key;
      const place = effect.position ?? look.pinned;
      found.setAttribute("aria-busy", String(effect.running ?? false));
      if (!parts().length) found.replaceChildren(element("p", "llama-nb-muted", HELP));
      else found.replaceChildren(...effectOf(effect, named(look.texts, place)));
    },
  };
}

const HELP =
  "Choose a head on the left and turn it off, or the MLP or all of its layer. Then see what the model would say " +
  "without it: the next token, the text that follows, and how well it predicts this text.";

function effectOf(effect: AttentionEffect, after: string): HTMLElement[] {
  if (effect.error) return [element("p", "llama-nb-error", effect.error)];
  const before = new Map(effect.before ?? []);
  const behind = new Map(effect.after ?? []);
  const tokens = [...new Set([...before.keys(), ...behind.keys()])].slice(0, 5);
  const found: HTMLElement[] = [element("div", "llama-nb-att-figures", figures(effect))];
  if (tokens.length) {
    const most = Math.max(...before.values(), ...behind.values(), 1e-9);
    const table = element("table", "");
    const head = element("tr", "");
    head.append(...[`after ${after}`, "", "as it is", "turned off"].map((text) => element("th", "", text)));
    table.append(head);
    for (const token of tokens) table.append(tokenRow(token, before.get(token), behind.get(token), most));
    found.push(table);
  }
  found.push(
    ...[effect.text_before, effect.text_after].map((text, index) => written(text ?? "", index === 0)),
  );
  if (effect.running) found.push(element("p", "llama-nb-muted", "Computing …"));
  return found;
}

function figures({ kl, loss_before: before, loss_after: after }: AttentionEffect): string {
  const parts: string[] = [];
  if (typeof kl === "number") parts.push(`KL ${nats(kl)} nats`);
  if (typeof before === "number" && typeof after === "number")
    parts.push(`loss of this text ${nats(before)} → ${nats(after)} nats a token`);
  return parts.join(" · ");
}

function tokenRow(
  token: string,
  before: number | undefined,
  after: number | undefined,
  most: number,
): HTMLElement {
  const row = element("tr", "");
  const bars = element("td", "llama-nb-att-bars");
  for (const [kind, value] of [
    ["before", before],
    ["after", after],
  ] as const) {
    const bar = element("span", `llama-nb-att-${kind}`);
    bar.style.width = `${(100 * (value ?? 0)) / most}%`;
    bars.append(bar);
  }
  const label = element("th", "llama-nb-att-token", visible(token));
  label.setAttribute("scope", "row");
  const figure = (value: number | undefined) =>
    element("td", "llama-nb-number", value === undefined ? "–" : percent(value));
  row.append(label, bars, figure(before), figure(after));
  return row;
}

function written(text: string, before: boolean): HTMLElement {
  const line = element("p", "llama-nb-att-written");
  line.dataset.kind = before ? "before" : "after";
  line.append(element("span", "llama-nb-muted", before ? "as it is " : "turned off "), text);
  line.hidden = !text;
  return line;
}
