/**
 * JSON shapes of the routing explorer.
 *
 * Layers are the model's own numbers, counted from 0; not all of them have experts. A "layer index"
 * is a place in `RoutingHead.layers`. Texts of tokens, labels and names are untrusted.
 */

/** What is looked at. */
export interface RoutingHead {
  model?: string;
  title?: string;
  /** Whether the model is still loaded: what-ifs, and what is asked of the weights, need it. */
  alive?: boolean;
  /** The layers with experts. */
  layers?: number[];
  experts?: number;
  /** How many experts each token goes through, beside a shared one where there is one. */
  top_k?: number;
  shared?: boolean;
  gate?: "sigmoid" | "softmax";
  architecture?: string;
  /** How many tokens were read, and how many of them the model was given; it wrote the rest. */
  tokens?: number;
  prompt?: number;
  documents?: number;
  /** The labels of the documents; none where they have none. */
  domains?: string[];
  /** Whether the model is still writing: tokens are added. */
  growing?: boolean;
  bytes?: string;
  /** Whether the scores of all experts were kept, so that {kind: "scores"} is answered. */
  scores_kept?: boolean;
  /** What was changed in the model while the text was read: "L3 E2 forbidden". */
  changed?: string;
}

/**
 * What the bytes of `routes` are: the tokens `start` to `stop` (at most 4,096), in `layers` layers.
 *
 * One after another, all token-major, with n = stop - start:
 * - chosen, (n, layers, k) numbers of experts, by falling weight; `bytes_each` bytes each, little-endian;
 * - margin, entropy, weight of the first choice, (n, layers) bytes each: 255 is the value in `scales`.
 */
export interface RoutingRoutes {
  start?: number;
  stop?: number;
  layers?: number;
  k?: number;
  bytes_each?: 1 | 2;
  scales?: { margin: number; entropy: number; weight: number };
  /** Counts the windows that were sent. */
  number?: number;
}

/** The texts of the same window. `special` lists positions (in the whole text). */
export interface RoutingTokens {
  start?: number;
  texts?: string[];
  special?: number[];
  /** Where documents begin: position, label ("" where there is none). */
  breaks?: [number, string][];
}

/** Each expert's share of the tokens. Rows are layer indices; columns are experts; a row sums to 1. */
export interface RoutingLoad {
  /** Of which domain; "" is all of them. */
  domain?: string;
  /** What `difference` is against: an even share, or with a domain the shares of all others. */
  against?: "uniform" | "others";
  shares?: number[][];
  difference?: number[][] | null;
  /** Of each layer: coefficient of variation, largest share over the mean share, balance loss (1 is even). */
  cv?: number[];
  max_over_mean?: number[];
  balance?: (number | null)[];
  /** Experts that no token goes to: layer, expert. */
  dead?: [number, number][];
  /** Where documents have labels: how much the expert tells of the label, layer by layer. */
  information?: RoutingInformation[];
}

/** `shuffled` and `shuffled95` are mean and 95th percentile with the documents' labels shuffled. */
export interface RoutingInformation {
  layer: number;
  bits: number;
  shuffled: number;
  shuffled95: number;
  chi_square: number | null;
  p: number | null;
  v: number | null;
}

export type RoutingPane = "tokens" | "paths" | "expert" | "whatif" | "cost";
export type RoutingShade = "margin" | "entropy" | "weight";

/** What is changed in the model; pairs are layer and expert. */
export interface RoutingChanges {
  ban: [number, number][];
  force: [number, number][];
  /** Layers whose shared expert is off. */
  drop: number[];
  /** How many experts a token goes through; null as the model does. */
  top_k: number | null;
}

/** Where one looks. The page's own hovering does not change it. */
export interface RoutingView {
  layer?: number;
  pane?: RoutingPane;
  expert?: number | null;
  token?: number | null;
  domain?: string;
  shade?: RoutingShade;
  /** What is changed in "What if". */
  changes?: RoutingChanges;
  /** Counts the kernel's changes. */
  changed?: number;
}

/** Flows between neighbouring layers with experts; empty until somebody asks. */
export interface RoutingPaths {
  domain?: string;
  /** Only tokens of this text; null: all. */
  token?: string | null;
  /** How many tokens are counted. */
  tokens?: number;
  /** Layer index, expert, expert in the next layer, share of the tokens: the largest 400 around the layer. */
  flows?: [number, number, number, number][];
  /** The share of the flows there that is not among them. */
  rest?: number;
  /**
   * Of the looked-at layer. "transition": values[a][b] is the share of expert a's tokens that go to b in the
   * next layer with experts; "together": the share of tokens that go through both a and b.
   */
  matrix?: { layer: number; next: number | null; kind: "transition" | "together"; values: number[][] } | null;
  running?: boolean;
  error?: string;
}

/** One expert; empty until somebody asks. */
export interface RoutingExpert {
  layer?: number;
  expert?: number;
  running?: boolean;
  share?: number;
  /** Its share of each domain's tokens. */
  by_domain?: [string, number][];
  /** Its share of the tokens in each tenth of the texts. */
  by_position?: number[];
  /** Text, how often it gets it, its share in this expert over its share in all. */
  tokens?: [string, number, number][];
  /** Text before, token, text behind, routing weight, position. */
  contexts?: [string, string, string, number, number][];
  /** Norm of its weights, and those of all experts of the layer; null where the model is not loaded. */
  norm?: number | null;
  norms?: number[];
  /** Other experts of the layer: number, cosine of the weights, cosine of the router's rows. */
  similar?: [number, number, number][];
  dead?: boolean;
  error?: string;
}

/**
 * What the changes do; empty when nothing is changed.
 *
 * `before` and `after` have the same tokens, which may come next, each with its probability.
 */
export interface RoutingEffect {
  running?: boolean;
  /** "L3 E2 forbidden", "L3 shared expert off", "top-1 of 8". */
  changed?: string[];
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

/** What the experts cost; empty until somebody asks. */
export interface RoutingCost {
  total_parameters?: number;
  /** That one token goes through. */
  active_parameters?: number;
  total_bytes?: number;
  /** Bytes of weights that are read for one token. */
  token_bytes?: number;
  /** Bytes of one expert. */
  expert_bytes?: number;
  /** Experts that are kept, of each layer, and the share of choices that find theirs: LRU, best possible, random. */
  cache?: [number, number, number, number][];
  /** Tokens that are computed together, and the share of the experts that they need. */
  batch?: [number, number][];
  /** A line to run: the plan of this model. */
  plan?: string;
  /** What that means, in sentences. */
  lines?: string[];
  running?: boolean;
  error?: string;
}

/** What the page may send. `number` comes back in the answer. */
export type RoutingAsk =
  | { kind: "hello" }
  /** Look at a layer; where `token` is given, at that token too (null: at none). */
  | { kind: "look"; layer: number; token?: number | null }
  /** Send the window of tokens from `start` on. */
  | { kind: "window"; start: number }
  | { kind: "domain"; name: string }
  | { kind: "pane"; pane: RoutingPane }
  | { kind: "shade"; shade: RoutingShade }
  | { kind: "scores"; number: number; layer: number; token: number }
  | { kind: "paths"; domain: string; token: string | null; layer: number }
  | { kind: "expert"; layer: number; expert: number }
  /** All changes; all empty and null: none. `position`: the token after which the distributions are. */
  | ({ kind: "whatif"; position: number | null } & RoutingChanges)
  | { kind: "cost" }
  | { kind: "cancel" }
  | { kind: "code"; part: RoutingPart };

/** What comes after the first picture: paths and what takes data out; the other panes, when one is opened. */
export type RoutingPart = "more" | "further";

/** What the kernel answers beside its traits. */
export type RoutingAnswer = RoutingScores | { kind: "code"; part: RoutingPart; text: string };

/** Each expert's score for one token, and the chosen ones with their routing weights. */
export interface RoutingScores {
  kind: "scores";
  number: number;
  layer: number;
  token: number;
  scores: number[];
  chosen: [number, number][];
}
