/**
 * The strongest links of a token as a list with bars: what it reads, or who reads it; each leads on to that token.
 */

import { chosen, type Look, linksOf, named, tokenText, weight } from "./attention_look";
import type { Host } from "./attention_more";
import { button, element } from "./element";

export interface LinkList {
  root: HTMLElement;
  update(look: Look): void;
}

const SHOWN = 24;
const FAINTEST = 0.0001;
/** Bars are relative to the longest, but where all is faint they are short. */
const LEAST = 0.02;

export function linkList({ turn, pin, pointLink }: Host, signal: AbortSignal): LinkList {
  const root = element("div", "llama-nb-att-links");
  const reads = button("reads", "", () => turn("row"), signal);
  reads.title = "What this token reads";
  const readBy = button("read by", "", () => turn("column"), signal);
  readBy.title = "Which later tokens read this one";
  const toggle = element("div", "llama-nb-att-toggle");
  toggle.setAttribute("role", "group");
  toggle.setAttribute("aria-label", "Direction of the links");
  toggle.append(reads, readBy);
  const who = element("div", "llama-nb-att-who");
  const list = element("ol", "");
  const rest = element("div", "llama-nb-muted llama-nb-att-rest");
  root.append(toggle, who, list, rest);
  const tokenOf = (event: Event) => {
    const row = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-token]") : null;
    return row ? Number(row.dataset.token) : null;
  };
  list.addEventListener(
    "click",
    (event) => {
      const token = tokenOf(event);
      if (token !== null) pin(token);
    },
    { signal },
  );
  list.addEventListener("pointerover", (event) => pointLink(tokenOf(event)), { signal });
  list.addEventListener("pointerleave", () => pointLink(null), { signal });
  list.addEventListener(
    "keydown",
    (event) => {
      const rows = [...list.querySelectorAll<HTMLElement>("button")];
      const at = rows.indexOf(document.activeElement as HTMLElement);
      const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
      if (next === undefined || at < 0) return;
      rows[Math.max(0, Math.min(rows.length - 1, next))]?.focus();
      event.preventDefault();
      event.stopPropagation();
    },
    { signal },
  );

  return {
    root,
    update(look) {
      reads.setAttribute("aria-pressed", String(look.by === "row"));
      readBy.setAttribute("aria-pressed", String(look.by === "column"));
      if (look.tokens === 0) return;
      const token = chosen(look);
      who.replaceChildren(
        tokenText(look.texts, token),
        element("span", "llama-nb-muted", ` ${token.toLocaleString("en")}`),
      );
      who.append(look.by === "row" ? " reads" : " is read by");
      const links = linksOf(look);
      root.setAttribute("aria-busy", String(!links));
      if (!links) return;
      const most = Math.max(links.links[0]?.[1] ?? 0, LEAST);
      const focused = list.contains(document.activeElement);
      const strong = links.links.filter(([, value], at) => at === 0 || (at < SHOWN && value >= FAINTEST));
      list.replaceChildren(...strong.map((link, at) => row(look, link, most, at === 0)));
      if (focused) list.querySelector("button")?.focus();
      rest.textContent = said(links.links.slice(strong.length), links.rest);
    },
  };
}

function said(more: [number, number][], rest: number): string {
  const left = more.reduce((sum, [, value]) => sum + value, rest);
  return left < FAINTEST / 2 ? "nothing else" : `all others: ${weight(left)}`;
}

function row(look: Look, [token, value]: [number, number], most: number, first: boolean): HTMLElement {
  const line = element("li", "");
  const go = element("button", "llama-nb-att-link") as HTMLButtonElement;
  go.type = "button";
  go.dataset.token = String(token);
  go.tabIndex = first ? 0 : -1; // arrows lead on
  const bar = element("span", "llama-nb-att-fill");
  bar.style.width = `${(100 * value) / most}%`;
  const place = element("span", "llama-nb-att-place", token.toLocaleString("en"));
  go.append(bar, tokenText(look.texts, token), place, element("span", "llama-nb-att-value", weight(value)));
  go.title = `${named(look.texts, token, 60)}, token ${token}: ${weight(value)}. Click: its own links`;
  line.append(go);
  return line;
}
