/**
 * The attention explorer (llama_nb/widgets/attention_explorer.py), as an anywidget module: heads, map, links, text.
 *
 * The kernel holds the trace and computes maps and weights; the page holds what it was told, draws it, and asks for
 * what is missing. Texts of tokens, titles and models are untrusted and only ever become text.
 */

import { type Ask, questions, tokenTexts } from "./attention_asked";
import { bar, type Pane } from "./attention_bar";
import { moreCode } from "./attention_code";
import { follower } from "./attention_follow";
import type { Look } from "./attention_look";
import type { MapSays } from "./attention_map";
import { maps } from "./attention_maps";
import type { More } from "./attention_more";
import { thumbs } from "./attention_thumbs";
import { whole, windowOf } from "./attention_window";
import { element } from "./element";
import { ownKeys } from "./keys";
import { standIn } from "./live_mark";
import type { Model } from "./model";
import type { AttentionAnswer } from "./shapes";
import type { AttentionExplorerTraits } from "./traits";

export type AttentionModel = Model<AttentionExplorerTraits>;

const SILENT_AFTER_MS = 2500;
/** A choice that rests so long is meant: arrows through heads ask for the last one only. */
const MEANT_MS = 90;

function render({ model, el }: { model: AttentionModel; el: HTMLElement }): () => void {
  const owner = new AbortController();
  const { signal } = owner;
  const root = element("div", "llama-nb-view llama-nb-att");
  root.setAttribute("role", "region");
  root.setAttribute("aria-label", "Attention explorer");
  ownKeys(root);
  const later = timers(signal);
  const ask: Ask = (message) => {
    model.send(message);
    later("silence", SILENT_AFTER_MS, () => top.say("No answer yet: another cell may be running."));
  };
  const texts = tokenTexts(
    (start, end) => ask({ kind: "tokens", start, end }),
    () => model.get("head").tokens ?? 0,
  );
  const look: Look = {
    ...{ head: {}, view: {}, layer: -1, number: -1, tokens: 0, place: whole(1), by: "row" as const },
    ...{ pinned: -1, hovered: null, faint: false, cell: null, texts, others: texts, otherTokens: 0 },
    asked: questions((message) => {
      sendLook();
      ask(message);
    }, signal),
  };

  // --- what the reader does ---------------------------------------------------------------------------

  let leaving = false;
  const go = (layer: number, number: number) => {
    if (layer === look.layer && number === look.number) return;
    Object.assign(look, { layer, number });
    look.asked.forget();
    leaving = true;
    later("look", MEANT_MS, sendLook);
    draw();
  };
  /** Before any question about the head, too. */
  const sendLook = () => {
    if (leaving) ask({ kind: "look", layer: look.layer, head: look.number });
    leaving = false;
  };
  const step = (by: number) => {
    const layers = look.head.layers ?? [];
    const next = layers[layers.indexOf(look.layer) + by];
    if (next !== undefined) go(next, look.number);
  };
  const pin = (token: number) => {
    if (token !== look.pinned) later("query", MEANT_MS, () => ask({ kind: "query", query: look.pinned }));
    Object.assign(look, { pinned: token, hovered: null });
    draw();
  };
  const point = (token: number | null) => {
    if (look.hovered === token && look.cell === null) return;
    Object.assign(look, { hovered: token, cell: null });
    draw();
  };
  /** Say which window is looked at; the kernel answers with its tile. */
  const sharpen = () => {
    const window = windowOf(look.place, look.tokens);
    const { rows, cols } = look.view;
    wanted ||= JSON.stringify({ rows, cols });
    const now = JSON.stringify(window);
    if (now !== wanted && look.tokens) ask({ kind: "zoom", ...window });
    wanted = now;
  };
  /** The window that was asked for last. */
  let wanted = "";
  const says = (second: boolean): MapSays => ({
    place(place) {
      look.place = place;
      later("zoom", MEANT_MS, sharpen);
      draw();
    },
    point(cell) {
      look.cell = cell && { ...cell, second };
      look.hovered = cell && !second ? (look.by === "row" ? cell.row : cell.col) : null;
      draw();
    },
    pick: ({ row, col }) => pin(look.by === "row" ? row : col),
    cancel() {
      const working = look.tokens > 0 && (shown.finest()?.done ?? 0) < 1;
      if (working) ask({ kind: "cancel" });
      return working;
    },
    hint: (text) => top.say(text),
  });
  const pointLink = (token: number | null) => {
    const [row, col] = look.by === "row" ? [look.pinned, token] : [token, look.pinned];
    look.hovered = null;
    look.cell = row === null || col === null ? null : { row, col, second: false };
    draw();
  };

  // --- what is drawn ----------------------------------------------------------------------------------

  const top = bar((pane) => void toggle(pane), signal);
  const small = thumbs((number) => go(look.layer, number), step, signal);
  const shown = maps(says, signal);
  const [column, over, plots, stage, main] = ["heads", "over", "plots", "stage", "main"].map((name) =>
    element("div", `llama-nb-att-${name}`),
  ) as [HTMLElement, HTMLElement, HTMLElement, HTMLElement, HTMLElement];
  column.append(small.root);
  plots.append(shown.first.root, shown.second.root);
  stage.append(over, plots);
  main.append(column, stage);
  const error = element("div", "llama-nb-error");
  error.setAttribute("role", "alert");
  root.append(top.root, main, error);

  let more: More | null = null;
  const turn = (by: Look["by"]) => {
    Object.assign(look, { by, hovered: null });
    draw();
  };
  const code = moreCode(() => ask({ kind: "code" }));
  const arrive = code.get().then((make) => {
    if (signal.aborted) return;
    const close = () => void toggle("");
    more = make({ ask, look, maps: shown, go, pin, point, pointLink, turn, draw, close }, signal);
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
    await arrive;
    if (signal.aborted) return;
    paint();
    more?.panes.focus();
  };

  let frame = 0;
  const draw = () => {
    if (!frame) frame = requestAnimationFrame(paint);
  };
  const paint = () => {
    frame = 0;
    if (signal.aborted) return;
    root.dataset.empty = String(look.tokens === 0);
    root.dataset.mode = look.view.mode ?? "one";
    root.dataset.pane = open;
    top.update(look.head, open, look.view.off?.length ?? 0);
    if (look.tokens > 0) drawLook();
    more?.panes.update(open, model.get("effect"));
  };
  const drawLook = () => {
    more?.find.update(look.head, look.layer, look.number);
    const info = model.get("thumbs_info");
    const known = info.layer === look.layer ? bytesOf(model.get("thumbs")) : NOTHING;
    small.update({
      ...{ head: look.head, layer: look.layer, number: look.number, off: look.view.off ?? [] },
      ...{ bytes: known, side: info.side ?? 1, score: more?.find.score() ?? null },
    });
    wantTexts(look);
    shown.update(look, small.preview(look.number));
    more?.legend.update(look, shown.finest(), shown.near(look));
    more?.links.update(look);
    more?.strip.update(look);
  };

  // --- what the kernel says ---------------------------------------------------------------------------

  const follow = follower(model, look, ask, shown.forgetSecond);
  const takeTile = (which: "tile" | "tile2") => {
    if (!shown.take(which, model.get(`${which}_info`), model.get(which)))
      ask({ kind: "hello", whole: false });
    draw();
  };
  const heard = () => {
    later("silence", 0, () => top.say(model.get("status")));
  };
  const takeAnswer = (answer: AttentionAnswer) => {
    heard();
    if (answer.kind === "tokens") (answer.trace === look.head.id ? texts : look.others).take(answer);
    else if (answer.kind === "code") code.arrived(answer.text);
    else if (answer.kind === "data") more?.panes.data(answer.text);
    else look.asked.take(answer);
    draw();
  };
  const then = (act: () => void) => () => {
    act();
    draw();
  };
  const events: [string, (...given: never[]) => void][] = [
    ["change", heard],
    ["change:head", then(() => follow.head())],
    ["change:tokens", then(() => texts.take(model.get("tokens")))],
    ["change:view", then(() => follow.view())],
    ["change:tile_info", () => takeTile("tile")],
    ["change:tile2_info", () => takeTile("tile2")],
    ["change:thumbs_info", draw],
    ["change:effect", draw],
    ["change:error", () => drawError()],
    ["msg:custom", takeAnswer],
  ];
  const drawError = () => {
    error.textContent = model.get("error");
    error.hidden = !error.textContent;
  };
  for (const [event, act] of events) model.on(event, act);
  texts.take(model.get("tokens"));
  follow.head();
  follow.view();
  drawError();
  el.append(root);
  paint();
  const leave = standIn(model as never, el);
  const missed = (["tile", "tile2"] as const).filter(
    (which) => !shown.take(which, model.get(`${which}_info`), model.get(which)),
  );
  ask({ kind: "hello", whole: missed.length === 0 });
  if ((look.view.mode ?? "one") !== "one") void toggle("compare");
  draw();
  return () => {
    owner.abort();
    leave();
    cancelAnimationFrame(frame);
    for (const [event, act] of events) model.off(event, act);
    root.remove();
  };
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

/** Named timers, each of which a newer one replaces. */
function timers(signal: AbortSignal): (name: string, milliseconds: number, act: () => void) => void {
  const running = new Map<string, number>();
  signal.addEventListener("abort", () => {
    for (const timer of running.values()) window.clearTimeout(timer);
  });
  return (name, milliseconds, act) => {
    window.clearTimeout(running.get(name));
    running.set(name, window.setTimeout(act, milliseconds));
  };
}

const NOTHING = new Uint8Array();

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

export default { render };
