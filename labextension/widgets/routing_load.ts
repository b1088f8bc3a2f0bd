/** The load of the experts as numbers: shares, differences, what a layer's line says. Knows no page. */

import { CIVIDIS, DIVERGING } from "./colour_maps";
import { name } from "./routing_page";
import type { RoutingHead, RoutingLoad } from "./shapes";
import { percent } from "./token_strip";

export type By = "share" | "difference";

export interface Scale {
  by: By;
  map: Uint8ClampedArray;
  /** The value of the last colour. */
  peak: number;
  /** The colour of a value, as a number from 0 to 255. */
  byte(value: number): number;
}

export function valuesOf(load: RoutingLoad, by: By): number[][] {
  return (by === "difference" ? load.difference : load.shares) ?? [];
}

export function scaleOf(load: RoutingLoad, by: By): Scale {
  const largest = valuesOf(load, by).reduce(
    (most, row) => row.reduce((one, value) => Math.max(one, Math.abs(value)), most),
    0,
  );
  const peak = largest || 1;
  const byte = (value: number) =>
    by === "share" ? Math.round((255 * value) / peak) : Math.round(128 + (127 * value) / peak);
  return { by, map: by === "share" ? CIVIDIS : DIVERGING, peak, byte };
}

/** A difference of shares in percentage points, with its sign. */
export function points(value: number): string {
  const shown = Number((100 * Math.abs(value)).toPrecision(3));
  return `${value < 0 ? "−" : "+"}${shown} points`;
}

const figure = (value: number | null | undefined) =>
  value === null || value === undefined ? "–" : String(Number(value.toPrecision(3)));

/** What is said of one expert in one layer. */
export function cellText(head: RoutingHead, load: RoutingLoad, index: number, expert: number): string {
  const share = load.shares?.[index]?.[expert];
  const layer = head.layers?.[index];
  if (share === undefined || layer === undefined) return "";
  const difference = load.difference?.[index]?.[expert];
  const against = load.against === "others" ? "others" : "even";
  const parts = [
    name(layer, expert),
    share === 0 ? "never chosen" : `${percent(share)}${load.domain ? ` in ${load.domain}` : ""}`,
    difference === undefined
      ? `even: ${percent(1 / (head.experts ?? 1))}`
      : `${points(difference)} against ${against}`,
  ];
  return parts.join(" · ");
}

/** What is said of a layer. */
export function layerText(head: RoutingHead, load: RoutingLoad, index: number): string {
  const layer = head.layers?.[index];
  if (layer === undefined || !load.shares?.[index]) return "";
  const found = load.information?.find((one) => one.layer === layer);
  const dead = deadIn(load, layer);
  return [
    `L${layer}`,
    `CV ${figure(load.cv?.[index])}`,
    `largest ${figure(load.max_over_mean?.[index])} × mean`,
    `balance ${figure(load.balance?.[index])}`,
    found ? `${figure(found.bits)} bits (${figure(found.shuffled)} shuffled)` : "",
    dead ? `${dead} never chosen` : "",
  ]
    .filter(Boolean)
    .join(" · ");
}

export function deadIn(load: RoutingLoad, layer: number): number {
  return (load.dead ?? []).filter(([of]) => of === layer).length;
}
