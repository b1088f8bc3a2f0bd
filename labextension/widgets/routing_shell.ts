/** The explorer's parts in their places, drawn from the look; the other panes once their code has come. */

import { element } from "./element";
import { ownKeys } from "./keys";
import { type PartCode, partCode } from "./part_code";
import type { Asked } from "./routing_asked";
import { bar, tabs } from "./routing_bar";
import { detail } from "./routing_detail";
import { layers } from "./routing_layers";
import { legend } from "./routing_legend";
import { loadMap } from "./routing_map";
import type { Further, MakePane, More, Pane } from "./routing_page";
import type { Steps } from "./routing_steps";
import { strip } from "./routing_strip";
import type { RoutingPart } from "./shapes";

export interface Shell {
  root: HTMLElement;
  paint(): void;
  say(text: string): void;
  /** The kernel sent the code of a part. */
  code(part: RoutingPart, text: string): void;
}

export function shell(page: Steps, asked: Asked, draw: () => void, signal: AbortSignal): Shell {
  const root = element("div", "llama-nb-view llama-nb-moe");
  root.setAttribute("role", "region");
  root.setAttribute("aria-label", "Routing explorer");
  ownKeys(root);
  const top = bar(page, signal);
  const map = loadMap(page, draw, signal);
  const below = legend(page, map, draw, signal);
  const panel = element("div", "llama-nb-moe-panel");
  panel.setAttribute("role", "tabpanel");
  const choose = tabs(page, panel, signal);
  const control = layers(page, signal);
  const text = strip(page, control.play, signal);
  const beside = detail(page, asked, signal);
  const body = element("div", "llama-nb-moe-tokens");
  const column = element("div", "llama-nb-moe-text");
  const error = element("div", "llama-nb-error");
  error.setAttribute("role", "alert");
  column.append(text.root, control.pages);
  body.append(column, beside.root);
  const host = element("div", "llama-nb-moe-pane");
  panel.append(control.root, body, host);
  const choice = element("div", "llama-nb-moe-choice");
  choice.append(choose.root);
  root.append(top.root, map.root, below.root, choice, panel, error);

  const code = {
    more: partCode<More>(() => page.ask({ kind: "code", part: "more" })),
    further: partCode<Further>(() => page.ask({ kind: "code", part: "further" })),
  };
  void code.more.get().then((more) => {
    if (signal.aborted) return;
    choice.append(
      element("span", "llama-nb-muted", "map"),
      ...more.mapButtons(page, map.canvas, below.by, signal),
    );
    control.root.append(...more.tokenButtons(page));
  });
  const other = panes(page, host, code, draw, signal);
  return {
    root,
    say: top.say,
    code: (part, given) => void code[part]?.arrived(given),
    paint() {
      root.dataset.empty = String(!page.get("head").layers?.length);
      root.dataset.pane = page.look.pane;
      error.textContent = page.get("error");
      error.hidden = !error.textContent;
      top.update();
      below.update();
      choose();
      const tokens = page.look.pane === "tokens";
      for (const part of [control.root, body]) part.hidden = !tokens;
      host.hidden = tokens;
      if (tokens) for (const part of [control, text, beside]) part.update();
      other();
    },
  };
}

/** Draws the pane that is open, unless that is the tokens: makes it when it opens, ends it when another does. */
function panes(
  page: Steps,
  host: HTMLElement,
  code: Record<RoutingPart, PartCode<MakePane>>,
  draw: () => void,
  signal: AbortSignal,
): () => void {
  let open: { kind: string; pane: Pane } | null = null;
  const leave = () => {
    open?.pane.remove();
    open = null;
    host.replaceChildren();
  };
  signal.addEventListener("abort", leave);
  return () => {
    const kind = page.look.pane;
    if (open && open.kind !== kind) leave();
    if (kind === "tokens") return;
    const part = kind === "paths" ? code.more : code.further;
    const make = part.now();
    host.setAttribute("aria-busy", String(make === null));
    if (make === null) {
      void part.get().then(() => !signal.aborted && draw());
      return;
    }
    open ??= { kind, pane: make(kind, host, page) };
    open.pane.update();
  };
}
