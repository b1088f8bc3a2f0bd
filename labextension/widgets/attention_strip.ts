/**
 * The text as a line of tokens with arcs from the chosen one to what it reads, or to those that read it.
 *
 * A window of the text stands in the page; it follows the scroll bar and the chosen token. Links that lead out of
 * the window end at its edge. Texts are untrusted and only ever become text.
 */

import { chosen, type Look, linksOf, weight } from "./attention_look";
import { element } from "./element";
import { svg } from "./svg";
import { visible, write } from "./token_strip";

export interface ArcStrip {
  root: HTMLElement;
  update(look: Look): void;
}

const WINDOW = 240;
const ARCS = 34;
/** Weaker links are in the list only. */
const FAINTEST = 0.004;

export function arcStrip(
  pin: (token: number) => void,
  point: (token: number | null) => void,
  signal: AbortSignal,
): ArcStrip {
  const root = element("div", "llama-nb-att-strip");
  const inner = element("div", "llama-nb-att-text");
  const arcs = svg("svg", { "aria-hidden": "true", height: ARCS });
  const list = element("div", "llama-nb-att-tokens");
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Tokens");
  list.setAttribute("aria-orientation", "horizontal");
  inner.append(arcs, list);
  root.append(inner);
  let first = 0;
  const chips: HTMLElement[] = [];
  let look: Look | null = null;
  let pinned = -1;
  let seen = -1;
  let settled = false;

  const indexOf = (event: Event) => {
    const chip = event.target instanceof Element ? event.target.closest<HTMLElement>("[role=option]") : null;
    return chip ? first + chips.indexOf(chip) : null;
  };
  list.addEventListener(
    "click",
    (event) => {
      const token = indexOf(event);
      if (token !== null) pin(token);
    },
    { signal },
  );
  list.addEventListener(
    "pointerover",
    (event) => {
      if (event.pointerType !== "touch") point(indexOf(event));
    },
    { signal },
  );
  list.addEventListener("pointerleave", () => point(null), { signal });
  list.addEventListener(
    "keydown",
    (event) => {
      if (!look || event.altKey || event.ctrlKey || event.metaKey) return;
      const to = {
        ArrowRight: look.pinned + 1,
        ArrowLeft: look.pinned - 1,
        PageDown: look.pinned + 20,
        PageUp: look.pinned - 20,
        Home: 0,
        End: look.tokens - 1,
      }[event.key];
      if (to === undefined) return;
      pin(Math.max(0, Math.min(look.tokens - 1, to)));
      event.preventDefault();
      event.stopPropagation();
    },
    { signal },
  );
  root.addEventListener(
    "scroll",
    () => {
      if (!look || look.tokens <= WINDOW) return;
      const atEnd = root.scrollLeft + root.clientWidth > root.scrollWidth - 4;
      if (atEnd && first + WINDOW < look.tokens) shift(first + WINDOW / 2);
      else if (root.scrollLeft < 4 && first > 0) shift(first - WINDOW / 2);
    },
    { signal, passive: true },
  );

  /** Show another window, with what was seen where it was. */
  const shift = (to: number) => {
    if (!look) return;
    const kept = Math.round(first + (to > first ? WINDOW - 1 : 0));
    const before = chips[kept - first]?.getBoundingClientRect().left ?? 0;
    first = startAt(to, look.tokens);
    draw(look);
    const after = chips[kept - first]?.getBoundingClientRect().left;
    if (after !== undefined) root.scrollLeft += after - before;
  };
  const draw = (now: Look) => {
    const end = Math.min(now.tokens, first + WINDOW);
    now.texts.want(first, end);
    while (chips.length < end - first) {
      const chip = element("span", "llama-nb-chip");
      chip.setAttribute("role", "option");
      chips.push(chip);
      list.append(chip);
    }
    for (const chip of chips.splice(end - first)) chip.remove();
    const links = linksOf(now);
    const strength = new Map(links?.links ?? []);
    const focus = chosen(now);
    for (const [index, chip] of chips.entries()) {
      const token = first + index;
      drawChip(chip, now, token, strength.get(token) ?? 0, focus === token);
    }
    drawArcs(arcs, chips, first, focus, links?.links ?? [], inner);
  };
  const update = (now: Look) => {
    const focused = list.contains(document.activeElement);
    // A row that is pointed at on the map is shown here, too; what is pointed at here stays where it is.
    const target = now.cell && now.hovered !== null ? now.hovered : now.pinned;
    const moved = target !== seen || !settled;
    look = now;
    if (moved && (target < first || target >= first + WINDOW))
      first = startAt(target - WINDOW / 2, now.tokens);
    first = startAt(first, now.tokens);
    draw(now);
    if (moved) toSight(root, chips[target - first]);
    if (focused && now.pinned !== pinned) chips[now.pinned - first]?.focus({ preventScroll: true });
    // Tokens whose texts come later are wider then: the place in sight is found again.
    settled = now.texts.text(first) !== null && now.texts.text(first + chips.length - 1) !== null;
    seen = target;
    pinned = now.pinned;
  };
  return { root, update };
}

function startAt(first: number, tokens: number): number {
  return Math.round(Math.max(0, Math.min(first, tokens - WINDOW)));
}

function toSight(root: HTMLElement, chip: HTMLElement | undefined): void {
  if (!chip) return;
  const left = chip.offsetLeft;
  const room = root.clientWidth;
  if (left < root.scrollLeft + 30 || left + chip.offsetWidth > root.scrollLeft + room - 30)
    root.scrollLeft = left - room / 2;
}

function drawChip(chip: HTMLElement, look: Look, token: number, strength: number, on: boolean): void {
  const text = look.texts.text(token);
  const shown = visible(text ?? "…");
  if (chip.textContent !== shown) write(chip, text ?? "…");
  chip.classList.toggle("llama-nb-pill", look.texts.special(token));
  chip.dataset.made = String(token >= (look.head.prompt ?? look.tokens));
  chip.tabIndex = token === look.pinned ? 0 : -1;
  chip.setAttribute("aria-selected", String(token === look.pinned));
  chip.dataset.on = String(on);
  chip.style.setProperty("--ln-link", `${Math.round(100 * Math.sqrt(Math.min(1, strength)))}%`);
  const verb = look.by === "row" ? "is read with" : "reads with";
  chip.title = `token ${token}: ${shown}${strength > 0 && !on ? `, ${verb} ${weight(strength)}` : ""}`;
  chip.setAttribute("aria-label", chip.title);
}

/** An arc a link, as thick as it is strong, the strongest last. */
function drawArcs(
  into: SVGSVGElement,
  chips: HTMLElement[],
  first: number,
  focus: number,
  links: [number, number][],
  inner: HTMLElement,
): void {
  const width = Math.max(inner.scrollWidth, 1);
  into.setAttribute("width", String(width));
  const middle = (token: number) => {
    const chip = chips[token - first];
    if (chip) return chip.offsetLeft + chip.offsetWidth / 2;
    return token < first ? -12 : width + 12;
  };
  const from = middle(focus);
  const parts = links
    .filter(([token, value]) => value >= FAINTEST && token !== focus)
    .reverse()
    .map(([token, value]) => arc(from, middle(token), value));
  const self = links.find(([token]) => token === focus);
  if (self && self[1] >= FAINTEST) parts.push(loop(from, self[1]));
  into.replaceChildren(...parts);
}

function inked(value: number): Record<string, string | number> {
  const share = Math.sqrt(value);
  return { class: "llama-nb-att-arc", "stroke-width": 0.7 + 4.3 * share, opacity: 0.25 + 0.7 * share };
}

function arc(from: number, to: number, value: number): SVGElement {
  const high = ARCS - 3 - Math.min(ARCS - 6, 5 + Math.sqrt(Math.abs(from - to)) * 1.7);
  const path = `M${from} ${ARCS} C${from} ${high} ${to} ${high} ${to} ${ARCS}`;
  return svg("path", { d: path, ...inked(value) });
}

/** What a token reads of itself. */
function loop(at: number, value: number): SVGElement {
  const path = `M${at - 3} ${ARCS} C${at - 9} ${ARCS - 13} ${at + 9} ${ARCS - 13} ${at + 3} ${ARCS}`;
  return svg("path", { d: path, ...inked(value) });
}
