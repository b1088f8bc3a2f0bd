/**
 * What comes after the first picture: the text with arcs, links, legend, ways to find heads, and what opens on demand.
 *
 * A bundle of its own, so that heads and map are drawn at once and no widget's state holds more than it must.
 */

import type { Ask } from "./attention_asked";
import type { Pane } from "./attention_bar";
import { comparePane } from "./attention_compare";
import { exportPane } from "./attention_export";
import { type Find, find } from "./attention_find";
import { type Legend, legend } from "./attention_legend";
import { type LinkList, linkList } from "./attention_links";
import type { Look } from "./attention_look";
import type { Maps } from "./attention_maps";
import { offPane } from "./attention_off";
import { type ArcStrip, arcStrip } from "./attention_strip";
import { element } from "./element";
import type { AttentionEffect } from "./shapes";

/** What the parts may use of the explorer. */
export interface Host {
  ask: Ask;
  look: Look;
  maps: Maps;
  go(layer: number, head: number): void;
  pin(token: number): void;
  point(token: number | null): void;
  pointLink(token: number | null): void;
  turn(by: Look["by"]): void;
  draw(): void;
  close(): void;
}

export interface Panes {
  root: HTMLElement;
  update(open: Pane | "", effect: AttentionEffect): void;
  /** The data that were asked for. */
  data(text: string): void;
  focus(): void;
}

export interface More {
  find: Find;
  links: LinkList;
  legend: Legend;
  strip: ArcStrip;
  panes: Panes;
}

function panes(host: Host, signal: AbortSignal): Panes {
  const root = element("div", "llama-nb-att-panes");
  const compare = comparePane(host, signal);
  const off = offPane(host, signal);
  const out = exportPane(host, signal);
  const all = { compare, off, export: out };
  let shown: Pane | "" = "";
  for (const [name, pane] of Object.entries(all)) {
    pane.root.dataset.pane = name;
    root.append(pane.root);
  }
  root.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape" || event.defaultPrevented) return;
      host.close();
      event.stopPropagation();
    },
    { signal },
  );
  return {
    root,
    data: out.data,
    focus: () =>
      root.querySelector<HTMLElement>(":scope > :not([hidden]) :is(select, button):enabled")?.focus(),
    update(open, effect) {
      if (open !== shown) {
        if (open === "compare") compare.begin();
        else if (open === "" && shown === "compare") compare.end();
      }
      shown = open;
      for (const [name, pane] of Object.entries(all)) pane.root.hidden = name !== open;
      if (open === "compare") compare.update();
      else if (open === "off") off.update(effect);
    },
  };
}

function more(host: Host, signal: AbortSignal): More {
  return {
    find: find(host, signal),
    links: linkList(host, signal),
    legend: legend(host, signal),
    strip: arcStrip(host.pin, host.point, signal),
    panes: panes(host, signal),
  };
}

export default more;
