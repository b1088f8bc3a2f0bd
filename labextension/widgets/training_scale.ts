/** Axes of the charts of a training: where a value stands, which values have a mark. Plain numbers, no page. */

import { figure } from "./anatomy_figures";

/** A loss: always three digits, so that what changes twice a second does not jump. */
export function lossText(value: number | null | undefined): string {
  const usual = typeof value === "number" && value >= 0.01 && value < 999;
  return usual ? value.toPrecision(3) : figure(value);
}

export interface Scale {
  /** The values that have a mark. */
  ticks: number[];
  /** Where a value stands between the bottom, 0, and the top, 1. */
  at(value: number): number;
}

/** Marks of a logarithmic axis, coarse ones first: the first kind of which two lie in sight is taken. */
const IN_A_DECADE = [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7]];
const MOST_LOG_TICKS = 6;

/** The smallest of 1, 2, 5 times a power of ten that is not below a value. */
function rounded(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 5, 10].find((step) => value <= step * power * 1.0001) ?? 10);
}

/** An axis from a round value to a round value, with about `count` steps between them. */
export function linear(low: number, high: number, count: number): Scale {
  const apart = high > low ? 0 : Math.abs(high) / 10 || 1; // a single value stands in the middle
  const step = rounded((high - low + 2 * apart) / count);
  const first = Math.floor((low - apart) / step + 1e-6);
  const last = Math.max(first + 1, Math.ceil((high + apart) / step - 1e-6));
  const ticks = Array.from({ length: last - first + 1 }, (_, at) =>
    Number(((first + at) * step).toPrecision(6)),
  );
  return { ticks, at: (value) => (value / step - first) / (last - first) };
}

/** An axis of logarithms; what is not above zero stands at the bottom. */
export function logarithmic(low: number, high: number): Scale {
  const [bottom, top] = [Math.log10(low / 1.06), Math.log10(Math.max(high, low * 1.02) * 1.06)];
  const at = (value: number) => (value > 0 ? Math.max(0, (Math.log10(value) - bottom) / (top - bottom)) : 0);
  const seen = (value: number) => at(value) > 0 && at(value) <= 1;
  const powers = Array.from(
    { length: Math.ceil(top) - Math.floor(bottom) + 1 },
    (_, index) => 10 ** (Math.floor(bottom) + index),
  );
  for (const kind of IN_A_DECADE) {
    const ticks = powers
      .flatMap((power) => kind.map((part) => Number((part * power).toPrecision(3))))
      .filter(seen);
    const every = Math.ceil(ticks.length / MOST_LOG_TICKS);
    if (ticks.length > 1) return { ticks: ticks.filter((_, index) => index % every === 0), at };
  }
  // Less than that lies between the ends: steps as on any other axis.
  return { ticks: linear(low, high, 3).ticks.filter(seen), at };
}

/**
 * Where the axis of steps ends: at a round number that leaves room to grow, and not behind the last step.
 *
 * So the curves stay where they are for a while, and then all move at once.
 */
export function endOf(step: number, steps: number): number {
  const round = rounded(Math.max(step, 5));
  return steps > 0 && round > steps ? Math.max(steps, step) : round;
}

/** Steps that are named below a chart that is `width` pixels wide. */
export function stepTicks(end: number, width: number): number[] {
  const each = Math.max(1, rounded(end / Math.max(1, Math.floor(width / 62))));
  const ticks = Array.from({ length: Math.floor(end / each) + 1 }, (_, at) => at * each);
  return ticks;
}
