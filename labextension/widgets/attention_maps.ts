/**
 * The maps that are shown: one head, two beside each other, or their difference; and the tiles behind them.
 *
 * Takes what the kernel sends and draws the look's place of it.
 */

import { type Look, name } from "./attention_look";
import { type AttentionMap, attentionMap, type MapSays } from "./attention_map";
import { type Tile, tiles } from "./attention_tiles";
import { inside } from "./attention_window";
import { button, element } from "./element";
import type { AttentionTile } from "./shapes";

export interface Maps {
  first: AttentionMap;
  second: AttentionMap;
  /** Take a map, or a band of one; false when an earlier band was missed. */
  take(which: "tile" | "tile2", info: AttentionTile, bytes: DataView): boolean;
  /** What is compared has changed. */
  forgetSecond(): void;
  update(look: Look, preview: HTMLCanvasElement | null): void;
  /** The finest tile of the place, on the first map or the second. */
  finest(second?: boolean): Tile | undefined;
  near(look: Look): number | null;
}

export function maps(says: (second: boolean) => MapSays, signal: AbortSignal): Maps {
  const mine = tiles();
  const theirs = tiles();
  const difference = tiles(true);
  const first = attentionMap("Map of the head", says(false), signal);
  const second = attentionMap("Map of the other head", says(true), signal);
  const tools = zoomTools(first, signal);
  let finest: Tile | undefined;
  let finestSecond: Tile | undefined;

  const headOf = (look: Look, isSecond: boolean) => {
    const other = isSecond ? look.view.other : null;
    return other ? ([other.layer, other.head] as const) : ([look.layer, look.number] as const);
  };
  const update = (look: Look, preview: HTMLCanvasElement | null) => {
    for (const one of [mine, theirs, difference]) one.colour(look.faint);
    const { mode = "one" } = look.view;
    const prompt = look.head.prompt ?? look.tokens;
    const marks = {
      ...{ place: look.place, tokens: look.tokens, prompt: prompt < look.tokens ? prompt : null },
      line: { by: look.by, at: Math.min(look.hovered ?? look.pinned, look.tokens - 1) },
      ...{ cell: crossed(look, false), texts: look.texts },
    };
    const apart = mode === "difference";
    const found = (apart ? difference : mine).under(look.layer, look.number, look.place);
    finest = found[found.length - 1];
    const [caption, its] = captions(look);
    const busy = (finest?.done ?? 0) < 1;
    first.update({ ...marks, tiles: found, preview: apart ? null : preview, busy, caption });
    tools(look);
    second.root.hidden = mode !== "two";
    if (mode === "two") second.update({ ...marks, ...beside(look), preview: null, caption: its });
  };
  /** What is different about the other head's map: its tiles, and another text if it is of one. */
  const beside = (look: Look) => {
    const place = inside(look.place, look.otherTokens);
    const found = theirs.under(...headOf(look, true), place);
    finestSecond = found[found.length - 1];
    return {
      ...(look.others === look.texts ? {} : { line: null, prompt: null }),
      cell: crossed(look, true),
      ...{ place, tokens: look.otherTokens, texts: look.others, tiles: found },
      busy: (finestSecond?.done ?? 0) < 1,
    };
  };
  return {
    first,
    second,
    update,
    take(which, info, bytes) {
      if (which === "tile") return mine.take(info, bytes);
      return (info.signed ? difference : theirs).take(info, bytes);
    },
    forgetSecond() {
      theirs.forget();
      difference.forget();
    },
    finest: (isSecond = false) => (isSecond ? finestSecond : finest),
    near(look) {
      if (!look.cell || look.view.mode === "difference") return null;
      const from = look.cell.second ? theirs : mine;
      return from.near(...headOf(look, look.cell.second), look.cell.row, look.cell.col);
    },
  };
}

/** The cell under the cross-hair: on both maps where they are of one text. */
function crossed({ cell, texts, others }: Look, second: boolean): Look["cell"] {
  return cell && (cell.second === second || texts === others) ? cell : null;
}

/** What stands on the maps when there are two heads to tell apart. */
function captions({ layer, number, view, head }: Look): [string, string] {
  const { mode = "one", other } = view;
  if (mode === "one" || !other) return ["", ""];
  const title = other.trace === head.id ? "" : head.others?.find(({ id }) => id === other.trace)?.title;
  const its = `${name(other.layer, other.head)}${title ? `, ${title}` : ""}`;
  return mode === "two" ? [name(layer, number), its] : [`${name(layer, number)} − ${its}`, ""];
}

/** Buttons for who has no wheel and no keys at hand; returns what draws them. */
function zoomTools(map: AttentionMap, signal: AbortSignal): (look: Look) => void {
  const root = element("div", "llama-nb-att-zoom");
  const made = (text: string, label: string, key: string) => {
    const one = button(text, "", () => map.key(key), signal);
    one.setAttribute("aria-label", label);
    one.title = `${label} (${key})`;
    return one;
  };
  const all = made("⤢", "Show all of it", "0");
  const closer = made("+", "Zoom in", "+");
  const farther = made("−", "Zoom out", "-");
  root.append(closer, farther, all);
  map.root.append(root);
  return (look) => {
    const out = look.place.span >= look.tokens;
    all.disabled = farther.disabled = out;
    closer.disabled = look.place.span <= Math.min(6, look.tokens);
  };
}
