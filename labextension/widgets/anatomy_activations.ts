/** The statistics of what runs through a block: a table at one layer, and one figure of it along the depth. */

import { row, table } from "./anatomy_block";
import { lineChart } from "./anatomy_chart";
import { figure, formula, share } from "./anatomy_figures";
import type { Context, Panel } from "./anatomy_pane";
import { copyButton } from "./copy";
import { button, element } from "./element";
import type { AnatomyBlock, AnatomyMeasured, AnatomySite } from "./shapes";

const FIGURES: [string, string][] = [
  ["mean", "Mean over all tokens and channels"],
  ["std", "Standard deviation"],
  ["rms", "Root mean square: √mean(x²)"],
  ["max |x|", "The largest number, without its sign"],
  ["= 0", "Share of zeros"],
  ["< 0", "Share of negative numbers"],
];
const SHARES = 4;

export const activations: Panel = ({ model, go, signal, memory }, block, place) => {
  const measured = model.get("measured");
  if (!measured.tokens) {
    const what = block ? "what runs through this block" : "how the residual stream grows from layer to layer";
    return [element("p", "", `Have the model read a text to see ${what}.`)];
  }
  if (!block) return stream(measured, model.get("body").depth ?? 0);
  const sites = sitesOf(block, measured);
  if (!sites.length) return [element("p", "", "Nothing is measured here.")];
  const site = sites.find((one) => one.place === memory.place) ?? sites.at(-1);
  if (!site) return [];
  const again = () => go({});
  const at = block.group === null ? 0 : place.layer;
  const shown = listed(sites, site, at, again, { signal, memory });
  const copy = copyButton("Copy all statistics of this block", () => asText(sites), "Copy data");
  const layers = block.group === null ? [] : (model.get("body").groups?.[block.group]?.layers ?? []);
  return layers.length > 1
    ? [shown, depth(site, layers, place.layer, memory.statistic), copy]
    : [shown, copy];
};

/** The places that belong to a block, in the order in which they are computed. */
export function sitesOf(block: AnatomyBlock, measured: AnatomyMeasured): AnatomySite[] {
  const { sites = [], whole = [] } = measured;
  const name = block.name.split(".").at(-1) ?? "";
  if (block.group === null) {
    const wanted = { embedding: "embed_tokens", norm: "norm", head: "logits" }[block.kind as string];
    return whole.filter((site) => site.place === wanted);
  }
  return sites.filter(({ place }) => [name, `${name}:in`].includes(place) || place.startsWith(`${name}.`));
}

function listed(
  sites: AnatomySite[],
  chosen: AnatomySite,
  at: number,
  again: () => void,
  { signal, memory }: Pick<Context, "signal" | "memory">,
) {
  const made = table(["", ...FIGURES.map(([name]) => name)]);
  const headings = [...made.root.querySelectorAll("th")].slice(1);
  headings.forEach((cell, index) => {
    const [name, title] = FIGURES[index] ?? ["", ""];
    const pick = choice(
      name,
      `statistic ${index}`,
      index === memory.statistic,
      () => {
        memory.statistic = index;
        again();
      },
      signal,
    );
    pick.title = title;
    cell.replaceChildren(pick);
  });
  for (const site of sites) {
    const first = element("th", "");
    first.setAttribute("scope", "row");
    const pick = choice(
      "",
      site.place,
      site === chosen,
      () => {
        memory.place = site.place;
        again();
      },
      signal,
    );
    pick.title = site.place.endsWith(":in")
      ? `what goes into ${site.place.slice(0, -3)}`
      : `what comes out of ${site.place}`;
    pick.append(formula(site.symbol));
    first.append(pick);
    const figures = site.rows[at] ?? [];
    const line = row(first, ...FIGURES.map((_, index) => (index < SHARES ? figure : share)(figures[index])));
    line.dataset.place = site.place;
    made.body.append(line);
  }
  return made.root;
}

function choice(text: string, key: string, pressed: boolean, act: () => void, signal: AbortSignal) {
  const made = button(text, "llama-nb-an-pick", act, signal);
  made.dataset.key = key;
  made.setAttribute("aria-pressed", String(pressed));
  return made;
}

function depth(site: AnatomySite, layers: number[], at: number, statistic: number): HTMLElement {
  const values = layers.map((layer) => site.rows[layer]?.[statistic] ?? null);
  return lineChart({
    lines: [{ name: site.symbol, values }],
    places: layers,
    across: "layer",
    symbol: site.symbol,
    up: FIGURES[statistic]?.[0] ?? "",
    at,
    format: statistic < SHARES ? figure : share,
  });
}

function stream(measured: AnatomyMeasured, depth: number): HTMLElement[] {
  const { first = [], others = [] } = measured.residual ?? {};
  const chart = lineChart({
    lines: [
      { name: "mean of the other tokens", values: others },
      { name: "first token", values: first, dashed: true },
    ],
    places: Array.from({ length: depth + 1 }, (_, index) => index),
    across: "layers passed",
    up: "norm of the residual stream",
  });
  const text = () =>
    [
      "layers\tfirst token\tothers",
      ...others.map((value, index) => `${index}\t${first[index]}\t${value}`),
    ].join("\n");
  const off = measured.off ? [element("p", "llama-nb-muted", `Measured with ${measured.off}.`)] : [];
  return [
    ...off,
    element("p", "", "Each layer adds to the stream, so it grows. The first token often stands out."),
    chart,
    copyButton("Copy the norms", text, "Copy data"),
  ];
}

function asText(sites: AnatomySite[]): string {
  const head = ["place", "layer", "mean", "std", "rms", "max_abs", "zeros", "negative"];
  const rows = sites.flatMap(({ place, rows }) =>
    rows.flatMap((figures, layer) => (figures ? [[place, layer, ...figures]] : [])),
  );
  return [head, ...rows].map((line) => line.join("\t")).join("\n");
}
