/** What a mixture costs: all of it against what a token needs, and how often a cache of experts would hold enough. */

import { count } from "./anatomy_figures";
import { bytesText } from "./bytes";
import { copyButton } from "./copy";
import { element } from "./element";
import { curvesChart } from "./routing_chart";
import type { RoutingPage } from "./routing_page";
import type { RoutingCost } from "./shapes";
import { percent } from "./token_strip";

export function costPane(host: HTMLElement, page: RoutingPage, signal: AbortSignal): () => void {
  const root = element("div", "llama-nb-rp-report");
  host.append(root);
  let asked = "";
  let drawn: unknown = null;
  return () => {
    const cost = page.get("cost");
    const head = page.get("head");
    const here = cost.total_parameters !== undefined || Boolean(cost.error);
    // Counted again once a text has stopped to grow.
    const wanted = head.growing ? "growing" : "whole";
    if (wanted !== asked && !cost.running && (!here || asked !== "")) page.ask({ kind: "cost" });
    asked = wanted;
    root.setAttribute("aria-busy", String(!here || Boolean(cost.running)));
    if (drawn === cost) return;
    drawn = cost;
    if (here) root.replaceChildren(...report(cost, head.experts ?? 1, signal));
    else root.replaceChildren(element("p", "llama-nb-muted", "Counting …"));
  };
}

function report(cost: RoutingCost, experts: number, signal: AbortSignal): HTMLElement[] {
  if (cost.error) return [element("p", "llama-nb-error", cost.error)];
  const made = [totals(cost)];
  const charts = element("div", "llama-nb-rp-columns");
  if (cost.cache?.length) charts.append(cacheChart(cost.cache, experts, signal));
  if (cost.batch?.length) charts.append(batchChart(cost.batch, signal));
  if (charts.firstChild) made.push(charts);
  made.push(...(cost.lines ?? []).map((line) => element("p", "", line)));
  const foot = element("div", "llama-nb-rp-row");
  if (cost.plan) {
    const plan = cost.plan;
    foot.append(
      element("code", "", plan),
      copyButton("Copy the line", () => plan, "Copy line"),
    );
  }
  foot.append(
    element("span", "llama-nb-rp-space"),
    copyButton("Copy the figures", () => table(cost), "Copy data"),
  );
  return [...made, foot];
}

/** All parameters and bytes, and the part of them that one token needs, as bars over one scale each. */
function totals(cost: RoutingCost): HTMLElement {
  const made = element("table", "llama-nb-rp-totals");
  const rows: [string, string, number | undefined, number | undefined, (value: number) => string][] = [
    ["Parameters", "one token goes through", cost.total_parameters, cost.active_parameters, count],
    ["Bytes", "read for one token", cost.total_bytes, cost.token_bytes, bytesText],
  ];
  for (const [label, of, total, part, said] of rows) {
    if (!total || part === undefined) continue;
    const row = element("tr", "");
    const name = element("th", "", label);
    name.setAttribute("scope", "row");
    const bar = element("td", "llama-nb-rp-whole");
    const inner = element("span", "");
    inner.style.width = `${(100 * part) / total}%`;
    bar.append(inner);
    const words = element("td", "");
    words.append(element("b", "", said(part)), ` ${of}, of ${said(total)}: ${percent(part / total)}`);
    row.append(name, bar, words);
    made.append(row);
  }
  if (cost.expert_bytes) {
    const row = element("tr", "");
    const words = element("td", "", `${bytesText(cost.expert_bytes)} each`);
    row.append(element("th", "", "One expert"), element("td", ""), words);
    made.append(row);
  }
  return made;
}

function cacheChart(
  cache: NonNullable<RoutingCost["cache"]>,
  experts: number,
  signal: AbortSignal,
): HTMLElement {
  const column = (at: 1 | 2 | 3) => cache.map((row) => row[at]);
  return curvesChart(
    {
      title: "Hits of a cache of experts",
      across: "experts kept in each layer",
      short: "kept",
      places: cache.map(([kept]) => kept),
      at: cache[Math.floor((cache.length - 1) / 2)]?.[0] ?? 1,
      log: experts > 16,
      curves: [
        { name: "LRU", values: column(1), look: "solid" },
        { name: "best", values: column(2), look: "dashed" },
        { name: "random", values: column(3), look: "dotted" },
      ],
    },
    signal,
  );
}

function batchChart(batch: NonNullable<RoutingCost["batch"]>, signal: AbortSignal): HTMLElement {
  return curvesChart(
    {
      title: "Experts that a batch needs",
      across: "replies written at once",
      short: "replies",
      places: batch.map(([tokens]) => tokens),
      at: batch[Math.floor((batch.length - 1) / 2)]?.[0] ?? 1,
      log: true,
      curves: [{ name: "of the experts", values: batch.map(([, share]) => share), look: "solid" }],
    },
    signal,
  );
}

/** The figures as tab-separated text. */
function table(cost: RoutingCost): string {
  const rows: (string | number)[][] = [["figure", "of", "value"]];
  const figures = [
    "total_parameters",
    "active_parameters",
    "total_bytes",
    "token_bytes",
    "expert_bytes",
  ] as const;
  for (const figure of figures) {
    const value = cost[figure];
    if (value !== undefined) rows.push([figure.replace("_", " "), "", value]);
  }
  for (const [kept, lru, optimum, random] of cost.cache ?? [])
    rows.push(["hit rate, last used", kept, lru], ["best possible", kept, optimum], ["random", kept, random]);
  for (const [tokens, share] of cost.batch ?? []) rows.push(["share of experts in a batch", tokens, share]);
  return rows.map((row) => row.join("\t")).join("\n");
}
