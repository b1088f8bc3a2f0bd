/**
 * The window of tokens that the page has: where each went, how surely, and its text.
 *
 * Bytes and texts are read where they lie, when somebody draws them; what does not fit together is nothing.
 */

import type { Routes, Texts } from "./routing_page";
import type { RoutingRoutes, RoutingShade, RoutingTokens } from "./shapes";

export interface TokenWindow extends Routes, Texts {
  /** How many layers the bytes are of. */
  readonly layers: number;
  /** Where documents begin: position, label. */
  readonly breaks: [number, string][];
  /** Changes with what is held. */
  readonly version: number;
  take(info: RoutingRoutes, bytes: DataView, tokens: RoutingTokens): void;
}

const PLACES: Record<RoutingShade, number> = { margin: 0, entropy: 1, weight: 2 };

export function tokenWindow(): TokenWindow {
  let info: RoutingRoutes = {};
  let bytes: DataView = new DataView(new ArrayBuffer(0));
  let tokens: RoutingTokens = {};
  let special = new Set<number>();
  let version = 0;
  const here = { start: 0, stop: 0, k: 1, layers: 0, each: 1 };

  const row = (position: number, index: number) =>
    position < here.start || position >= here.stop || index < 0 || index >= here.layers
      ? -1
      : (position - here.start) * here.layers + index;
  return {
    get start() {
      return here.start;
    },
    get stop() {
      return here.stop;
    },
    get k() {
      return here.k;
    },
    get layers() {
      return here.layers;
    },
    get breaks() {
      return tokens.breaks ?? [];
    },
    get version() {
      return version;
    },
    take(nextInfo, nextBytes, nextTokens) {
      if (nextInfo === info && nextBytes === bytes && nextTokens === tokens) return;
      [info, bytes, tokens] = [nextInfo, nextBytes, nextTokens];
      version += 1;
      special = new Set(tokens.special ?? []);
      const { start = 0, stop = 0, k = 1, layers = 0, bytes_each: each = 1 } = info;
      const whole = bytes.byteLength === (stop - start) * layers * (k * each + 3);
      Object.assign(here, whole ? { start, stop, k, layers, each } : { start: 0, stop: 0, layers: 0 });
    },
    chosen(position, index, rank = 0) {
      const at = row(position, index);
      if (at < 0 || rank >= here.k) return -1;
      const byte = (at * here.k + rank) * here.each;
      return here.each === 2 ? bytes.getUint16(byte, true) : bytes.getUint8(byte);
    },
    value(shade, position, index) {
      const at = row(position, index);
      if (at < 0) return Number.NaN;
      const block = (here.stop - here.start) * here.layers;
      const byte = bytes.getUint8(block * (here.k * here.each + PLACES[shade]) + at);
      return (byte / 255) * (info.scales?.[shade] ?? 1);
    },
    scale: (shade) => info.scales?.[shade] ?? 1,
    text: (position) => tokens.texts?.[position - (tokens.start ?? 0)] ?? null,
    special: (position) => special.has(position),
  };
}

/** From 0 to 1: how sure the layer was of its choice, by what the reader shades by. */
export function sureness(routes: Routes, shade: RoutingShade, position: number, index: number): number {
  const share = routes.value(shade, position, index) / (routes.scale(shade) || 1);
  if (!Number.isFinite(share)) return 0;
  return shade === "entropy" ? 1 - share : share;
}

/** The experts of a token in a layer, as they are named in short: "3", "3,5", "3+7" for eight of them. */
export function expertsText(routes: Routes, position: number, index: number): string {
  const first = routes.chosen(position, index);
  if (first < 0) return "";
  if (routes.k === 2) return `${first},${routes.chosen(position, index, 1)}`;
  return routes.k > 2 ? `${first}+${routes.k - 1}` : String(first);
}
