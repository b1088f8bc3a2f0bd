/** The transcript of a reply as a saved notebook holds it. It may come from anyone: nothing about it is believed. */

import type { Tree } from "../widgets/nodes";

export const MIME = "application/vnd.llama-nb.reply+json";
export const SCHEMA = 1;

/** What we show of a record; every part was checked. */
export interface ReplyRecord {
  model: string;
  chat: string;
  system: string;
  userNodes: Tree[];
  nodes: Tree[];
  notes: string[];
  status: string;
  finish: string;
  detail: string;
  tokens: Token[];
}

/** A generated token: its id, its text and the natural logarithm of its probability. */
export interface Token {
  id: number | null;
  text: string;
  logprob: number | null;
}

const MAX_NOTES = 50;
const MAX_TOKENS = 20_000;

/** Read a record, or say in a sentence why it cannot be shown. */
export function readRecord(data: unknown): ReplyRecord | string {
  if (!isObject(data)) return "This reply is damaged: it is not an object.";
  if (data.schema !== SCHEMA) {
    const found = typeof data.schema === "number" ? String(data.schema) : "unknown";
    return `This reply was saved by another version of llama-nb (schema ${found}, this one reads ${SCHEMA}).`;
  }
  if (!Array.isArray(data.nodes)) return "This reply is damaged: it has no text.";
  return {
    model: isObject(data.model) ? text(data.model.name, 200) : "",
    chat: text(data.chat, 200),
    system: text(data.system, 100_000),
    userNodes: Array.isArray(data.user_nodes) ? data.user_nodes : [],
    nodes: data.nodes,
    notes: list(data.notes, MAX_NOTES)
      .map((note) => text(note, 2000))
      .filter(Boolean),
    status: text(data.status, 500),
    finish: text(data.finish, 40),
    detail: text(data.detail, 2000),
    tokens: list(data.tokens, MAX_TOKENS).flatMap(token),
  };
}

function token(row: unknown): Token[] {
  if (!Array.isArray(row) || typeof row[1] !== "string") return [];
  const [id, shown, logprob] = row;
  return [{ id: Number.isSafeInteger(id) ? id : null, text: text(shown, 1000), logprob: finite(logprob) }];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function list(value: unknown, longest: number): unknown[] {
  return Array.isArray(value) ? value.slice(0, longest) : [];
}

function text(value: unknown, longest: number): string {
  return typeof value === "string" ? value.slice(0, longest) : "";
}

function finite(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}
