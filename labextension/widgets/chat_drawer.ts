/** What opens beside the conversation: sampling, system prompt, tree, export. One at a time; Esc closes it. */

import { type ExportPane, exportPane } from "./chat_export";
import type { Drawer } from "./chat_head";
import type { Say } from "./chat_step";
import { type TreePane, treePane } from "./chat_tree";
import { copyButton } from "./copy";
import { button, element, option } from "./element";
import type { SamplingState } from "./shapes";
import { sliders } from "./sliders";

export interface Drawers {
  root: HTMLElement;
  open: Drawer | "";
  toggle(drawer: Drawer): void;
  tree: TreePane;
  exported: ExportPane;
  sampling(state: SamplingState): void;
  system(text: string): void;
}

const TITLES: Record<Drawer, string> = {
  sampling: "Sampling",
  system: "System prompt",
  tree: "Branches",
  export: "Export",
};

export function drawers(
  say: Say,
  insert: (text: string) => boolean,
  opened: (drawer: Drawer | "") => void,
  reveal: (id: string) => void,
  signal: AbortSignal,
): Drawers {
  const root = element("div", "llama-nb-drawer");
  root.setAttribute("role", "region");
  root.hidden = true;
  const title = element("span", "llama-nb-title");
  const close = button("✕", "llama-nb-quiet", () => drawer.toggle(drawer.open as Drawer), signal);
  close.setAttribute("aria-label", "Close");
  const head = element("div", "llama-nb-drawer-head");
  head.append(title, close);
  const go = (id: string, shown: boolean) => (shown ? reveal(id) : say({ kind: "goto", id, tip: true }));
  const tree = treePane(go, signal);
  const exported = exportPane(say, insert, signal);
  const sampling = samplingPane(say, insert, signal);
  const system = systemPane(say, signal);
  const panes: Record<Drawer, HTMLElement> = {
    sampling: sampling.root,
    system: system.root,
    tree: tree.root,
    export: exported.root,
  };
  for (const pane of Object.values(panes)) pane.classList.add("llama-nb-pane");
  root.append(head, ...Object.values(panes));
  root.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape" || event.defaultPrevented) return;
      event.preventDefault();
      event.stopPropagation();
      drawer.toggle(drawer.open as Drawer);
    },
    { signal },
  );
  const drawer: Drawers = {
    root,
    open: "",
    tree,
    exported,
    sampling: sampling.update,
    system: system.update,
    toggle(name) {
      drawer.open = drawer.open === name ? "" : name;
      root.hidden = !drawer.open;
      for (const [key, pane] of Object.entries(panes)) pane.hidden = key !== drawer.open;
      opened(drawer.open);
      if (!drawer.open) return;
      title.textContent = TITLES[drawer.open];
      root.setAttribute("aria-label", TITLES[drawer.open]);
      if (drawer.open === "tree") {
        tree.opened();
        say({ kind: "tree" });
      }
      if (drawer.open === "export") exported.ask();
      panes[drawer.open].querySelector<HTMLElement>("input, textarea, select, [tabindex='0']")?.focus();
    },
  };
  return drawer;
}

function samplingPane(say: Say, insert: (text: string) => boolean, signal: AbortSignal) {
  const root = element("div", "");
  const presets = element("select", "") as HTMLSelectElement;
  presets.setAttribute("aria-label", "Preset");
  presets.addEventListener(
    "change",
    () => {
      if (presets.value) say({ kind: "preset", name: presets.value });
      presets.value = "";
    },
    { signal },
  );
  const set = sliders((name, value) => say({ kind: "set", name, value }), signal);
  let line = "";
  const shown = element("code", "");
  const row = element("div", "llama-nb-line");
  const cell = button("Insert", "llama-nb-copy", () => insert(line), signal);
  cell.setAttribute("aria-label", "Insert the command as a cell");
  row.append(
    shown,
    copyButton("Copy the command", () => line),
    cell,
  );
  const note = element("p", "llama-nb-muted", "From the next answer on, in this session.");
  root.append(presets, set.root, note, row);
  const update = ({ controls = [], line: command = "", presets: names = [] }: SamplingState) => {
    const key = names.join("\n");
    if (presets.dataset.key !== key)
      presets.replaceChildren(option("Preset …", ""), ...names.map((name) => option(name, name)));
    presets.dataset.key = key;
    set.update(controls);
    line = command;
    shown.textContent = command;
    row.hidden = !command;
  };
  return { root, update };
}

function systemPane(say: Say, signal: AbortSignal) {
  const root = element("div", "");
  const field = document.createElement("textarea");
  field.setAttribute("aria-label", "System prompt");
  field.placeholder = "Who the model shall be, or how it shall answer";
  let held = "";
  const use = button("Use it", "llama-nb-primary", () => apply(), signal);
  const apply = () => say({ kind: "system", text: field.value });
  const draw = () => {
    use.disabled = field.value === held;
  };
  field.addEventListener("input", draw, { signal });
  field.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) apply();
    },
    { signal },
  );
  const row = element("div", "llama-nb-edit-row");
  row.append(element("span", "llama-nb-muted", "From the next message on. Ctrl+Enter uses it."), use);
  root.append(field, row);
  const update = (text: string) => {
    // What is being typed is not overwritten.
    if (field.value === held) field.value = text;
    held = text;
    draw();
  };
  return { root, update };
}
