/**
 * The text as tokens, each on the colour of its expert in the looked-at layer and with the expert's number.
 *
 * A paragraph is a document, or a part of a long one; only paragraphs in sight are written and coloured, so that a
 * window of 4,096 tokens scrolls like one of fifty. Texts and labels are untrusted and only ever become text.
 */

import { element } from "./element";
import { colourOf } from "./routing_page";
import type { Steps } from "./routing_steps";
import { expertsText, sureness } from "./routing_tokens";
import { visible, write } from "./token_strip";

export interface Strip {
  root: HTMLElement;
  update(): void;
}

/** What stands before the first token that the model wrote itself. */
const WRITTEN = "written";
/** The most tokens of a paragraph; a long text breaks there. */
const LONGEST = 160;
/** Pixels beyond the edge that are written, too. */
const BESIDE = 240;
/** About how large a letter is, until it is known. */
const LETTER = 8;
const LINE = 23;
const PAGE = 20;

interface Part {
  root: HTMLElement;
  body: HTMLElement;
  start: number;
  stop: number;
  chips: HTMLElement[];
  /** What its chips were coloured for. */
  drawn: string;
}

export function strip(page: Steps, play: () => void, signal: AbortSignal): Strip {
  const root = element("div", "llama-nb-moe-strip");
  root.setAttribute("role", "listbox");
  root.setAttribute("aria-label", "Tokens. Left and right: tokens. Up and down: layers. Space: play.");
  let parts: Part[] = [];
  let shape = "";
  let seen: number | null = null;
  let reached = -1;
  /** The width that heights were guessed for. */
  let roomy = 0;

  const split = () => {
    const edges = edgesOf(page);
    const now = JSON.stringify(edges);
    if (now === shape) return;
    shape = now;
    const old = new Map(parts.map((part) => [`${part.start} ${part.root.title}`, part]));
    parts = edges.map(({ start, stop, label }) => {
      const part = old.get(`${start} ${label}`) ?? empty(start, label);
      part.stop = stop;
      return part;
    });
    root.replaceChildren(...parts.map((part) => part.root));
  };
  const inSight = (): Part[] => {
    const kept = page.look.token;
    const keeps = ({ start, stop }: Part) => kept !== null && start <= kept && kept < stop;
    // Before it stands in the page nothing has a place.
    if (root.clientHeight === 0) return parts.filter((part, number) => number < 2 || keeps(part));
    const top = root.scrollTop - BESIDE;
    const end = root.scrollTop + root.clientHeight + BESIDE;
    return parts.filter(
      (part) =>
        (part.root.offsetTop < end && part.root.offsetTop + part.root.offsetHeight > top) || keeps(part),
    );
  };
  const fill = () => {
    const room = Math.max(120, root.clientWidth - 50);
    for (const part of parts)
      if (part.chips.length === 0 && (room !== roomy || !part.body.style.minHeight))
        part.body.style.minHeight = `${guess(page, part, room)}px`;
    roomy = room;
    for (const part of inSight()) drawPart(page, part);
  };
  const chipOf = (position: number | null): HTMLElement | undefined => {
    const part = parts.find(({ start, stop }) => position !== null && start <= position && position < stop);
    return part?.chips[(position ?? 0) - part.start];
  };

  const positionOf = (event: Event): number | null => {
    const chip = event.target instanceof Element ? event.target.closest<HTMLElement>("[role=option]") : null;
    return chip ? Number(chip.dataset.token) : null;
  };
  root.addEventListener(
    "click",
    (event) => {
      const position = positionOf(event);
      if (position === null) return;
      page.toToken(position);
      chipOf(position)?.focus({ preventScroll: true });
    },
    { signal },
  );
  root.addEventListener("dblclick", (event) => open(positionOf(event)), { signal });
  root.addEventListener(
    "pointerover",
    (event) => {
      if (event.pointerType !== "touch") page.point(positionOf(event));
    },
    { signal },
  );
  root.addEventListener("pointerleave", () => page.point(null), { signal });
  root.addEventListener("scroll", fill, { signal, passive: true });
  const open = (position: number | null) => {
    const expert = position === null ? -1 : page.routes.chosen(position, page.look.index);
    if (expert >= 0) page.toExpert(page.look.layer, expert);
  };
  root.addEventListener(
    "keydown",
    (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const at = page.look.token ?? page.routes.start;
      const layers = page.get("head").layers ?? [];
      const acts: Record<string, () => void> = {
        ArrowRight: () => page.toToken(at + 1),
        ArrowLeft: () => page.toToken(at - 1),
        PageDown: () => page.toToken(at + PAGE),
        PageUp: () => page.toToken(at - PAGE),
        Home: () => page.toToken(page.routes.start),
        End: () => page.toToken(page.routes.stop - 1),
        ArrowDown: () => page.toLayer(layers[page.look.index + 1] ?? -1),
        ArrowUp: () => page.toLayer(layers[page.look.index - 1] ?? -1),
        Enter: () => open(at),
        " ": play,
      };
      const act = acts[event.key];
      if (!act) return;
      act();
      event.preventDefault();
      event.stopPropagation();
    },
    { signal },
  );
  const resized = new ResizeObserver(fill);
  resized.observe(root);
  signal.addEventListener("abort", () => resized.disconnect());

  /** One token can be reached by the Tab key: the kept one. */
  const reach = (chip: HTMLElement | undefined) => {
    for (const one of root.querySelectorAll("[tabindex='0']"))
      if (one !== chip) one.setAttribute("tabindex", "-1");
    if (chip) chip.tabIndex = 0;
  };
  /** Bring the kept token into sight when it is another one; one beyond the window, when the window has come. */
  const show = (chip: HTMLElement | undefined, focused: boolean) => {
    const kept = page.look.token;
    if (kept === seen || (kept !== null && !chip)) return;
    seen = kept;
    if (kept === null || !chip) return;
    toSight(root, chip);
    fill(); // what stands above may be higher than was guessed
    toSight(root, chip);
    if (focused) chip.focus({ preventScroll: true });
  };
  return {
    root,
    update() {
      const atEnd = root.scrollTop + root.clientHeight > root.scrollHeight - 30;
      const focused = root.contains(document.activeElement);
      split();
      fill();
      const chip = chipOf(page.look.token ?? page.routes.start);
      reach(chip);
      show(chip, focused);
      const grown = page.get("head").growing && page.routes.stop !== reached;
      if (grown && atEnd) root.scrollTop = root.scrollHeight;
      reached = page.routes.stop;
    },
  };
}

/** Where paragraphs begin and end: at documents, where the model began to write, and where one gets long. */
function edgesOf({ get, routes, texts }: Steps): { start: number; stop: number; label: string }[] {
  const { prompt = Number.POSITIVE_INFINITY } = get("head");
  const breaks = texts.breaks.filter(([at]) => at < routes.stop && at !== prompt);
  if (routes.start < prompt && prompt < routes.stop) breaks.push([prompt, WRITTEN]);
  breaks.sort(([one], [other]) => one - other);
  const first = breaks[0]?.[0] ?? routes.stop;
  const documents: [number, string][] = first > routes.start ? [[routes.start, ""], ...breaks] : [...breaks];
  return documents.flatMap(([from, label], number) => {
    const end = documents[number + 1]?.[0] ?? routes.stop;
    const found: { start: number; stop: number; label: string }[] = [];
    for (let start = Math.max(from, routes.start); start < end; start += LONGEST)
      found.push({ start, stop: Math.min(end, start + LONGEST), label: start === from ? label : "" });
    return found;
  });
}

function empty(start: number, label: string): Part {
  const root = element("div", "llama-nb-moe-part");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", `from token ${start}${label ? `, ${visible(label)}` : ""}`);
  root.title = label;
  const margin = element("span", "llama-nb-moe-from", start.toLocaleString("en"));
  margin.setAttribute("aria-hidden", "true");
  const body = element("div", "llama-nb-moe-body");
  if (label) body.append(element("span", "llama-nb-moe-label", label));
  root.append(margin, body);
  return { root, body, start, stop: start, chips: [], drawn: "" };
}

/** About how high a paragraph will be. */
function guess({ texts }: Steps, { start, stop }: Part, room: number): number {
  let letters = 0;
  for (let position = start; position < stop; position += 1)
    letters += (texts.text(position) ?? "").length + 1.5;
  return LINE * Math.ceil((letters * LETTER) / room);
}

function drawPart(page: Steps, part: Part): void {
  const { look, routes, texts } = page;
  const { experts = 1 } = page.get("head");
  const kept = look.token !== null && part.start <= look.token && look.token < part.stop ? look.token : "";
  const now = [routes.version, part.stop, look.index, look.shade, kept].join();
  if (part.drawn === now) return;
  part.drawn = now;
  part.body.style.minHeight = "";
  while (part.chips.length < part.stop - part.start) {
    const chip = element("span", "llama-nb-chip llama-nb-moe-chip");
    chip.setAttribute("role", "option");
    chip.tabIndex = -1;
    chip.append(element("span", ""), element("sup", ""));
    chip.dataset.token = String(part.start + part.chips.length);
    part.chips.push(chip);
    part.body.append(chip);
  }
  for (const [offset, chip] of part.chips.entries()) {
    const position = part.start + offset;
    const text = texts.text(position) ?? "";
    const [word, number] = chip.children as unknown as [HTMLElement, HTMLElement];
    if (chip.dataset.text !== text) {
      chip.dataset.text = text;
      write(word, text);
      breakAfter(chip, text);
      chip.classList.toggle("llama-nb-pill", texts.special(position));
    }
    const expert = routes.chosen(position, look.index);
    const named = expertsText(routes, position, look.index);
    if (number.textContent !== named) number.textContent = named;
    const sure = Math.round(100 * sureness(routes, look.shade, position, look.index));
    chip.style.setProperty("--ln-expert", expert < 0 ? "transparent" : colourOf(expert, experts));
    chip.style.setProperty("--ln-sure", `${sure}%`);
    chip.setAttribute("aria-selected", String(position === look.token));
    chip.setAttribute("aria-label", `token ${position}: ${visible(text)}, L${look.layer}: expert ${named}`);
  }
}

function breakAfter(chip: HTMLElement, text: string): void {
  const broken = chip.nextSibling instanceof HTMLBRElement ? chip.nextSibling : null;
  if (!text.endsWith("\n")) broken?.remove();
  else if (!broken) chip.after(document.createElement("br"));
}

function toSight(root: HTMLElement, chip: HTMLElement): void {
  const [box, place] = [root.getBoundingClientRect(), chip.getBoundingClientRect()];
  if (place.top < box.top + 4) root.scrollTop -= box.top - place.top + box.height / 3;
  else if (place.bottom > box.bottom - 4) root.scrollTop += place.bottom - box.bottom + box.height / 3;
}
