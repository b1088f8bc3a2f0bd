/**
 * An answer as its tokens, and what could have stood at each: bars before and after sampling, a click goes on there.
 *
 * What is drawn comes as the rows of the kernel's "tokens" message.
 */

import { button, element } from "./element";
import { percent, type Shading, type StripToken, tokenStrip, visible } from "./token_strip";

/** id, text, log-probability before and after sampling (none: ruled out), special, forbidden; the end may be missing. */
export type Other = [number, string, (number | null)?, (number | null)?, number?, number?];
/** id, text, log-probability, entropy in nats, special, share that the grammar forbade, alternatives. */
export type TokenRow = [number | null, string, number | null, number | null, number, number | null, Other[]];

const WIDTH = 320;

/** Draw the tokens. `branch` gets a position and the id of the token that shall stand there. */
export function tokenView(
  rows: TokenRow[],
  branch: (position: number, token: number) => void,
  close: () => void,
  signal: AbortSignal,
): HTMLElement {
  const root = element("div", "llama-nb-token-view");
  let by: Shading = "probability";
  let picked: number | null = null;
  const tokens: StripToken[] = rows.map(([, text, logprob, entropy, special]) => ({
    text,
    special: Boolean(special),
    probability: logprob === null ? null : Math.exp(logprob),
    entropy,
  }));
  const popover = element("div", "llama-nb-alternatives");
  popover.hidden = true;
  const draw = () => strip.update(tokens, by, picked);
  const shut = (focus: boolean) => {
    popover.hidden = true;
    if (focus) root.querySelector<HTMLElement>("[role=option][tabindex='0']")?.focus();
    picked = null;
    draw();
  };
  const open = (index: number, anchor: HTMLElement) => {
    const row = rows[index];
    if (!row) return;
    if (picked === index) return shut(true);
    picked = index;
    draw();
    const take = (token: number) => {
      shut(false);
      branch(index, token);
    };
    fillPopover(popover, row, take, signal);
    popover.hidden = false;
    const box = anchor.getBoundingClientRect();
    const frame = root.getBoundingClientRect();
    const room = Math.max(0, frame.width - Math.min(WIDTH, frame.width));
    popover.style.left = `${Math.min(Math.max(0, box.left - frame.left - 12), room)}px`;
    popover.style.top = `${box.bottom - frame.top + 5}px`;
    popover.scrollIntoView?.({ block: "nearest" });
    popover.querySelector<HTMLElement>("button:not(:disabled)")?.focus();
  };
  const strip = tokenStrip("Tokens of the answer", open, signal);
  const shading = button(
    "",
    "llama-nb-shading",
    () => {
      by = by === "probability" ? "entropy" : "probability";
      name();
      draw();
    },
    signal,
  );
  const name = () => {
    shading.textContent = by === "probability" ? "Shade by entropy" : "Shade by probability";
  };
  name();
  const bar = element("div", "llama-nb-tokens-bar");
  bar.append(
    element("span", "llama-nb-muted", "Pick a token: what else could stand there?"),
    shading,
    button("Text", "", close, signal),
  );
  root.append(bar, strip.root, popover);
  draw();
  root.addEventListener(
    "focusout",
    ({ relatedTarget: to }) => {
      if (to instanceof Node && !root.contains(to) && !popover.hidden) shut(false);
    },
    { signal },
  );
  root.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Escape" && popover.hidden) close();
      else if (event.key === "Escape") shut(true);
      else if (!popover.contains(document.activeElement) || !move(popover, event.key)) return;
      event.preventDefault();
      event.stopPropagation();
    },
    { signal },
  );
  return root;
}

/** Up and down among the alternatives; whether the key did that. */
function move(popover: HTMLElement, key: string): boolean {
  const step = { ArrowDown: 1, ArrowUp: -1 }[key];
  if (!step) return false;
  const all = [...popover.querySelectorAll<HTMLElement>("button:not(:disabled)")];
  const at = all.indexOf(document.activeElement as HTMLElement);
  all[(at + step + all.length) % all.length]?.focus();
  return true;
}

function fillPopover(
  into: HTMLElement,
  row: TokenRow,
  take: (token: number) => void,
  signal: AbortSignal,
): void {
  const [id, text, logprob, entropy, , , others] = row;
  into.setAttribute("role", "group");
  into.setAttribute("aria-label", `What could have stood in the place of ${visible(text)}`);
  const figures = [
    logprob === null ? "" : percent(Math.exp(logprob)),
    entropy === null ? "" : `entropy ${entropy.toFixed(2)} nats`,
  ];
  const head = element("div", "llama-nb-alternatives-head");
  head.append(element("code", "", visible(text)), element("span", "", figures.filter(Boolean).join(" · ")));
  const list = element("div", "llama-nb-alternatives-list");
  list.append(...others.map((other) => alternative(other, other[0] === id, take, signal)));
  const key = element("div", "llama-nb-alternatives-key");
  key.append(element("i", "llama-nb-before"), "before sampling", element("i", "llama-nb-after"), "after");
  const none = "The alternatives were not recorded.";
  into.replaceChildren(head, others.length ? list : element("p", "llama-nb-muted", none), key);
  key.hidden = others.length === 0;
}

/** One line: the token, its two bars, its two figures; pressing it goes on from there. */
function alternative(
  [id, text, logprob, sampled, special, forbidden]: Other,
  written: boolean,
  take: (token: number) => void,
  signal: AbortSignal,
): HTMLElement {
  const before = logprob == null ? null : Math.exp(logprob);
  const after = sampled == null ? 0 : Math.exp(sampled);
  const fate = forbidden ? "forbidden" : sampled == null ? "ruled out" : percent(after);
  const row = button("", "llama-nb-alternative", () => take(id), signal);
  row.disabled = written || Boolean(forbidden);
  const figures = `${before === null ? "?" : percent(before)} → ${fate}`;
  const does = written
    ? "this was written"
    : forbidden
      ? "the grammar forbids it"
      : "go on from here with it";
  row.setAttribute("aria-label", `${visible(text)}: ${figures}; ${does}`);
  const name = element("code", special ? "llama-nb-pill" : "", visible(text));
  const bars = element("span", "llama-nb-bars");
  for (const [look, share] of [
    ["llama-nb-before", before ?? 0],
    ["llama-nb-after", after],
  ] as const) {
    const bar = element("i", look);
    bar.style.width = `${(100 * share).toFixed(1)}%`;
    bars.append(bar);
  }
  row.append(name, bars, element("span", "llama-nb-figures", written ? `${figures} ✓` : figures));
  return row;
}
