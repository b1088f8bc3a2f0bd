/** Tabs over one panel each, of which one is open; arrow keys go from tab to tab. */

import { element } from "./element";

export interface Tab {
  name: string;
  label: string;
  panel: HTMLElement;
}

export interface Tabs {
  root: HTMLElement;
  open: string;
  go(name: string): void;
  /** What stands behind a tab's label, such as how many there are. */
  badge(name: string, text: string): void;
}

let made = 0;

export function tabs(all: Tab[], opened: (name: string) => void, signal: AbortSignal): Tabs {
  const root = element("div", "llama-nb-tr-tabs");
  root.setAttribute("role", "tablist");
  root.setAttribute("aria-label", "What is shown");
  made += 1;
  const heads = all.map(({ name, label, panel }) => {
    const head = element("button", "", label) as HTMLButtonElement;
    head.type = "button";
    head.id = `llama-nb-tr-${made}-${name}`;
    head.dataset.tab = name;
    head.setAttribute("role", "tab");
    head.append(element("span", "llama-nb-tr-badge"));
    head.addEventListener("click", () => it.go(name), { signal });
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", head.id);
    root.append(head);
    return head;
  });
  root.addEventListener(
    "keydown",
    (event) => {
      const at = heads.findIndex((head) => head.contains(event.target as Node));
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: heads.length - 1 }[event.key];
      const next = to === undefined || at < 0 ? undefined : heads[(to + heads.length) % heads.length];
      if (!next) return;
      event.preventDefault();
      event.stopPropagation();
      next.click();
      next.focus();
    },
    { signal },
  );
  const it: Tabs = {
    root,
    open: "",
    go(name) {
      it.open = name;
      all.forEach((tab, index) => {
        tab.panel.hidden = tab.name !== name;
        heads[index]?.setAttribute("aria-selected", String(tab.name === name));
        if (heads[index]) heads[index].tabIndex = tab.name === name ? 0 : -1;
      });
      opened(name);
    },
    badge(name, text) {
      const head = heads.find((each) => each.dataset.tab === name);
      const badge = head?.querySelector(".llama-nb-tr-badge");
      if (badge && badge.textContent !== text) badge.textContent = text;
    },
  };
  return it;
}
