/** The explorer's parts in their places, drawn from the look; those of attention_more.ts once they have come. */

import type { AttentionModel } from "./attention";
import type { Ask } from "./attention_asked";
import { bar, type Pane } from "./attention_bar";
import type { Look } from "./attention_look";
import type { MapSays } from "./attention_map";
import { type Maps, maps } from "./attention_maps";
import type makeMore from "./attention_more";
import type { More } from "./attention_more";
import type { Steps } from "./attention_steps";
import { type Thumbs, thumbs } from "./attention_thumbs";
import { element } from "./element";
import { ownKeys } from "./keys";
import { partCode } from "./part_code";

export interface Page {
  root: HTMLElement;
  maps: Maps;
  /** Draw with the next frame. */
  draw(): void;
  say(text: string): void;
  fail(text: string): void;
  open(pane: Pane): void;
  /** The kernel sent code, or data. */
  code(text: string): void;
  data(text: string): void;
}

export function explorerPage(
  model: AttentionModel,
  look: Look,
  steps: Steps,
  ask: Ask,
  signal: AbortSignal,
): Page {
  const top = bar((pane) => void toggle(pane), signal);
  const small = thumbs((head) => steps.go(look.layer, head), steps.step, signal);
  const cancel = () => {
    const working = look.tokens > 0 && (shown.finest()?.done ?? 0) < 1;
    if (working) ask({ kind: "cancel" });
    return working;
  };
  const shown: Maps = maps((second) => mapSays(look, steps, cancel, top.say, second), signal);
  const { root, column, over, plots, main, error } = frame(top.root, small, shown);

  let more: More | null = null;
  const code = partCode<typeof makeMore>(() => ask({ kind: "code" }));
  const arrived = code.get().then((make) => {
    if (signal.aborted) return;
    more = make({ ...steps, ask, look, maps: shown, draw, close: () => void toggle("") }, signal);
    column.prepend(more.find.root);
    plots.append(more.links.root);
    over.append(more.panes.root);
    main.after(more.legend.root, more.strip.root);
    root.dataset.more = "true";
    draw();
  });
  let open: Pane | "" = "";
  const toggle = async (pane: Pane | "") => {
    open = open === pane ? "" : pane;
    await arrived;
    if (signal.aborted) return;
    paint();
    more?.panes.focus();
  };

  let coming = 0;
  const draw = () => {
    if (!coming) coming = requestAnimationFrame(paint);
  };
  signal.addEventListener("abort", () => cancelAnimationFrame(coming));
  const paint = () => {
    coming = 0;
    root.dataset.empty = String(look.tokens === 0);
    root.dataset.mode = look.view.mode ?? "one";
    root.dataset.pane = open;
    top.update(look.head, open, look.view.off?.length ?? 0);
    if (look.tokens > 0) drawLook();
    more?.panes.update(open, model.get("effect"));
  };
  const drawLook = () => {
    wantTexts(look);
    more?.find.update(look.head, look.layer, look.number);
    drawThumbs(small, model, look, more);
    shown.update(look, small.preview(look.number));
    more?.legend.update(look, shown.finest(), shown.near(look));
    more?.links.update(look);
    more?.strip.update(look);
  };
  return {
    ...{ root, maps: shown, draw, say: top.say, code: code.arrived },
    data: (text) => more?.panes.data(text),
    open: (pane) => void toggle(pane),
    fail(text) {
      error.textContent = text;
      error.hidden = !text;
    },
  };
}

/** The places: heads on the left, what is looked at beside them, and what opens above that. */
function frame(top: HTMLElement, small: Thumbs, shown: Maps) {
  const root = element("div", "llama-nb-view llama-nb-att");
  root.setAttribute("role", "region");
  root.setAttribute("aria-label", "Attention explorer");
  ownKeys(root);
  const column = element("div", "llama-nb-att-heads");
  const over = element("div", "llama-nb-att-over");
  const plots = element("div", "llama-nb-att-plots");
  const stage = element("div", "llama-nb-att-stage");
  const main = element("div", "llama-nb-att-main");
  const error = element("div", "llama-nb-error");
  error.setAttribute("role", "alert");
  column.append(small.root);
  plots.append(shown.first.root, shown.second.root);
  stage.append(over, plots);
  main.append(column, stage);
  root.append(top, main, error);
  return { root, column, over, plots, main, error };
}

/** What a map tells of itself; `second` is the other head's. */
function mapSays(
  look: Look,
  steps: Steps,
  cancel: () => boolean,
  hint: (text: string) => void,
  second: boolean,
): MapSays {
  return {
    place: steps.move,
    point: (cell) => steps.pointCell(cell, second),
    pick({ row, col }) {
      if (!second || look.others === look.texts) steps.pin(look.by === "row" ? row : col);
    },
    cancel,
    hint,
  };
}

const NOTHING = new Uint8Array();

function drawThumbs(small: Thumbs, model: AttentionModel, look: Look, more: More | null): void {
  const { layer, side = 1 } = model.get("thumbs_info");
  const view = model.get("thumbs");
  const known = layer === look.layer;
  small.update({
    ...{ head: look.head, layer: look.layer, number: look.number, off: look.view.off ?? [], side },
    bytes: known ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : NOTHING,
    score: more?.find.score() ?? null,
  });
}

/** Ask for the texts of what is named on the axes and in the line below them. */
function wantTexts({ place, texts, others, cell }: Look): void {
  const near = place.span < 80;
  for (const from of near ? [place.row, place.col] : []) {
    texts.want(Math.floor(from), Math.ceil(from + place.span));
    if (others !== texts) others.want(Math.floor(from), Math.ceil(from + place.span));
  }
  for (const at of cell ? [cell.row, cell.col] : []) (cell?.second ? others : texts).want(at, at + 1);
}
