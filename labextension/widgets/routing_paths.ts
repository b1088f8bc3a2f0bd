/** Where tokens go from layer to layer: flows on the left, one pair of layers as a matrix on the right. */

import { copyButton } from "./copy";
import { button, element, option } from "./element";
import { alluvial, cellOf, isRibbon, type Pointed } from "./routing_alluvial";
import type { FlowNode, Ribbon } from "./routing_flows";
import { type Cell, type MatrixData, matrix } from "./routing_matrix";
import { name, type RoutingPage } from "./routing_page";
import type { RoutingPaths } from "./shapes";
import { percent, visible } from "./token_strip";

const OFFERED = 200; // texts that are offered as filters
const GOES_TO = 4; // experts that are named when a box is pointed at

/** Fills `host`; returns what draws what has changed. */
export function pathsPane(host: HTMLElement, page: RoutingPage, signal: AbortSignal): () => void {
  const top = element("div", "llama-nb-rp-row");
  const body = element("div", "llama-nb-rp-paths");
  const said = element("div", "llama-nb-rp-readout");
  said.setAttribute("role", "status");
  const error = element("p", "llama-nb-error");
  const filter = tokenFilter(page, () => asked.ask(), signal);
  const asked = asker(page, filter.text);
  const counted = element("span", "llama-nb-muted llama-nb-rp-counted");
  top.append(
    filter.root,
    counted,
    copyButton("Copy the flows", () => table(page), "Copy data"),
  );

  const layers = () => page.get("head").layers ?? [];
  const at = (index: number, act: (layer: number) => void) => {
    const layer = layers()[index];
    if (layer !== undefined) act(layer);
  };
  // With several experts a token, its flows are weighted by their routing weights.
  const unit = () => ((page.get("head").top_k ?? 1) > 1 ? "of the routing weight" : "of the tokens");
  const say = (...parts: (Node | string)[]) => said.replaceChildren(...parts);
  const flows = alluvial(
    (pointed) => {
      square.mark(cellOf(pointed, page.look.index - flows.first()));
      const shown = layers().slice(flows.first());
      say(...(pointed ? pointedSaid(pointed, shown, flows.flows().ribbons, unit()) : [hint(page)]));
    },
    (column, expert) => at(flows.first() + column, (layer) => page.toExpert(layer, expert)),
    (index) => at(index, page.toLayer),
    signal,
  );
  const square = matrix(
    (cell) => say(cell ? cellSaid(cell, page.get("paths")) : hint(page)),
    ({ row }) => page.toExpert(page.look.layer, row),
    signal,
  );
  body.append(flows.root, square.root);
  host.append(top, error, body, said);

  let drawn: unknown[] = [];
  return () => {
    const paths = page.get("paths");
    const { index } = page.look;
    asked.update();
    filter.update();
    error.textContent = paths.error ?? "";
    error.hidden = !paths.error;
    body.setAttribute("aria-busy", String(paths.running ?? false));
    const { layers: all = [], experts = 1 } = page.get("head");
    const now = [paths, index, all];
    if (now.every((one, place) => one === drawn[place])) return;
    // Until the new flows have come, the old ones stay, faint.
    if (paths.running && !paths.flows && drawn.length > 0) return;
    drawn = now;
    counted.textContent = summary(paths);
    flows.update({ layers: all, flows: paths.flows ?? [], index, experts });
    square.update(matrixData(paths, all[index + 1]));
    say(hint(page));
  };
}

/** Asks the kernel for flows when what is wanted changes, and at first unless they are there. */
function asker(page: RoutingPage, text: () => string | null) {
  let asked = "";
  let had = false;
  const wanted = () => {
    const { layer, domain } = page.look;
    return keyOf({ domain, token: text() }, layer, page.get("head").growing ?? false);
  };
  const ask = () => {
    asked = wanted();
    page.ask({ kind: "paths", domain: page.look.domain, token: text(), layer: page.look.layer });
  };
  return {
    ask,
    update() {
      const paths = page.get("paths");
      const here = paths.flows !== undefined;
      // Another text is looked at: nothing is known of it.
      if (had && paths.domain === undefined) asked = "";
      had = here;
      if (wanted() === asked) return;
      const shown = keyOf(paths, paths.matrix?.layer ?? page.look.layer, page.get("head").growing ?? false);
      if (asked === "" && here && shown === wanted()) asked = shown;
      else ask();
    },
  };
}

function hint(page: RoutingPage): HTMLElement {
  const { rest = 0, flows = [] } = page.get("paths");
  const cut = flows.length > 0 && rest > 0.0005;
  const drawn = cut ? ` The largest ${flows.length} near here are drawn: ${percent(1 - rest)}.` : "";
  return element("span", "llama-nb-muted", `Ribbons are tokens that go from expert to expert.${drawn}`);
}

/** What is pointed at, in words; `layers` are those of the columns. */
function pointedSaid(
  pointed: NonNullable<Pointed>,
  layers: number[],
  ribbons: Ribbon[],
  unit: string,
): (Node | string)[] {
  const label = ({ column, expert, members }: FlowNode) => {
    const layer = layers[column] ?? 0;
    return expert === null ? `${members} others in L${layer}` : name(layer, expert);
  };
  if (isRibbon(pointed)) {
    const { from, to, share } = pointed;
    const part = from.share > 0 ? `, ${percent(share / from.share)} of what is in ${label(from)}` : "";
    return [element("b", "", `${label(from)} → ${label(to)}`), ` ${percent(share)} ${unit}${part}`];
  }
  const on = ribbons.filter(({ from }) => from === pointed).slice(0, GOES_TO);
  const parts = on.map(({ to, share }) => {
    const short = to.expert === null ? `${to.members} others` : `E${to.expert}`;
    return `${short} ${percent(share / (pointed.share || 1))}`;
  });
  const then = parts.length > 0 ? `; of this on to ${parts.join(", ")}` : "";
  return [element("b", "", label(pointed)), ` ${percent(pointed.share)} ${unit}${then}`];
}

function keyOf({ domain = "", token = null }: RoutingPaths, layer: number, growing: boolean): string {
  return JSON.stringify([domain, token, layer, growing]);
}

function summary({ tokens, domain, running, flows }: RoutingPaths): string {
  if (tokens === undefined) return running ? "Counting …" : "";
  const some = `${tokens.toLocaleString("en")} ${tokens === 1 ? "token" : "tokens"}${domain ? ` of ${domain}` : ""}`;
  return flows?.length === 0 && tokens > 0 ? `${some}: only one layer has experts` : some;
}

/** What the matrix shows; nothing where a layer has no next one. */
export function matrixData({ matrix: found }: RoutingPaths, next: number | undefined): MatrixData | null {
  if (!found || found.values.length === 0) return null;
  const together = found.kind === "together";
  const to = found.next ?? next;
  return {
    values: found.values,
    diagonal: !together,
    rows: together ? `one, in L${found.layer}` : `from, in L${found.layer}`,
    columns: together ? "and the other" : `to, in L${to}`,
    label: together
      ? `Experts of L${found.layer} that are chosen together. Arrow keys move.`
      : `From experts of L${found.layer} to those of L${to}. Arrow keys move, Enter opens a page.`,
  };
}

function cellSaid({ row, column }: Cell, { matrix: found }: RoutingPaths): HTMLElement {
  const made = element("span", "");
  const value = found?.values[row]?.[column] ?? 0;
  if (!found) return made;
  if (found.kind === "together") {
    const both = row === column ? name(found.layer, row) : `${name(found.layer, row)} and E${column}`;
    made.append(element("b", "", both), ` ${percent(value)} of the tokens`);
  } else {
    const way = `${name(found.layer, row)} → ${name(found.next ?? 0, column)}`;
    made.append(element("b", "", way), ` ${percent(value)} of the tokens in E${row}`);
  }
  return made;
}

/** The field that keeps tokens of one text: typed, offered, or that of the chosen token. */
function tokenFilter(page: RoutingPage, take: () => void, signal: AbortSignal) {
  const root = element("span", "llama-nb-rp-filter");
  const field = document.createElement("input");
  const offers = document.createElement("datalist");
  offers.id = `llama-nb-tokens-${Math.random().toString(36).slice(2)}`;
  field.type = "text";
  field.setAttribute("list", offers.id);
  field.setAttribute("aria-label", "Only tokens of this text");
  field.placeholder = "filter by token";
  const clear = button("All tokens", "", () => set(null), signal);
  const one = button("", "", () => set(page.texts.text(page.look.token ?? -1)), signal);
  root.append(field, offers, clear, one);
  let text: string | null = page.get("paths").token ?? null;
  let known = new Map<string, string>();
  let offered: unknown = null;
  const set = (to: string | null) => {
    text = to;
    field.value = to === null ? "" : visible(to);
    take();
    update();
  };
  const typed = () => {
    const shown = field.value;
    if (shown === (text === null ? "" : visible(text))) return;
    set(shown === "" ? null : (known.get(shown) ?? shown.replaceAll("·", " ")));
  };
  field.addEventListener("change", typed, { signal });
  const update = () => {
    const tokens = page.get("tokens");
    if (offered !== tokens) {
      offered = tokens;
      known = commonest(tokens.texts ?? []);
      offers.replaceChildren(...[...known.keys()].map((shown) => option("", shown)));
    }
    const chosen = page.texts.text(page.look.token ?? -1);
    clear.hidden = text === null;
    one.hidden = chosen === null || chosen === text;
    one.textContent = chosen === null ? "" : `only ${visible(chosen).slice(0, 12)}`;
  };
  if (text !== null) field.value = visible(text);
  return { root, update, text: () => text };
}

/** The texts that occur most, as they are shown and as they are. */
export function commonest(texts: string[]): Map<string, string> {
  const counts = new Map<string, number>();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  const found = [...counts].sort((one, other) => other[1] - one[1]).slice(0, OFFERED);
  return new Map(found.map(([text]) => [visible(text), text]));
}

/** The flows as tab-separated text. */
function table(page: RoutingPage): string {
  const { flows = [] } = page.get("paths");
  const layers = page.get("head").layers ?? [];
  const rows = flows.map(([index, from, to, share]) =>
    [layers[index], from, layers[index + 1], to, share].join("\t"),
  );
  return [["layer", "expert", "next layer", "next expert", "share"].join("\t"), ...rows].join("\n");
}
