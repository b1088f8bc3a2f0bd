/** One expert as a small report: what it gets, where and of what, at its strongest, and how its weights compare. */

import { copyButton } from "./copy";
import { button, element, option } from "./element";
import { isDone, toggled, UNCHANGED } from "./routing_changes";
import { barsChart } from "./routing_chart";
import { colourOf, name, type RoutingPage } from "./routing_page";
import type { RoutingExpert, RoutingHead } from "./shapes";
import { svg } from "./svg";
import { percent, write } from "./token_strip";

const NEAREST = 5;
const MOST_TOKENS = 12;

export function expertPane(host: HTMLElement, page: RoutingPage, signal: AbortSignal): () => void {
  const top = chooser(page, signal);
  const body = element("div", "llama-nb-rp-report");
  host.append(top.root, body);
  let asked = "";
  let drawn: unknown[] = [];
  return () => {
    const found = page.get("expert");
    const head = page.get("head");
    const { layer } = page.look;
    const expert = page.look.expert ?? 0;
    const here = found.layer === layer && found.expert === expert;
    // What the kernel has may be another expert: this one is asked for once.
    const wanted = `${layer} ${expert}`;
    if (!here && wanted !== asked) page.toExpert(layer, expert);
    asked = wanted;
    top.update(head);
    body.setAttribute("aria-busy", String(!here || Boolean(found.running)));
    const now = [found, here, head];
    if (now.every((one, at) => one === drawn[at])) return;
    const first = drawn.length === 0;
    drawn = now;
    // Until the new report has come, the old one stays, faint.
    if (here && (found.share !== undefined || !found.running))
      body.replaceChildren(...report(found, page, signal));
    else if (first) body.replaceChildren(element("p", "llama-nb-muted", "Looking …"));
  };
}

/** Which expert; forbids or forces it in "What if". */
function chooser(page: RoutingPage, signal: AbortSignal) {
  const root = element("div", "llama-nb-rp-row");
  const [layer, expert] = ["Layer", "Expert"].map((label) => {
    const made = document.createElement("select");
    made.setAttribute("aria-label", label);
    made.addEventListener("change", () => page.toExpert(Number(layer.value), Number(expert.value)), {
      signal,
    });
    return made;
  }) as [HTMLSelectElement, HTMLSelectElement];
  const step = (by: number) => () => {
    const experts = page.get("head").experts ?? 1;
    page.toExpert(page.look.layer, ((page.look.expert ?? 0) + by + experts) % experts);
  };
  const [back, on] = [button("‹", "", step(-1), signal), button("›", "", step(1), signal)];
  back.setAttribute("aria-label", "Previous expert");
  on.setAttribute("aria-label", "Next expert");
  const swatch = element("i", "llama-nb-rp-swatch");
  const tries = (["ban", "force"] as const).map((doing) =>
    button(
      doing === "ban" ? "What if forbidden?" : "forced?",
      "",
      () => {
        const changes = page.get("view").changes ?? UNCHANGED;
        const pair: [number, number] = [page.look.layer, page.look.expert ?? 0];
        const most = changes.top_k ?? page.get("head").top_k ?? 1;
        if (!isDone(changes, doing, pair)) page.change(toggled(changes, doing, pair, most), page.look.token);
        page.toPane("whatif");
      },
      signal,
    ),
  );
  const copy = copyButton("Copy this expert's figures", () => table(page.get("expert")), "Copy data");
  root.append(swatch, layer, back, expert, on, element("span", "llama-nb-rp-space"), ...tries, copy);
  let offered = "";
  return {
    root,
    update({ layers = [], experts = 1, alive = true }: RoutingHead) {
      const key = `${layers} ${experts}`;
      if (key !== offered) {
        layer.replaceChildren(...layers.map((one) => option(`L${one}`, String(one))));
        expert.replaceChildren(
          ...Array.from({ length: experts }, (_, one) => option(`Expert ${one}`, String(one))),
        );
      }
      offered = key;
      layer.value = String(page.look.layer);
      expert.value = String(page.look.expert ?? 0);
      swatch.style.background = colourOf(page.look.expert ?? 0, experts);
      for (const one of tries) one.disabled = !alive;
    },
  };
}

function report(found: RoutingExpert, page: RoutingPage, signal: AbortSignal): HTMLElement[] {
  const { experts = 1, alive = true } = page.get("head");
  const made: HTMLElement[] = [];
  if (found.error) made.push(element("p", "llama-nb-error", found.error));
  if (found.share === undefined) return made;
  made.push(sentence(found, experts));
  if (!found.dead) {
    const left = [section("Its tokens", tokens(found.tokens ?? []))];
    const right: (HTMLElement | null)[] = [domains(found, experts), positions(found, experts)];
    made.push(columns(left, right));
    if (found.contexts?.length)
      made.push(section("Its largest routing weights", contexts(found, page, signal)));
  }
  const weights = weightsOf(found, page, signal);
  if (weights) made.push(section("Its weights, beside the others of this layer", weights));
  else if (!alive)
    made.push(element("p", "llama-nb-muted", "Its weights are not compared: the model is not loaded."));
  return made;
}

function sentence({ layer = 0, expert = 0, share = 0, dead }: RoutingExpert, experts: number): HTMLElement {
  const made = element("p", "llama-nb-rp-lead");
  made.append(element("b", "", name(layer, expert)));
  if (dead) made.append(" got no token of this text: it is dead here.");
  else
    made.append(
      " gets ",
      element("b", "", percent(share)),
      ` of the routed tokens: ${figure(share * experts)} times an even share of ${percent(1 / experts)}.`,
    );
  return made;
}

function section(title: string, content: Node): HTMLElement {
  const made = element("section", "llama-nb-rp-section");
  made.setAttribute("aria-label", title);
  made.append(element("h4", "", title), content);
  return made;
}

function columns(...sides: (HTMLElement | null)[][]): HTMLElement {
  const made = element("div", "llama-nb-rp-columns");
  for (const side of sides) {
    const column = element("div", "");
    column.append(...side.filter((one) => one !== null));
    if (column.firstChild) made.append(column);
  }
  return made;
}

/** Texts of tokens with how often, and how much more often than elsewhere. */
function tokens(found: NonNullable<RoutingExpert["tokens"]>): HTMLElement {
  if (found.length === 0) return element("p", "llama-nb-muted", "No text comes three times or more.");
  const made = element("table", "");
  const head = element("tr", "");
  head.append(element("th", "", "text"), number("th", "times"), element("th", ""), number("th", "lift"));
  made.append(head);
  head.title = "lift: its share of this expert's tokens over its share of all tokens";
  const most = Math.max(...found.map(([, , lift]) => lift), 1e-9);
  for (const [text, count, lift] of found.slice(0, MOST_TOKENS)) {
    const row = element("tr", "");
    const label = element("th", "llama-nb-rp-token");
    label.setAttribute("scope", "row");
    write(label, text);
    row.append(
      label,
      number("td", count.toLocaleString("en")),
      barCell(lift / most),
      number("td", `${figure(lift)}×`),
    );
    made.append(row);
  }
  return made;
}

function domains({ by_domain: found = [] }: RoutingExpert, experts: number): HTMLElement | null {
  if (found.length === 0) return null;
  const made = element("table", "");
  const most = Math.max(...found.map(([, share]) => share), 1 / experts);
  for (const [domain, share] of found) {
    const row = element("tr", "");
    const label = element("th", "llama-nb-rp-label", domain);
    label.setAttribute("scope", "row");
    const bar = barCell(share / most);
    bar.style.setProperty("--even", String(1 / experts / most));
    bar.classList.add("llama-nb-rp-marked");
    row.append(label, bar, number("td", percent(share)));
    made.append(row);
  }
  return section("Its share of each domain (dashed: even)", made);
}

function positions({ by_position: found = [] }: RoutingExpert, experts: number): HTMLElement | null {
  if (found.length === 0) return null;
  const tenth = (index: number) => `${10 * index} to ${10 * (index + 1)} % of the way`;
  const shares = found.map((share) => share ?? 0); // null where no text is that long
  return section(
    "Its share along the texts (dashed: even)",
    barsChart(shares, 1 / experts, ["start", "end of a text"], tenth),
  );
}

function contexts(found: RoutingExpert, page: RoutingPage, signal: AbortSignal): HTMLElement {
  const made = element("ul", "llama-nb-rp-contexts");
  for (const [before, token, after, weight, position] of found.contexts ?? []) {
    const line = element("li", "");
    const look = () => {
      page.toToken(position);
      page.toPane("tokens");
    };
    const centre = button("", "", look, signal);
    write(centre, token);
    centre.title = `token ${position}, routing weight ${figure(weight)}: show it in the text`;
    const words = element("span", "llama-nb-rp-words");
    words.append(element("bdi", "", unbroken(before)), centre, element("bdi", "", unbroken(after)));
    line.append(number("span", weight.toFixed(3)), words);
    made.append(line);
  }
  return made;
}

/** Line ends as marks; spaces as they are, since words are read here. */
function unbroken(text: string): string {
  return text.replaceAll("\n", "⏎").replaceAll("\t", "⇥");
}

function weightsOf(found: RoutingExpert, page: RoutingPage, signal: AbortSignal): HTMLElement | null {
  const { norms = [], norm, similar = [], layer = 0, expert = 0 } = found;
  if (typeof norm !== "number" && similar.length === 0) return null;
  const made = element("div", "llama-nb-rp-columns");
  if (typeof norm === "number" && norms.length > 0) made.append(normsChart(norms, expert));
  if (similar.length > 0) {
    const table = element("table", "");
    const head = element("tr", "");
    head.append(
      element("th", "", "nearest"),
      number("th", "cosine of weights"),
      number("th", "of router rows"),
    );
    table.append(head);
    const nearest = [...similar].sort((one, other) => other[1] - one[1]).slice(0, NEAREST);
    for (const [other, weights, router] of nearest) {
      const row = element("tr", "");
      const label = element("th", "");
      label.setAttribute("scope", "row");
      label.append(button(`E${other}`, "llama-nb-rp-link", () => page.toExpert(layer, other), signal));
      row.append(label, number("td", signed(weights)), number("td", signed(router)));
      table.append(row);
    }
    made.append(table);
  }
  return made;
}

/** The norms of the layer's experts on a line, with this one's marked. */
function normsChart(norms: number[], expert: number): SVGSVGElement {
  const [width, left, line] = [260, 12, 34];
  const low = Math.min(...norms);
  const span = Math.max(...norms) - low || 1;
  const x = (value: number) => left + (width - 2 * left) * ((value - low) / span);
  const drawing = svg("svg", { class: "llama-nb-rp-norms", viewBox: `0 0 ${width} 65`, role: "img" });
  const mine = norms[expert] ?? low;
  const rank = norms.filter((norm) => norm > mine).length + 1;
  drawing.setAttribute(
    "aria-label",
    `Norm of its weights ${figure(mine)}, the ${ordinal(rank)} largest of ${norms.length}; from ${figure(low)} to ${figure(low + span)}`,
  );
  const anchor = x(mine) < 70 ? "start" : x(mine) > width - 70 ? "end" : "middle";
  drawing.append(
    svg("line", { class: "llama-nb-rp-rule", x1: left, x2: width - left, y1: line, y2: line }),
    ...norms.map((norm, index) => {
      const dot = svg("circle", {
        class: "llama-nb-rp-dot",
        cx: x(norm),
        cy: line,
        r: index === expert ? 5 : 3,
      });
      dot.dataset.on = String(index === expert);
      dot.append(svg("title", {}, `E${index}: ${figure(norm)}`));
      return dot;
    }),
    svg(
      "text",
      { class: "llama-nb-rp-axis", x: x(mine), y: 18, "text-anchor": anchor },
      `E${expert}: ${figure(mine)}`,
    ),
    svg("text", { x: left, y: line + 16 }, figure(low)),
    svg("text", { x: width - left, y: line + 16, "text-anchor": "end" }, figure(low + span)),
    svg("text", { x: width / 2, y: 60, "text-anchor": "middle" }, "norm of its weights"),
  );
  return drawing;
}

function ordinal(rank: number): string {
  const ending = [11, 12, 13].includes(rank % 100) ? "th" : (["th", "st", "nd", "rd"][rank % 10] ?? "th");
  return `${rank}${ending}`;
}

function number(tag: string, text: string): HTMLElement {
  return element(tag, "llama-nb-number", text);
}

function barCell(share: number): HTMLElement {
  const made = element("td", "llama-nb-rp-bar");
  const bar = element("span", "");
  bar.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  made.append(bar);
  return made;
}

function figure(value: number): string {
  return String(Number(value.toPrecision(3)));
}

function signed(value: number): string {
  return value.toFixed(3).replace("-", "−");
}

/** Everything that is shown of an expert, as tab-separated text. */
function table(found: RoutingExpert): string {
  const rows: (string | number)[][] = [["figure", "of", "value", "lift"]];
  rows.push(["share", name(found.layer ?? 0, found.expert ?? 0), found.share ?? 0, ""]);
  for (const [domain, share] of found.by_domain ?? [])
    rows.push(["share of domain", JSON.stringify(domain), share, ""]);
  for (const [at, share] of (found.by_position ?? []).entries()) rows.push(["share of tenth", at, share, ""]);
  for (const [text, count, lift] of found.tokens ?? [])
    rows.push(["token", JSON.stringify(text), count, lift]);
  for (const [at, norm] of (found.norms ?? []).entries()) rows.push(["norm", `E${at}`, norm, ""]);
  for (const [other, weights, router] of found.similar ?? []) {
    rows.push(
      ["cosine of weights", `E${other}`, weights, ""],
      ["cosine of router rows", `E${other}`, router, ""],
    );
  }
  return rows.map((row) => row.join("\t")).join("\n");
}
