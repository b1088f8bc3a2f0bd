/**
 * The attention explorer (llama_nb/widgets/attention_explorer.py), as an anywidget module: heads, map, links, text.
 *
 * The kernel holds the trace and computes maps and weights; the page holds what it was told, draws it, and asks for
 * what is missing. Texts of tokens, titles and models are untrusted and only ever become text.
 */

import { type Ask, type Links, questions, tokenTexts } from "./attention_asked";
import { type Follower, follower } from "./attention_follow";
import type { Look } from "./attention_look";
import { explorerPage, type Page } from "./attention_page";
import { steps } from "./attention_steps";
import { whole } from "./attention_window";
import { standIn } from "./live_mark";
import type { Model } from "./model";
import type { AttentionAnswer } from "./shapes";
import { timers } from "./timers";
import type { AttentionExplorerTraits } from "./traits";

export type AttentionModel = Model<AttentionExplorerTraits>;

const SILENT_AFTER_MS = 2500;

function render({ model, el }: { model: AttentionModel; el: HTMLElement }): () => void {
  const owner = new AbortController();
  const { signal } = owner;
  const later = timers(signal);
  const ask: Ask = (message) => {
    model.send(message);
    later("silence", SILENT_AFTER_MS, () => page.say("No answer yet: another cell may be running."));
  };
  const texts = tokenTexts(
    (start, end) => ask({ kind: "tokens", start, end }),
    () => model.get("head").tokens ?? 0,
  );
  const look: Look = {
    ...{ head: {}, view: {}, layer: -1, number: -1, tokens: 0, place: whole(1), by: "row" as const },
    ...{ pinned: -1, hovered: null, faint: false, cell: null, texts, others: texts, otherTokens: 0 },
    asked: questions((message) => {
      taken.settle();
      ask(message);
    }, signal),
  };
  const taken = steps(look, ask, later, () => page.draw());
  const page = explorerPage(model, look, taken, ask, signal);
  const follow = follower(model, look, ask, page.maps.forgetSecond);
  const heard = () => later("silence", 0, () => page.say(model.get("status")));

  const ignore = listen(model, look, page, follow, ask, heard);
  el.append(page.root);
  const leave = standIn(model as never, el);
  const missed = (["tile", "tile2"] as const).filter((which) => !takeTile(model, page, which));
  ask({ kind: "hello", whole: missed.length === 0 });
  if ((look.view.mode ?? "one") !== "one") page.open("compare");
  return () => {
    owner.abort();
    leave();
    ignore();
    page.root.remove();
  };
}

/** Take what the kernel has said and will say; returns what ends that. */
function listen(
  model: AttentionModel,
  look: Look,
  page: Page,
  follow: Follower,
  ask: Ask,
  heard: () => void,
): () => void {
  const texts = () => look.texts.take(model.get("tokens"));
  const fail = () => page.fail(model.get("error"));
  const tile = (which: "tile" | "tile2") => () => {
    if (!takeTile(model, page, which)) ask({ kind: "hello", whole: false });
  };
  const answer = (said: AttentionAnswer) => {
    if (said.kind === "tokens") (said.trace === look.head.id ? look.texts : look.others).take(said);
    else if (said.kind === "code") page.code(said.text);
    else if (said.kind === "data") page.data(said.text);
    else {
      learn(look, said);
      look.asked.take(said);
    }
    heard();
  };
  const events: [string, (...given: never[]) => void][] = [
    ["change:head", follow.head],
    ["change:tokens", texts],
    ["change:view", follow.view],
    ["change:tile_info", tile("tile")],
    ["change:tile2_info", tile("tile2")],
    ["change:error", fail],
    ["change", heard],
    ["msg:custom", answer],
    ["change", page.draw],
    ["msg:custom", page.draw],
  ];
  for (const act of [texts, follow.head, follow.view, fail, page.draw]) act();
  for (const [event, act] of events) model.on(event, act);
  return () => {
    for (const [event, act] of events) model.off(event, act);
  };
}

/** Take a map, or a band of one; false when an earlier band was missed. */
function takeTile(model: AttentionModel, page: Page, which: "tile" | "tile2"): boolean {
  return page.maps.take(which, model.get(`${which}_info`), model.get(which));
}

/** Take the texts that came with links. */
function learn(look: Look, said: Links | Extract<AttentionAnswer, { kind: "value" }>): void {
  if (said.kind !== "value") (said.second ? look.others : look.texts).learn(said.tokens);
}

export default { render };
