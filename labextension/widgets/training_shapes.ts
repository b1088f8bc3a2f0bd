/**
 * JSON shapes of the training panel.
 *
 * All of it is read from the run's folder, which may come from anywhere: every text is untrusted. A field
 * that is absent or null is not known (yet).
 */

import type { Tree } from "./nodes";

/** Who the run is, how far it is and what can be done with it now. */
export interface TrainingHead {
  name?: string;
  folder?: string;
  /** The base, and the name of the adapter that is trained on it. */
  model?: string;
  adapter?: string;
  state?: "waiting" | "running" | "paused" | "stopped" | "finished" | "failed" | "interrupted";
  /** What the state means, in one sentence: "stopped at step 40: `%llama train --resume persona` goes on". */
  sentence?: string;
  step?: number;
  steps?: number;
  epoch?: number | null;
  /** Who computes it: "in this kernel", "in a process of its own", "torchrun, 4 processes". */
  executor?: string;
  method?: string;
  objective?: string;
  rank?: number | null;
  /** How many weights are trained. */
  parameters?: number | null;
  /** Seconds: left, and spent on steps so far. */
  eta_s?: number | null;
  spent_s?: number | null;
  tokens_per_s?: number | null;
  loss?: number | null;
  smoothed?: number | null;
  validation?: number | null;
  /** The lowest validation loss, and at which step. */
  best?: number | null;
  best_step?: number | null;
  lr?: number | null;
  gradient_norm?: number | null;
  /** Bytes: the peak that was measured, and what the plan said before. */
  memory?: number | null;
  planned_memory?: number | null;
  /** Seconds of the whole run, as planned before the first step. */
  planned_s?: number | null;
  /** Why it waits: "a chat (main) is being answered"; empty when nothing is. */
  serving?: string;
  notes?: string[];
  error?: string;
  hint?: string;
  data?: TrainingData;
  /** The step of the newest checkpoint; null before the first. */
  saved_step?: number | null;
  /** The orders that make sense now: buttons for others are disabled. */
  orders?: ("pause" | "resume" | "stop" | "save" | "lr" | "prompt")[];
  /** An order that was given and is not obeyed yet: it is obeyed at the end of a step. */
  ordered?: string;
  /** What stopping now keeps, in one sentence. */
  keeps?: string;
  /** Whether the base is loaded in this kernel, so that chats can ask the adapter; and whether they do. */
  alive?: boolean;
  adapter_on?: boolean;
  /** The line that talks to it: "%%llama chat". */
  chat?: string;
}

/** What is learned from. `trained` of `tokens` count as targets, in one epoch. */
export interface TrainingData {
  source?: string;
  format?: string;
  rows?: number | null;
  validation_rows?: number | null;
  tokens?: number | null;
  trained?: number | null;
  notes?: string[];
}

/**
 * The curves, at most 600 points of them. All columns have the length of `steps`; null is not known, or not finite.
 *
 * A point stands for `stride` optimiser steps and bears the number of the last of them: `loss` and
 * `tokens_per_s` are means, `gradient_norm` and `memory` the largest, `lr` and `smoothed` the last.
 */
export interface TrainingCurves {
  /** Counts the changes; see TrainingPoints. */
  revision?: number;
  stride?: number;
  steps?: number[];
  loss?: (number | null)[];
  smoothed?: (number | null)[];
  lr?: (number | null)[];
  gradient_norm?: (number | null)[];
  tokens_per_s?: (number | null)[];
  /** Bytes. */
  memory?: (number | null)[];
  /** Step and validation loss. */
  validation?: [number, number | null][];
}

/**
 * A custom message that changes the curves, when `revision` is the page's plus one.
 *
 * Of the points the first `keep` stay and `add` follows; of the validation losses the first `keep_validation`.
 * A page that missed one sends {kind: "lost"} and gets the whole trait.
 */
export interface TrainingPoints {
  kind: "points";
  revision: number;
  keep: number;
  keep_validation: number;
  add: TrainingCurves;
}

/** What the model answers to fixed prompts: before the training, and after `step` steps of it. */
export interface TrainingSamples {
  /** The steps at which answers were taken; {kind: "sample", step} asks for another one of them. */
  steps?: number[];
  step?: number;
  answers?: TrainingSample[];
}

export interface TrainingSample {
  prompt: string;
  /** Null where there is no answer (yet), such as for a prompt that was added later. */
  before: Tree[] | null;
  after: Tree[] | null;
}

/** The parameters of the run, each with what it is and what happens if one turns it. */
export interface TrainingRecipe {
  rows?: TrainingParameter[];
}

export interface TrainingParameter {
  name: string;
  value: string;
  /** Whether it is as nobody chose it. */
  usual: boolean;
  help: string;
  turn: string;
}

/** What the page sends. */
export type TrainingAsk =
  | { kind: "pause" | "resume" | "stop" | "save" }
  | { kind: "lr"; value: number }
  | { kind: "prompt"; text: string }
  | { kind: "adapter"; use: boolean }
  | { kind: "sample"; step: number }
  | { kind: "lost" | "code" };
