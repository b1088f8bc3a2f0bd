/** The explorer's first line, what is looked at and of which domain; and the tabs of what is shown of it. */

import { element, option } from "./element";
import type { RoutingPage } from "./routing_page";
import type { RoutingHead, RoutingPane } from "./shapes";
import { visible } from "./token_strip";

export interface Bar {
  root: HTMLElement;
  update(): void;
  say(text: string): void;
}

const TABS: [RoutingPane, string, string][] = [
  ["tokens", "Tokens", "Each token with its expert, layer by layer"],
  ["paths", "Paths", "How tokens flow from layer to layer"],
  ["expert", "Expert", "One expert: its tokens, its share, what it resembles"],
  ["whatif", "What if", "Forbid or force experts and see what changes"],
  ["cost", "Cost", "What all experts weigh, and what one token reads of them"],
];

export function bar(page: RoutingPage, signal: AbortSignal): Bar {
  const root = element("div", "llama-nb-moe-bar");
  const what = element("span", "llama-nb-muted llama-nb-moe-what");
  const status = element("span", "llama-nb-moe-status");
  status.setAttribute("role", "status");
  const domain = element("select", "llama-nb-moe-domain") as HTMLSelectElement;
  domain.setAttribute("aria-label", "Domain");
  domain.addEventListener("change", () => page.toDomain(domain.value), { signal });
  root.append(element("span", "llama-nb-title", "Experts"), what, status, domain);
  let listed: string[] = [];
  return {
    root,
    say(text) {
      status.textContent = text;
    },
    update() {
      const head = page.get("head");
      what.textContent = described(head);
      what.title = [what.textContent, head.architecture, head.bytes].filter(Boolean).join(" · ");
      const domains = head.domains ?? [];
      if (domains.join("\n") !== listed.join("\n")) {
        listed = domains;
        domain.replaceChildren(
          option("all domains", ""),
          ...domains.map((each) => option(visible(each), each)),
        );
      }
      domain.hidden = domains.length === 0;
      domain.value = page.look.domain;
    },
  };
}

function described(head: RoutingHead): string {
  const { model, title, experts = 0, top_k = 1, shared, gate, tokens = 0, prompt = tokens } = head;
  if (!model) return "";
  const count = `${tokens.toLocaleString("en")} tokens`;
  const parts = [
    model,
    `${experts} experts, ${top_k} chosen${shared ? " + shared" : ""}, ${gate}`,
    head.changed ?? "",
    prompt < tokens ? `${count}, ${tokens - prompt} written` : count,
    (head.documents ?? 1) > 1 ? `${head.documents?.toLocaleString("en")} texts` : "",
    title ?? "",
  ];
  if (head.growing) parts.push("writing");
  if (head.alive === false) parts.push("model unloaded");
  return parts.filter(Boolean).join(" · ");
}

export function tabs(
  page: RoutingPage,
  panel: HTMLElement,
  signal: AbortSignal,
): Bar["update"] & { root: HTMLElement } {
  const root = element("div", "llama-nb-moe-tabs");
  root.setAttribute("role", "tablist");
  root.setAttribute("aria-label", "What is shown");
  const made = TABS.map(([pane, label, meaning]) => {
    const tab = element("button", "", label) as HTMLButtonElement;
    tab.type = "button";
    tab.title = meaning;
    tab.setAttribute("role", "tab");
    tab.dataset.pane = pane;
    tab.addEventListener("click", () => page.toPane(pane), { signal });
    root.append(tab);
    return tab;
  });
  root.addEventListener(
    "keydown",
    (event) => {
      const at = made.indexOf(event.target as HTMLButtonElement);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: made.length - 1 }[event.key];
      const next = to === undefined || at < 0 ? undefined : made[(to + made.length) % made.length];
      if (!next) return;
      event.preventDefault();
      event.stopPropagation();
      next.click();
      next.focus();
    },
    { signal },
  );
  const update = () => {
    for (const tab of made) {
      const on = tab.dataset.pane === page.look.pane;
      tab.setAttribute("aria-selected", String(on));
      tab.tabIndex = on ? 0 : -1;
      if (on) panel.setAttribute("aria-label", tab.textContent ?? "");
    }
  };
  return Object.assign(update, { root });
}
