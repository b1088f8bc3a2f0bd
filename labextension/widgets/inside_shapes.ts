/** JSON shapes of the views that look inside a model: attention, anatomy, lens. */

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
  /** Position, text and whether it is a control token, of each link. */
  tokens: [number, string, boolean][];
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
