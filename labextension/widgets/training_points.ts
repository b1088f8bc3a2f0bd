/** The curves in the page: what the kernel changes at their end is changed, and a page that missed something asks for all. */

import type { Model } from "./model";
import type { TrainingCurves, TrainingPoints } from "./shapes";

const COLUMNS = ["loss", "smoothed", "lr", "gradient_norm", "tokens_per_s", "memory"] as const;
export type Column = (typeof COLUMNS)[number];

/** The curves with what is new behind those that stay; null when it does not fit (a message was missed). */
export function changed(curves: TrainingCurves, change: TrainingPoints): TrainingCurves | null {
  const { revision, keep, keep_validation: kept, add } = change;
  const { steps = [], validation = [] } = curves;
  const fits = keep <= steps.length && kept <= validation.length;
  if (!fits || revision !== (curves.revision ?? 0) + 1) return null;
  const made: TrainingCurves = { ...curves, ...add, revision };
  made.steps = [...steps.slice(0, keep), ...(add.steps ?? [])];
  made.validation = [...validation.slice(0, kept), ...(add.validation ?? [])];
  for (const name of COLUMNS)
    made[name] = made.steps.map((_, at) => (at < keep ? curves[name]?.[at] : add[name]?.[at - keep]) ?? null);
  return made;
}

/** Keep the model's curves up to date, once per model; returns how to end that. */
export function followPoints(model: Model<{ curves: TrainingCurves }>): () => void {
  let asked = false;
  const onMessage = (message: TrainingPoints) => {
    if (message?.kind !== "points" || message.revision <= (model.get("curves").revision ?? 0)) return;
    const next = changed(model.get("curves"), message);
    if (!next && !asked) model.send({ kind: "lost" });
    asked = !next;
    if (next) model.set("curves", next);
  };
  model.on("msg:custom", onMessage);
  return () => model.off("msg:custom", onMessage);
}

/** The validation loss at a step, or the last one before it. */
export function validationAt(curves: TrainingCurves, step: number): [number, number] | null {
  let found: [number, number] | null = null;
  for (const [at, value] of curves.validation ?? []) if (at <= step && value !== null) found = [at, value];
  return found;
}

/** The place of the step that is nearest to a number. */
export function nearest(steps: number[], wanted: number): number {
  let best = 0;
  steps.forEach((step, index) => {
    if (Math.abs(step - wanted) < Math.abs((steps[best] ?? 0) - wanted)) best = index;
  });
  return best;
}

/** All curves, tab-separated, a row a step. */
export function asTable(curves: TrainingCurves): string {
  const validation = new Map(curves.validation ?? []);
  const places = new Map((curves.steps ?? []).map((step, index) => [step, index]));
  const steps = [...new Set([...places.keys(), ...validation.keys()])].sort((one, other) => one - other);
  const rows = steps.map((step) => {
    const index = places.get(step) ?? -1;
    return [step, ...COLUMNS.map((name) => curves[name]?.[index] ?? ""), validation.get(step) ?? ""];
  });
  return [["step", ...COLUMNS, "validation_loss"], ...rows].map((row) => row.join("\t")).join("\n");
}
