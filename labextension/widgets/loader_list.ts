/**
 * The loader panel's left side: a search box over a list of models. Knows names; knows no plan and no kernel.
 *
 * The box is a combobox: the list stays open, the arrow keys move through it while the box keeps the focus, Enter
 * chooses. What is typed but not listed can be chosen as it is: a hub id or a folder.
 */

import { element } from "./element";
import type { LoaderCatalogue, LoaderEntry } from "./shapes";

export interface ModelList {
  root: HTMLElement;
  search: HTMLInputElement;
  /** Draw the entries; `chosen` is the source of the one that the panel shows. */
  update(catalogue: LoaderCatalogue, chosen: string): void;
}

interface Row {
  source: string;
  node: HTMLElement;
}

const GROUPS: [string, (entry: LoaderEntry) => boolean][] = [
  ["Here already", (entry) => entry.where !== "hub"],
  ["On the hub: fits here", (entry) => FITTING.has(entry.fits)],
  ["On the hub: too big for here", (entry) => entry.fits === "does not fit"],
  ["On the hub: cannot be loaded yet", () => true],
];
const FITTING = new Set(["fits", "tight"]);
const WHERE = new Map([
  ["loaded", "loaded"],
  ["bundled", "bundled"],
  ["cached", "on disk"],
  ["typed", "as typed"],
]);
const FITS = new Map([
  ["fits", "✓"],
  ["tight", "△"],
  ["does not fit", "✕"],
]);
/** A hub id, or what begins like a path. */
const LOADABLE = /^([\w.-]+\/[\w.-]+|[.~]?\.?[\\/].+|[a-z]:[\\/].+)$/i;
const SKELETON_ROWS = 5;

let lists = 0;

/** Make the list. `choose` gets the source of an entry, `find` what was typed. */
export function modelList(
  choose: (source: string) => void,
  find: (text: string) => void,
  signal: AbortSignal,
): ModelList {
  const id = `llama-nb-models-${++lists}`;
  const root = element("div", "llama-nb-load-models");
  const search = searchBox(id);
  const box = element("div", "llama-nb-load-listbox");
  box.id = id;
  box.setAttribute("role", "listbox");
  box.setAttribute("aria-label", "Models");
  root.append(search, box);

  let entries: LoaderEntry[] | undefined;
  let chosen = "";
  let active = "";
  let rows: Row[] = [];

  const activate = (source: string, scroll = true) => {
    active = source;
    search.removeAttribute("aria-activedescendant");
    for (const row of rows) {
      const here = row.source === source;
      row.node.classList.toggle("llama-nb-load-active", here);
      if (!here) continue;
      search.setAttribute("aria-activedescendant", row.node.id);
      if (scroll) row.node.scrollIntoView?.({ block: "nearest" });
    }
  };
  const take = (source: string) => {
    const listed = entries?.some((entry) => entry.source === source);
    if (listed) choose(source);
    else find(source);
  };
  const draw = () => {
    const top = box.scrollTop;
    const typed = search.value.trim();
    rows = [];
    const add = (source: string, node: HTMLElement) => {
      node.id = `${id}-${rows.length}`;
      node.setAttribute("role", "option");
      node.setAttribute("aria-selected", String(source === chosen));
      node.addEventListener("click", () => take(source), { signal });
      rows.push({ source, node });
      return node;
    };
    const kept = (entries ?? []).filter((entry) => matches(entry, typed));
    const groups = GROUPS.map(([title], number) => {
      const members = kept.filter((entry) => groupOf(entry) === number);
      const nodes = members.map((entry) => add(entry.source, option(entry)));
      return nodes.length ? group(title, nodes, `${id}-group-${number}`) : null;
    });
    const exact = kept.some((entry) => [entry.source, entry.name].includes(typed));
    const asTyped =
      LOADABLE.test(typed) && !exact
        ? group("As typed", [add(typed, typedOption(typed))], `${id}-typed`)
        : null;
    const shown = [...groups, asTyped].filter((part) => part !== null);
    if (entries === undefined) box.replaceChildren(...skeleton());
    else box.replaceChildren(...(shown.length ? shown : [nothing(typed)]));
    box.setAttribute("aria-busy", String(entries === undefined));
    box.scrollTop = top;
    const first = rows[0]?.source ?? "";
    activate(rows.some((row) => row.source === active) ? active : first, typed !== "");
  };
  const move = (by: number) => {
    const at = rows.findIndex((row) => row.source === active);
    const next = rows[Math.min(Math.max(at + by, 0), rows.length - 1)];
    if (next) activate(next.source);
  };
  const keys: Record<string, () => void> = {
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    PageDown: () => move(6),
    PageUp: () => move(-6),
    Enter: () => active && take(active),
    Escape: () => {
      search.value = "";
      draw();
    },
  };
  search.addEventListener(
    "keydown",
    (event) => {
      const act =
        event.altKey || event.ctrlKey || event.metaKey || event.shiftKey ? undefined : keys[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    },
    { signal },
  );
  search.addEventListener(
    "input",
    () => {
      active = "";
      draw();
    },
    { signal },
  );
  draw();

  return {
    root,
    search,
    update(catalogue, source) {
      entries = catalogue.entries;
      if (source !== chosen) active = source;
      chosen = source;
      draw();
    },
  };
}

/** Whether every typed word stands in what is known of the model. */
export function matches(entry: LoaderEntry, typed: string): boolean {
  const known = [
    entry.name,
    entry.source,
    entry.family,
    entry.size,
    entry.parameters,
    entry.parameters.replace(" ", ""),
    entry.kind,
    entry.where,
    WHERE.get(entry.where),
    entry.licence,
  ];
  const text = known.join(" ").toLowerCase();
  return typed
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

function searchBox(listId: string): HTMLInputElement {
  const search = document.createElement("input");
  search.type = "text";
  search.spellcheck = false;
  search.autocomplete = "off";
  search.placeholder = "Search, or a hub id or ./folder";
  const attributes = {
    role: "combobox",
    "aria-label": "Search models; a hub id or a folder can be typed too",
    "aria-expanded": "true",
    "aria-autocomplete": "list",
    "aria-controls": listId,
  };
  for (const [name, value] of Object.entries(attributes)) search.setAttribute(name, value);
  return search;
}

function groupOf(entry: LoaderEntry): number {
  return GROUPS.findIndex(([, belongs]) => belongs(entry));
}

function group(title: string, members: HTMLElement[], id: string): HTMLElement {
  const root = element("div", "llama-nb-load-group");
  const heading = element("div", "llama-nb-load-heading", title);
  heading.id = id;
  root.setAttribute("role", "group");
  root.setAttribute("aria-labelledby", id);
  root.append(heading, ...members);
  return root;
}

function option(entry: LoaderEntry): HTMLElement {
  const row = element("div", "llama-nb-load-option");
  const name = element("span", "llama-nb-load-name", entry.name);
  const where = WHERE.get(entry.where);
  const gate = entry.gated && entry.where === "hub" ? "gated" : "";
  row.title = [entry.name, entry.family, where, entry.parameters, gate, fitText(entry)]
    .filter(Boolean)
    .join(" · ");
  row.append(name);
  if (where && entry.where !== "cached") row.append(element("span", "llama-nb-load-tag", where));
  row.append(fitBadge(entry));
  row.classList.toggle("llama-nb-load-faint", entry.fits === "does not fit");
  return row;
}

function fitBadge(entry: LoaderEntry): HTMLElement {
  const mark = FITS.get(entry.fits);
  const text = mark ? `${mark} ${entry.quant}`.trim() : "";
  const node = element("span", "llama-nb-load-fit", text);
  node.dataset.fits = entry.fits;
  node.setAttribute("aria-label", fitText(entry));
  return node;
}

function fitText(entry: LoaderEntry): string {
  if (entry.fits === "does not fit") return "does not fit in the free memory";
  if (!FITS.has(entry.fits)) return "";
  return entry.fits === "tight" ? `tight with ${entry.quant}` : `fits as ${entry.quant}`;
}

function typedOption(text: string): HTMLElement {
  const row = element("div", "llama-nb-load-option");
  row.append(element("span", "llama-nb-load-name", text), element("span", "llama-nb-load-tag", "look it up"));
  return row;
}

function nothing(typed: string): HTMLElement {
  const hint = "Nothing of that name. A hub id (OWNER/NAME) or a folder (./NAME) can be typed too.";
  return element("div", "llama-nb-load-nothing", typed ? hint : "No models.");
}

function skeleton(): HTMLElement[] {
  return Array.from({ length: SKELETON_ROWS }, () => {
    const line = element("div", "llama-nb-skeleton");
    line.setAttribute("aria-hidden", "true");
    return line;
  });
}
