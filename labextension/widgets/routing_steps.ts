/**
 * What the reader of a routing explorer does. The look changes at once and the kernel is told when a choice rests;
 * what the kernel changes by itself is taken, the echo of a choice that was left since is not.
 */

import type { Ask, Look, RoutingPage } from "./routing_page";
import type { TokenWindow } from "./routing_tokens";
import type { RoutingHead, RoutingView } from "./shapes";
import type { Later } from "./timers";

/** A choice that rests so long is meant: arrows through tokens and layers tell of the last one only. */
const MEANT_MS = 90;
/** The most tokens of a window, and where windows begin. */
export const WINDOW = 4096;
const GRID = 1024;

export interface Steps extends RoutingPage {
  look: Look;
  routes: TokenWindow;
  texts: TokenWindow;
  point(token: number | null): void;
  shade(by: Look["shade"]): void;
  /** Ask for the window from about `start` on. */
  toWindow(start: number): void;
  follow(): void;
}

export interface Kernel {
  get: RoutingPage["get"];
  ask: Ask;
  later: Later;
  draw(): void;
  say(text: string): void;
}

export function steps({ get, ask, later, draw, say }: Kernel, held: TokenWindow): Steps {
  const look: Look = {
    ...{ layer: -1, index: -1, pane: "tokens", expert: null, token: null },
    ...{ hovered: null, domain: "", shade: "margin" },
  };
  /** What the kernel said last. */
  let said: Partial<Record<keyof RoutingView, unknown>> | null = null;
  let wanted = -1;

  const change = (changes: Partial<Look>) => {
    Object.assign(look, changes);
    look.index = (get("head").layers ?? []).indexOf(look.layer);
    draw();
  };
  const tell = () =>
    later("look", MEANT_MS, () => ask({ kind: "look", layer: look.layer, token: look.token }));
  const known = (layer: number) => (get("head").layers ?? []).includes(layer);
  const toWindow = (start: number) => {
    const tokens = get("head").tokens ?? 0;
    const to = Math.max(0, Math.min(Math.floor(start / GRID) * GRID, tokens - 1));
    if (to === wanted || tokens === 0) return;
    wanted = to;
    ask({ kind: "window", start: to });
  };
  const toPane = (pane: Look["pane"]) => {
    if (pane === look.pane) return;
    ask({ kind: "pane", pane });
    change({ pane, hovered: null });
  };
  const toExpert = (layer: number, expert: number) => {
    if (!known(layer) || expert < 0 || expert >= (get("head").experts ?? 0)) return;
    toPane("expert");
    later("look", MEANT_MS, () => ask({ kind: "expert", layer, expert }));
    change({ layer, expert });
  };
  return {
    ...{ get, ask, look, draw, say, toWindow, toPane, toExpert },
    routes: held,
    texts: held,
    toLayer(layer) {
      if (!known(layer) || layer === look.layer) return;
      if (look.pane === "expert" && look.expert !== null) {
        toExpert(layer, look.expert);
        return;
      }
      change({ layer });
      tell();
    },
    toToken(position) {
      const last = (get("head").tokens ?? 0) - 1;
      const token = position === null || last < 0 ? null : Math.max(0, Math.min(last, Math.round(position)));
      if (token !== null && (token < held.start || token >= held.stop)) toWindow(token - WINDOW / 2);
      change({ token, hovered: null });
      tell();
    },
    toDomain(domain) {
      ask({ kind: "domain", name: domain });
      change({ domain });
    },
    change(changes, position) {
      ask({ kind: "whatif", position, ...changes });
    },
    point(hovered) {
      if (hovered !== look.hovered) change({ hovered });
    },
    shade(by) {
      ask({ kind: "shade", shade: by });
      change({ shade: by });
    },
    follow() {
      held.take(get("routes_info"), get("routes"), get("tokens"));
      wanted = -1;
      const view = get("view");
      const followed = spoken(view, get("head"));
      const before = said;
      const took: Partial<Look> = {};
      for (const key of Object.keys(followed) as (keyof typeof followed)[]) {
        const still = before === null || look[key] === before[key];
        if (still && followed[key] !== before?.[key]) Object.assign(took, { [key]: followed[key] });
      }
      if (view.layer !== undefined) said = followed;
      if (look.layer < 0 || view.layer !== undefined) change(took);
    },
  };
}

function spoken(view: RoutingView, head: RoutingHead) {
  return {
    layer: view.layer ?? head.layers?.[0] ?? -1,
    pane: view.pane ?? "tokens",
    expert: view.expert ?? null,
    token: view.token ?? null,
    domain: view.domain ?? "",
    shade: view.shade ?? "margin",
  };
}
