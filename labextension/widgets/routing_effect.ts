/** What a change of the routing does: divergence, loss, next tokens, and the two texts side by side. */

import { element } from "./element";
import type { RoutingEffect } from "./shapes";
import { nats, percent, visible, write } from "./token_strip";

const MOST_TOKENS = 6;

/** The effect as elements; `after` names the token that the distributions come after, `of` whose loss it is. */
export function effectOf(effect: RoutingEffect, after: string, of = ""): HTMLElement[] {
  if (effect.error) return [element("p", "llama-nb-error", effect.error)];
  const made: HTMLElement[] = [];
  const { before = [], after: behind = [] } = effect;
  const lead = figures(effect, of);
  if (lead) made.push(lead);
  if (effect.text_before?.trim() || effect.text_after?.trim())
    made.push(texts(effect.text_before ?? "", effect.text_after ?? ""));
  else if (lead && !effect.running)
    made.push(element("p", "llama-nb-muted", "Nothing follows: the text ends here, as it is and changed."));
  if (before.length + behind.length > 0) made.push(nextTokens(new Map(before), new Map(behind), after));
  if (effect.running) made.push(element("p", "llama-nb-muted", "Computing …"));
  return made;
}

function figures(
  { kl, loss_before: before, loss_after: after }: RoutingEffect,
  of: string,
): HTMLElement | null {
  const made = element("p", "llama-nb-rp-lead");
  if (typeof before === "number" && typeof after === "number") {
    const change = after - before;
    const signed = `${change < 0 ? "−" : "+"}${nats(Math.abs(change))}`;
    made.append(
      `Loss ${of}`,
      element("b", "", `${nats(before)} → ${nats(after)}`),
      ` nats a token (${signed})`,
    );
  }
  if (typeof kl === "number") {
    if (made.firstChild) made.append(" · ");
    made.append("KL of the next token ", element("b", "", nats(kl)), " nats");
  }
  return made.firstChild ? made : null;
}

function nextTokens(before: Map<string, number>, behind: Map<string, number>, after: string): HTMLElement {
  const tokens = [...new Set([...before.keys(), ...behind.keys()])].slice(0, MOST_TOKENS);
  const most = Math.max(...before.values(), ...behind.values(), 1e-9);
  const table = element("table", "");
  const head = element("tr", "");
  head.append(...[`after ${after}`, "", "as it is", "changed"].map((text) => element("th", "", text)));
  for (const cell of [...head.children].slice(2)) cell.classList.add("llama-nb-number");
  table.append(head);
  for (const token of tokens) {
    const row = element("tr", "");
    const label = element("th", "llama-nb-rp-token");
    label.setAttribute("scope", "row");
    write(label, token);
    const bars = element("td", "llama-nb-rp-pair");
    const values = [before.get(token), behind.get(token)];
    for (const [index, value] of values.entries()) {
      const bar = element("span", "");
      bar.dataset.kind = index ? "after" : "before";
      bar.style.width = `${(100 * (value ?? 0)) / most}%`;
      bars.append(bar);
    }
    row.append(label, bars, ...values.map((value) => element("td", "llama-nb-number", shown(value))));
    table.append(row);
  }
  return table;
}

function shown(value: number | undefined): string {
  return value === undefined ? "–" : percent(value);
}

/** Two texts beside each other; what they begin with together is faint. */
function texts(before: string, after: string): HTMLElement {
  const made = element("div", "llama-nb-rp-texts");
  const both = [before, after].map((text) => text.trimStart()) as [string, string];
  const same = common(...both);
  for (const [index, text] of both.entries()) {
    const column = element("div", "llama-nb-rp-text");
    column.dataset.kind = index ? "after" : "before";
    const said = element("p", "");
    said.append(element("span", "llama-nb-muted", text.slice(0, same)), element("b", "", text.slice(same)));
    column.append(element("h4", "", index ? "changed" : "as it is"), said);
    if (index === 1 && before === after) column.append(element("p", "llama-nb-muted", "The same words."));
    made.append(column);
  }
  return made;
}

/** How many characters both begin with, up to the end of a word. */
export function common(one: string, other: string): number {
  let at = 0;
  while (at < one.length && one[at] === other[at]) at += 1;
  if (at === one.length && at === other.length) return at;
  return Math.max(0, one.slice(0, at).search(/\S*$/));
}

/** The effect as tab-separated text. */
export function effectTable(effect: RoutingEffect): string {
  const behind = new Map(effect.after ?? []);
  const rows: (string | number | null)[][] = [
    ["figure", "as it is", "changed"],
    ["changes", "", (effect.changed ?? []).join(", ")],
    ["loss in nats a token", effect.loss_before ?? null, effect.loss_after ?? null],
    ["KL in nats", "", effect.kl ?? null],
    ...(effect.before ?? []).map(([text, value]) => [
      JSON.stringify(visible(text)),
      value,
      behind.get(text) ?? null,
    ]),
    ["text", JSON.stringify(effect.text_before ?? ""), JSON.stringify(effect.text_after ?? "")],
  ];
  return rows.map((row) => row.join("\t")).join("\n");
}
