/** What is changed in the model in "What if": adding to it, taking away, and its names. Plain values, no page. */

import type { RoutingChanges } from "./shapes";

export const UNCHANGED: RoutingChanges = { ban: [], force: [], drop: [], top_k: null };

type Pair = [number, number];

/** What is done to one expert. */
export type Doing = "ban" | "force";

export function same([layer, expert]: Pair, [otherLayer, other]: Pair): boolean {
  return layer === otherLayer && expert === other;
}

export function isDone(changes: RoutingChanges, doing: Doing, pair: Pair): boolean {
  return changes[doing].some((one) => same(one, pair));
}

/**
 * Forbid or force an expert, or leave off doing so.
 *
 * One expert is not both, and where a token goes to `most` experts so many can be forced: the earliest gives way.
 */
export function toggled(changes: RoutingChanges, doing: Doing, pair: Pair, most: number): RoutingChanges {
  const without = (list: Pair[]) => list.filter((one) => !same(one, pair));
  const ban = without(changes.ban);
  const force = without(changes.force);
  if (isDone(changes, doing, pair)) return { ...changes, ban, force };
  if (doing === "ban") return { ...changes, ban: [...ban, pair], force };
  const here = force.filter(([layer]) => layer === pair[0]);
  const gone = here.slice(0, Math.max(0, here.length + 1 - most));
  return { ...changes, ban, force: [...force.filter((one) => !gone.includes(one)), pair] };
}

/** Turn the shared expert of a layer off, or on again. */
export function toggledShared(changes: RoutingChanges, layer: number): RoutingChanges {
  const off = changes.drop.includes(layer);
  return {
    ...changes,
    drop: off ? changes.drop.filter((one) => one !== layer) : [...changes.drop, layer].sort((a, b) => a - b),
  };
}

/** Each change by its name, as the kernel calls it, with what the model's changes are without it. */
export function named(changes: RoutingChanges, experts: number): [string, RoutingChanges][] {
  const pairs = (doing: Doing, word: string) =>
    changes[doing].map((pair): [string, RoutingChanges] => [
      `L${pair[0]} E${pair[1]} ${word}`,
      { ...changes, [doing]: changes[doing].filter((one) => !same(one, pair)) },
    ]);
  const dropped = changes.drop.map((layer): [string, RoutingChanges] => [
    `L${layer} shared expert off`,
    toggledShared(changes, layer),
  ]);
  const fewer: [string, RoutingChanges][] =
    changes.top_k === null ? [] : [[`top-${changes.top_k} of ${experts}`, { ...changes, top_k: null }]];
  return [...pairs("ban", "forbidden"), ...pairs("force", "forced"), ...dropped, ...fewer];
}
