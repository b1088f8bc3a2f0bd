/**
 * What the parts of the routing explorer share: where one looks, what is known of the tokens, and what can be done.
 *
 * routing_more.ts gets such a page for each pane that it draws; whatever changes, its `update` is called with the
 * next frame. Layers are the model's own numbers; an index is a place in `head.layers`.
 */

import type { By } from "./routing_load";
import type { RoutingAsk, RoutingChanges, RoutingPane, RoutingShade } from "./shapes";
import type { RoutingExplorerTraits } from "./traits";

export type Ask = (message: RoutingAsk) => void;

/** Where this page looks; the kernel is told when a choice rests. */
export interface Look {
  layer: number;
  /** The place of the layer in `head.layers`. */
  index: number;
  pane: RoutingPane;
  /** The expert, of `layer`, whose page was opened last. */
  expert: number | null;
  /** The token that is kept, and the one that is pointed at now. */
  token: number | null;
  hovered: number | null;
  domain: string;
  shade: RoutingShade;
}

/** Where the tokens of the window went; -1 and NaN where a token is not in it. */
export interface Routes {
  readonly start: number;
  readonly stop: number;
  readonly k: number;
  /** The expert that was chosen as number `rank`. */
  chosen(position: number, index: number, rank?: number): number;
  /** What shades a token, and how large it may become in this window. */
  value(shade: RoutingShade, position: number, index: number): number;
  scale(shade: RoutingShade): number;
}

/** The texts of the tokens of the window; null where one is not in it. */
export interface Texts {
  text(position: number): string | null;
  special(position: number): boolean;
}

export interface RoutingPage {
  /** The traits, as the kernel set them last. */
  get<K extends keyof RoutingExplorerTraits>(name: K): RoutingExplorerTraits[K];
  ask: Ask;
  look: Readonly<Look>;
  routes: Routes;
  texts: Texts;
  /** Look at another layer; on an expert's page, at the expert of the same number there. */
  toLayer(layer: number): void;
  toToken(position: number | null): void;
  /** Open an expert's page. */
  toExpert(layer: number, expert: number): void;
  toDomain(name: string): void;
  toPane(pane: RoutingPane): void;
  /** Change the model and see what that does; all empty and null: nothing is changed. */
  change(changes: RoutingChanges, position: number | null): void;
  /** Say something in the explorer's status line. */
  say(text: string): void;
  /** Draw everything with the next frame. */
  draw(): void;
}

/** A pane in its place. */
export interface Pane {
  /** Draw what has changed; called with every frame in which the explorer is drawn. */
  update(): void;
  /** End listening; the host is emptied by the caller. */
  remove(): void;
}

export type MakePane = (kind: Exclude<RoutingPane, "tokens">, host: HTMLElement, page: RoutingPage) => Pane;

/** The default export of routing_more.ts, which comes after the first picture. It makes the pane of paths. */
export interface More extends MakePane {
  /** What takes the load map out of the page, and the tokens. */
  mapButtons(page: RoutingPage, map: HTMLCanvasElement, by: () => By, signal: AbortSignal): HTMLElement[];
  tokenButtons(page: RoutingPage): HTMLElement[];
}

/** The default export of routing_further.ts, which comes when one of the other panes is opened. */
export type Further = MakePane;

/** "L3 E2" */
export function name(layer: number, expert: number): string {
  return `L${layer} E${expert}`;
}

/** Okabe and Ito's eight colours, which people with and without colour-blindness tell apart; grey for their black. */
const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#8a8f98"];

/** The colour of an expert; with more than eight, hues that lie far apart for neighbours. */
export function colourOf(expert: number, experts: number): string {
  if (experts <= COLOURS.length) return COLOURS[expert] ?? "transparent";
  return `hsl(${Math.round(expert * 137.508) % 360} 55% ${[52, 40, 62][expert % 3]}%)`;
}
