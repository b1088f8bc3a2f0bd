/** JSON shapes that traits carry; the interfaces of whole widgets are generated into traits.ts. */

import type { Tree } from "./nodes";

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

/** What the attention explorer looks at. Layers and heads count from 0. Texts of tokens are untrusted. */
export interface AttentionHead {
  /** The trace's own id, as in `others` and in messages. */
  id?: string;
  model?: string;
  title?: string;
  /** Whether the model is still loaded: switches and other texts need it. */
  alive?: boolean;
  /** The layers that were captured, and what each attends to: "full", "sliding" or "chunked". */
  layers?: number[];
  kinds?: string[];
  heads?: number;
  kv_heads?: number;
  /** How many tokens were read, and how many of them the model was given; it wrote the rest. */
  tokens?: number;
  prompt?: number;
  /** Scores of every head: `values[i][head]` for `layers[i]`, null where there is none. */
  scores?: AttentionScore[];
  /** "none": ask with {kind: "scores"}; "running": `scores` follows. */
  scored?: "none" | "running" | "done";
  /** Whether the model is still writing: rows are added. */
  growing?: boolean;
  /** Other traces of this kernel to compare with. */
  others?: { id: string; title: string; layers: number[]; heads: number; tokens: number }[];
  bytes?: string;
  legend?: string;
}

/** One score of all heads. `meaning` says what it measures and whose it is. */
export interface AttentionScore {
  name: string;
  label: string;
  meaning: string;
  values: (number | null)[][];
}

/** A window of the tokens: at most 1,024 from `start`. `special` lists positions (in the whole text). */
export interface AttentionTokens {
  start?: number;
  texts?: string[];
  special?: number[];
}

/** What is turned off: a head, or all heads ("attention"), the MLP, or everything of a layer. */
export type AttentionOff = [number, number | "attention" | "mlp" | "layer"];

/** What is shown. `rows` are the tokens that read, `cols` those that are read; ends are exclusive. */
export interface AttentionView {
  layer?: number;
  head?: number;
  rows?: [number, number];
  cols?: [number, number];
  /** The token whose links the strip shows; the page's own hovering does not change it. */
  query?: number | null;
  other?: { trace: string; layer: number; head: number } | null;
  /** "two": the other head is in tile2; "difference": this head less the other is in tile2. */
  mode?: "one" | "two" | "difference";
  off?: AttentionOff[];
  /** Counts the kernel's changes. */
  changed?: number;
}

/** Small maps of all heads of a layer, one after another, `side` x `side` bytes each. */
export interface AttentionThumbs {
  layer?: number;
  side?: number;
  heads?: number;
}

/**
 * A map: a byte is 255 * sqrt(weight), or 128 and more or less where `signed`.
 *
 * The bytes that come with it are the pixel rows `band[0]` to `band[1]` of `height`, so that a map that takes
 * long arrives once: first a coarse one (with a smaller height and width, the same number), then bands of the
 * exact one from top to bottom. A page that missed a band says {kind: "hello", whole: false}.
 */
export interface AttentionTile {
  /** Changes with each map that was asked for; bands of one map share it. */
  number?: number;
  layer?: number;
  head?: number;
  rows?: [number, number];
  cols?: [number, number];
  height?: number;
  width?: number;
  band?: [number, number];
  /** The largest weight (of a difference: the largest absolute one), as far as it is computed. */
  peak?: number;
  /** How a pixel stands for several weights: "max". */
  pool?: string;
  /** The share that is exact; 1 when all is. */
  done?: number;
  signed?: boolean;
}

/**
 * What turning parts off does; empty when nothing is off.
 *
 * `before` and `after` have the same tokens, which may come next, each with its probability.
 */
export interface AttentionEffect {
  running?: boolean;
  /** What is off: "L3 H5", "L3 MLP". */
  off?: string[];
  /** The token after which the distributions are. */
  position?: number;
  before?: [string, number][];
  after?: [string, number][];
  /** Divergence of the two distributions, in nats. */
  kl?: number | null;
  /** Mean loss of the whole text, in nats a token. */
  loss_before?: number | null;
  loss_after?: number | null;
  text_before?: string;
  text_after?: string;
  error?: string;
}

/** What the page may send to the attention explorer. `number` comes back in the answer. */
export type AttentionAsk =
  | { kind: "hello"; whole: boolean }
  | { kind: "look"; layer: number; head: number }
  | { kind: "zoom"; rows: [number, number]; cols: [number, number] }
  | { kind: "thumbs"; layer: number }
  | { kind: "query"; query: number | null }
  | { kind: "row"; query: number; number: number; second?: boolean }
  | { kind: "column"; key: number; number: number; second?: boolean }
  | { kind: "value"; row: number; col: number; number: number; second?: boolean }
  | { kind: "compare"; trace: string; layer: number; head: number }
  | { kind: "compare"; off: true }
  | { kind: "mode"; mode: "one" | "two" | "difference" }
  | { kind: "prompt"; text: string }
  | { kind: "tokens"; start: number; end: number; trace?: string }
  | { kind: "scores" }
  | { kind: "off"; parts: AttentionOff[]; mode: "zero" | "mean" }
  | { kind: "data"; number: number }
  | { kind: "cancel" }
  | { kind: "code" };

/** What the kernel answers beside its traits. */
export type AttentionAnswer =
  /** The strongest 64 links of a token that reads: [key, weight]; `rest` is the weight of all others. */
  | AttentionLinks<"row">
  /** Who reads a token most: [query, weight]; `rest` is the sum of all other weights. */
  | AttentionLinks<"column">
  /** One exact weight; null where the token may not be read. */
  | { kind: "value"; number: number; row: number; col: number; value: number | null; second: boolean }
  | { kind: "tokens"; trace: string; start: number; texts: string[]; special: number[] }
  /** The strongest weights of the shown window as tab-separated values. */
  | { kind: "data"; number: number; text: string }
  | { kind: "code"; text: string };

export interface AttentionLinks<Kind extends "row" | "column"> {
  kind: Kind;
  number: number;
  layer: number;
  head: number;
  /** The token that was asked about. */
  query: number;
  links: [number, number][];
  rest: number;
  second: boolean;
}

/** One step of a model's forward pass. `formula` is lines of what is computed and the shape that comes out. */
export interface AnatomyBlock {
  id: string;
  name: string;
  /** Which of the groups of equal layers it is in; null outside of the layers. */
  group: number | null;
  kind: "embedding" | "rope" | "norm" | "attention" | "feed-forward" | "experts" | "head" | "other";
  title: string;
  summary: string;
  about: string;
  formula: [string, string][];
  /** Whether its result is added to the residual stream. */
  adds: boolean;
  parameters: number;
  bytes: number;
  tied: boolean;
  /** Name, shape, parameters, bytes, number format, and whether it is the memory of another tensor. */
  tensors: [string, string, number, number, string, boolean][];
}

/** What a model is made of: blocks in the order of the forward pass, those of equal layers once. */
export interface AnatomyBody {
  model?: string;
  architecture?: string;
  dtype?: string;
  quant?: string;
  parameters?: number;
  bytes?: number;
  context?: number;
  hidden?: number;
  vocabulary?: number;
  depth?: number;
  tied?: boolean;
  /** Whether the model is loaded, so that it can read a text; `example` is one. */
  alive?: boolean;
  example?: string;
  /** What of the whole model: parameters and bytes. */
  parts?: [string, number, number][];
  groups?: { layers: number[]; text: string }[];
  blocks?: AnatomyBlock[];
  /** Of each group's attention. */
  heads?: AnatomyHeads[];
  /** Bytes that the KV cache grows by with a token, and what they would be without grouped queries. */
  cache?: { token: number; ungrouped: number };
  rope?: AnatomyRope | null;
}

export interface AnatomyHeads {
  heads: number;
  kv_heads: number;
  head_dim: number;
  reach: string;
  window: number | null;
  rope: boolean;
}

/** Radians by which each pair of dimensions turns with each position, and what they would be unscaled. */
export interface AnatomyRope {
  frequencies: number[];
  unscaled: number[];
  base: number;
  kind: string;
  scaling: Record<string, number>;
  adjacent: boolean;
}

/** Mean, std, rms, largest, share of zeros, share of negative numbers; null where a figure is no number. */
export type AnatomyStatistics = (number | null)[];

/** A place in every layer, and what was found there, layer by layer. */
export interface AnatomySite {
  place: string;
  symbol: string;
  rows: (AnatomyStatistics | null)[];
}

/** What ran through the model on a text. `positions` are tokens that can be followed: number, text, special. */
export interface AnatomyMeasured {
  title?: string;
  tokens?: number;
  off?: string;
  positions?: [number, string, boolean][];
  sites?: AnatomySite[];
  whole?: AnatomySite[];
  /** Norm of the residual stream before the first layer and behind each: at the first token, mean of the others. */
  residual?: { first: (number | null)[]; others: (number | null)[] };
}

/** One token's way through one norm, and the gates of one layer. */
export interface AnatomyDetail {
  layer?: number;
  norm?: string;
  token?: number;
  rms?: number | null;
  channels?: number[];
  before?: (number | null)[];
  weight?: (number | null)[];
  behind?: (number | null)[];
  /** Channel, before, weight, behind. */
  largest?: (number | null)[][];
  gates?: { low: number; high: number; counts: number[]; below: number; above: number } | null;
}

/** Where a page looks: "" is the whole model. */
export interface AnatomyLook {
  block?: string;
  tab?: string;
  layer?: number;
  token?: number;
}

/** What a lens looked at; a column is a position that was looked at, a row a depth, from the embedding on. */
export interface LensHead {
  title?: string;
  layers?: string[];
  columns?: number;
  /** Tokens of the whole text; the first `prompt` of them were given. */
  tokens?: number;
  prompt?: number;
  /** How many tokens a cell has. */
  top?: number;
  /** The values of the last colour. */
  ends?: Record<LensGround, number>;
  notes?: string[];
}
export type LensGround = "probability" | "entropy" | "kl";

/** The columns from `start` to `end` (exclusive), whose cells are in the trait of that name. */
export interface LensWindow {
  start?: number;
  end?: number;
  positions?: number[];
  tokens?: [string, boolean][];
  /** The token that comes next in the text. */
  ahead?: (number | null)[];
  /** The depth from which on the last layer's token is the likeliest. */
  settled?: number[];
  /** Id, text, whether it is a control token. */
  names?: [number, string, boolean][];
}

/** The cell that is looked at, and what the grounds mean. */
export interface LensPlace {
  row?: number;
  column?: number;
  by?: LensGround;
}
