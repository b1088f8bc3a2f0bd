/**
 * The record of a plan (llama_nb/planner/plan.py writes it). It also comes out of saved notebooks, so it may be from
 * anyone: every part is checked here, sizes are limited, and what is left can be drawn without another look.
 */

import { LOOKS, type Look } from "./memory_bar";
import { VERDICTS, type Verdict } from "./verdict";

export const PLAN_MIME = "application/vnd.llama-nb.plan+json";
export const PLAN_SCHEMA = 1;

export interface Part {
  look: Look;
  label: string;
  detail: string;
}

/** What one choice takes: bytes in the order of the parts. */
export interface Amount {
  bytes: number[];
  total: number;
  verdict: Verdict;
}

export interface Stop extends Amount {
  context: number;
  sentence: string;
}

export interface Quant extends Amount {
  quant: string;
  label: string;
  bits: number | null;
  command: string;
}

export interface Plan {
  name: string;
  quant: string;
  quantLabel: string;
  dtype: string;
  batch: number;
  train: string;
  device: { name: string; memory: number | null; count: number };
  parts: Part[];
  stops: Stop[];
  at: number;
  quants: Quant[];
  options: { what: string; command: string; bytes: number | null }[];
  speed: { label: string; value: string; detail: string }[];
  notes: string[];
  sources: string[];
}

const MOST = { parts: 16, stops: 64, quants: 64, options: 20, speed: 60, notes: 50, sources: 50 };
const LONGEST = 500;
const LARGEST = 1e18;
// Control characters, and those that turn the reading direction: what is copied must be what is read.
const HIDDEN = /[\p{Cc}\p{Cf}\u2028\u2029]+/gu;

/** Read a record, or say in a sentence why it cannot be shown. */
export function readPlan(data: unknown): Plan | string {
  if (!isObject(data)) return "This plan is damaged: it is not an object.";
  if (data.schema !== PLAN_SCHEMA) {
    const found = typeof data.schema === "number" ? String(data.schema) : "unknown";
    return `This plan was saved by another version of llama-nb (schema ${found}, this one reads ${PLAN_SCHEMA}).`;
  }
  const parts = list(data.parts, MOST.parts, part);
  if (parts.length === 0) return "This plan is damaged: it has no parts.";
  const stops = list(data.stops, MOST.stops, (one) => stop(one, parts.length));
  if (stops.length === 0) return "This plan is damaged: it has no figures.";
  const device = isObject(data.device) ? data.device : {};
  return {
    name: text(data.name) || "A model",
    quant: text(data.quant),
    quantLabel: text(data.quant_label),
    dtype: text(data.dtype),
    batch: count(data.batch) ?? 1,
    train: text(data.train),
    device: { name: text(device.name), memory: count(device.memory), count: count(device.count) ?? 1 },
    parts,
    stops,
    at: Math.min(stops.length - 1, Math.floor(count(data.at) ?? 0)),
    quants: list(data.quants, MOST.quants, (one) => quant(one, parts.length)),
    options: list(data.options, MOST.options, option),
    speed: list(data.speed, MOST.speed, speed),
    notes: list(data.notes, MOST.notes, (note) => text(note) || null),
    sources: list(data.sources, MOST.sources, (source) => text(source) || null),
  };
}

function part(one: unknown): Part | null {
  if (!isObject(one) || !text(one.label)) return null;
  const look = LOOKS.find((known) => known === one.key) ?? "other";
  return { look, label: text(one.label), detail: text(one.detail) };
}

function amount(one: Record<string, unknown>, parts: number): Amount | null {
  const bytes = Array.isArray(one.bytes) && one.bytes.length === parts ? one.bytes.map(count) : [];
  if (bytes.length !== parts || bytes.some((each) => each === null)) return null;
  const whole = bytes as number[];
  const total = whole.reduce((sum, each) => sum + each, 0);
  return { bytes: whole, total, verdict: VERDICTS.find((known) => known === one.verdict) ?? "unknown" };
}

function stop(one: unknown, parts: number): Stop | null {
  const taken = isObject(one) ? amount(one, parts) : null;
  const context = isObject(one) ? count(one.context) : null;
  return isObject(one) && taken && context !== null
    ? { ...taken, context, sentence: text(one.sentence) }
    : null;
}

function quant(one: unknown, parts: number): Quant | null {
  const taken = isObject(one) ? amount(one, parts) : null;
  if (!isObject(one) || !taken || !text(one.label)) return null;
  const named = { quant: text(one.quant), label: text(one.label), command: text(one.command) };
  return { ...taken, ...named, bits: count(one.bits) };
}

function option(one: unknown): Plan["options"][number] | null {
  if (!isObject(one) || !text(one.what)) return null;
  return { what: text(one.what), command: text(one.command), bytes: count(one.bytes) };
}

function speed(one: unknown): Plan["speed"][number] | null {
  if (!isObject(one) || !text(one.label)) return null;
  return { label: text(one.label), value: text(one.value), detail: text(one.detail) };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The items that `read` understands, of the first `most`. */
function list<T>(value: unknown, most: number, read: (item: unknown) => T | null): T[] {
  const items: unknown[] = Array.isArray(value) ? value.slice(0, most) : [];
  return items.flatMap((item) => {
    const known = read(item);
    return known === null ? [] : [known];
  });
}

function text(value: unknown): string {
  return typeof value === "string" ? value.slice(0, LONGEST).replace(HIDDEN, " ").trim() : "";
}

function count(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 && value <= LARGEST ? value : null;
}
