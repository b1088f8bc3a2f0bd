/**
 * The look of a reply, live or saved: the user's message, the answer behind its bar, notes, one status line.
 * Knows neither widgets nor notebooks; both fill it.
 */

import { copyButton } from "./copy";
import { element } from "./element";
import { fill, type Tree } from "./nodes";
import type { Header } from "./shapes";

export interface Frame {
  root: HTMLElement;
  answer: HTMLElement;
  notes: HTMLElement;
  error: HTMLElement;
  status: HTMLElement;
  actions: HTMLElement;
}

/** Make the frame; the caller puts `root` into the page. */
export function frame(header: Header, answerText: () => string): Frame {
  const root = element("div", "llama-nb-reply");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", `Reply of ${header.model || "the model"}`);
  if (header.system) root.append(system(header.system));
  if (header.user_nodes?.length) root.append(said(header.user_nodes));
  const answer = element("div", "llama-nb-answer");
  const notes = element("ul", "llama-nb-notes");
  const error = element("div", "llama-nb-error");
  error.setAttribute("role", "alert");
  const foot = element("div", "llama-nb-foot");
  const status = element("span", "llama-nb-status");
  const actions = element("span", "llama-nb-actions");
  actions.append(copyButton("Copy the answer", answerText));
  foot.append(status, actions);
  root.append(answer, notes, error, foot);
  show({ notes, error }, [], "");
  return { root, answer, notes, error, status, actions };
}

/** Write the status line; it wraps between its parts only. */
export function showStatus(into: HTMLElement, text: string): void {
  const parts = text.split(" · ").map((part) => element("span", "", part));
  into.replaceChildren(...parts.flatMap((part, index) => (index ? [" · ", part] : [part])));
}

/** Put notes and an error into the frame; what is empty is not shown. */
export function show(into: Pick<Frame, "notes" | "error">, notes: string[], error: string): void {
  into.notes.replaceChildren(...notes.map((note) => element("li", "", note)));
  into.notes.hidden = notes.length === 0;
  into.error.textContent = error;
  into.error.hidden = !error;
}

function system(text: string): HTMLElement {
  const box = element("details", "llama-nb-system");
  box.append(element("summary", "", "System prompt"), element("div", "", text));
  return box;
}

function said(nodes: Tree[]): HTMLElement {
  const box = element("div", "llama-nb-user");
  box.setAttribute("role", "note");
  box.setAttribute("aria-label", "Your message");
  fill(box, nodes);
  return box;
}
