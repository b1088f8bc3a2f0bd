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
