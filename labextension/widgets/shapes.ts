/** JSON shapes that traits carry; the interfaces of whole widgets are generated into traits.ts. */

import type { Tree } from "./nodes";

export * from "./inside_shapes";
export * from "./routing_shapes";
export * from "./training_shapes";

/** What stands above an answer. */
export interface Header {
  user_nodes?: Tree[];
  system?: string;
  model?: string;
  chat?: string;
}

/** A mime bundle: data by mime type. */
export type Bundle = Record<string, unknown>;

/** A model that the loader panel lists. Names come out of folders and caches: every text is untrusted. */
export interface LoaderEntry {
  source: string;
  name: string;
  where: "loaded" | "bundled" | "cached" | "typed" | "hub";
  family: string;
  size: string;
  kind: string;
  date: string;
  licence: string;
  /** "8.03 B", or nothing where nobody knows. */
  parameters: string;
  gated: boolean;
  /** The verdict for the least lossy quantisation that runs here, which `quant` names. */
  fits: string;
  quant: string;
}

/** What can be chosen, and where it would run. `offline` says why nothing can be downloaded. */
export interface LoaderCatalogue {
  entries?: LoaderEntry[];
  offline?: string;
  machine?: string;
}

/** The loaded models, and what was given back last. */
export interface LoaderModels {
  models?: { name: string; detail: string; bytes: number; current: boolean }[];
  freed?: string;
}

/** What a context costs: bytes for each of the plan's parts. */
export interface LoaderStop {
  context: number;
  bytes: number[];
  total: number;
  verdict: string;
  sentence: string;
}

/** The chosen model, with every quantisation at every context, so that no choice needs the kernel. */
export interface LoaderPlan {
  source?: string;
  name?: string;
  argument?: string;
  facts?: string[];
  refused?: string;
  notes?: string[];
  licence?: { name: string; lines: string[]; command: string; url: string };
  gate?: { sentence: string; url: string; command: string };
  devices?: { name: string; label: string }[];
  device?: string;
  memory?: number | null;
  parts?: { key: string; label: string }[];
  quants?: {
    quant: string;
    label: string;
    title: string;
    bits: number;
    refused: string;
    stops: LoaderStop[];
  }[];
}

/** What the panel would load now. */
export interface LoaderChoice {
  source?: string;
  quant?: string;
  device?: string;
  context?: number | null;
}

/** How far the panel's load is; empty before the first. */
export interface LoaderJob {
  state?: "running" | "done" | "failed" | "cancelled";
  source?: string;
  what?: string;
  done?: number;
  total?: number | null;
  unit?: string;
  left_s?: number | null;
  spent_s?: number;
  cancelling?: boolean;
  notes?: string[];
  model?: string;
  bytes?: number;
  chats?: boolean;
  message?: string;
  hint?: string;
}

/** What each memory of the machine holds now. */
export interface MemoryReadings {
  bars?: { name: string; capacity: number; parts: { look: string; label: string; bytes: number }[] }[];
}

/** One sampling parameter as a slider: its range, where it does nothing, and why it may have no effect now. */
export interface Control {
  name: string;
  label: string;
  meaning: string;
  low: number;
  high: number;
  step: number;
  scale: "linear" | "log";
  /** The value at which the stage does nothing; null where there is none. */
  off: number | null;
  /** Null is off, too, for parameters that need not have a value. */
  value: number | null;
  default: number | null;
  /** Why the control has no effect now; empty when it has. */
  idle: string;
  group: string;
  /** Whether `off` is a value, and the slider's end for it when it is not between `low` and `high`. */
  can_be_off?: boolean;
  off_end?: "low" | "high";
  /** What may be typed: `open` when `least` itself is too little. */
  least?: number;
  most?: number | null;
  open?: boolean;
  whole?: boolean;
  /** What some values are called: temperature 0 is "greedy". */
  words?: [number | null, string][];
}

/** The session's sampling; `line` is the command that sets what differs from the defaults. */
export interface SamplingState {
  controls?: Control[];
  line?: string;
  presets?: string[];
}

/** What stands around a conversation. `where` says in a sentence where the chat is kept. */
export interface ChatHead {
  chat?: string;
  /** Which of its kernel's panels this is. */
  panel?: number;
  /** Name of the model that answers; empty when none is loaded. */
  model?: string;
  /** Type, device and quantisation of the model in one line. */
  detail?: string;
  /** False when the panel's model is gone; `error` then says what to type. */
  alive?: boolean;
  /** Whether it is a base model, which has no chat template. */
  base?: boolean;
  /** What could be asked first. */
  ideas?: string[];
  chats?: string[];
  models?: { name: string; detail: string; current: boolean }[];
  /** The model's adapters, and which of them answer: "persona", "a:0.7 b:0.3", "" for the base alone. */
  adapters?: { names: string[]; label: string };
  system?: string;
  context?: { used: number; total: number };
  kept?: boolean;
  tools?: string[];
  where?: string;
}

/** A call of a function that the model asked for. `arguments` is JSON, as text. */
export interface ChatCall {
  name: string;
  arguments: string;
  state: "asked" | "ran" | "refused" | "failed" | "invalid";
}

/** One message of the conversation; its contents are asked for once ("want") and come as "contents". */
export interface ChatStep {
  id: string;
  role: "user" | "assistant" | "tool";
  /** Which of `versions` this is, from 1; `siblings` are the ids of all of them in order. */
  version: number;
  versions: number;
  siblings: string[];
  model: string;
  /** How an answer ended: "stop" is the model's own end; others are "length", "stopped", "context", "error". */
  finish: string;
  /** One line: tokens, seconds, seed. */
  status: string;
  notes: string[];
  error: string;
  tokens: number;
  /** Whether tokens and alternatives are still known, so that a click on one can branch. */
  branchable: boolean;
  calls?: ChatCall[];
}

/** The path from the first message to the conversation's end. */
export interface ChatPath {
  steps?: ChatStep[];
}

/** What is being written; empty when nothing is. `asked` is the message that is answered, which is in the path. */
export interface ChatLive {
  asked?: string;
  /** How many tokens of the new answer were taken over from an older one. */
  kept?: number;
  kind?: "chat" | "retry" | "branch" | "continue" | "edit" | "tools";
  /** A call that waits for "allow" or "deny". */
  pending?: { call: string; name: string; arguments: string; sentence: string };
}

/** What the sampling laboratory walks through. Texts of tokens are untrusted. */
export interface LabPlace {
  kind?: "reply" | "text" | "chat";
  title?: string;
  model?: string;
  alive?: boolean;
  /** Whether the model has answered since. */
  newer?: boolean;
  /** The earliest position that can be looked at. */
  first?: number;
  /** Text, whether it is a control token, probability and entropy (nats), of each token. */
  tokens?: [string, boolean, number | null, number | null][];
}

/** A stage of the chain: acting ("on", with what it did), set without effect ("idle"), or "off". */
export interface LabStage {
  name: string;
  label: string;
  value: string;
  movable: boolean;
  means: string;
  state: "on" | "idle" | "off";
  reason?: string;
  /** Which of the rows' `steps` stands behind it. */
  step?: number;
  kept?: number;
  removed?: number;
  lost?: number;
  mass?: number;
  entropy?: number;
}

/** A token: its probability before the chain, behind each acting stage, and at the end; who ruled it out. */
export interface LabRow {
  id: number;
  text: string;
  special: boolean;
  before: number;
  after: number;
  by: string;
  steps: number[];
}

/** The distribution at the place, with the parameters as they stand. */
export interface LabView {
  place?: string;
  position?: number;
  context?: string;
  vocabulary?: number;
  chosen?: number | null;
  stages?: LabStage[];
  rows?: LabRow[];
  rest?: { count: number; before: number; after: number; steps: number[] };
  draws?: { n: number; counts: number[]; others: number; distinct: number } | null;
  values?: Record<string, number | null>;
  idle?: Record<string, string>;
  line?: string;
  /** Whether the session uses these parameters, and whether they differ from where the laboratory began. */
  applied?: boolean;
  changed?: boolean;
  /** Whether XTC acts in some of the draws only, which `after` counts. */
  mixed?: boolean;
}

/** The text that follows the place; empty when nobody asked for one. `first` is the token put there by hand. */
export interface LabAhead {
  state?: "waiting" | "running" | "done";
  text?: string;
  first?: string;
  token?: number | null;
  seed?: number;
}

/** What a comparison compares. Rows and columns are named by what differs; "" where nothing does. */
export interface CompareGrid {
  title?: string;
  message?: string;
  system?: string;
  columns?: string[];
  rows?: string[];
}

/** One answer. `common`, `mark` and `rest` are its text: as in the reference, the token that differs, what follows. */
export interface CompareCell {
  number: number;
  label: string;
  row: number;
  column: number;
  span: number;
  state: "waiting" | "loading" | "writing" | "measuring" | "done" | "failed" | "skipped";
  common: string;
  mark: string;
  rest: string;
  /** The index of the first token that differs; null where none does. */
  place: number | null;
  /** The number of the cell that it is compared with; null for that one itself. */
  reference: number | null;
  status: string;
  verdict: string;
  error: string;
  hint: string;
  /** Divergence in nats for each token of the reference's answer; null in it is infinite. */
  kl: (number | null)[] | null;
  mean_kl: number | null;
  /** The tokens of this answer, where a divergence goes along them: text, and whether it is a control token. */
  pieces?: [string, boolean][];
}

/** All answers, in the order of their numbers. */
export interface CompareCells {
  cells?: CompareCell[];
}
