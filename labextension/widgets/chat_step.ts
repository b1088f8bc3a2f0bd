/**
 * One message of the conversation: what was said, which version of it this is, and what can be done with it.
 *
 * Knows a step's record and its contents; what an action does is the kernel's business.
 */

import { copyButton } from "./copy";
import { button, element } from "./element";
import { show, showStatus } from "./frame";
import { pageName } from "./model";
import { fill, type Tree, textOf } from "./nodes";
import type { ChatStep } from "./shapes";

export type Say = (message: Record<string, unknown>) => void;

export interface Contents {
  nodes: Tree[];
  text: string;
}

export interface StepHost {
  say: Say;
  /** Put a new cell with this text below; false when the page cannot. */
  insert(text: string): boolean;
  /** Show or hide the tokens of an answer. */
  tokens(view: StepView): void;
  /** Something was begun: the keys are the composer's again. */
  begun(): void;
  /** Messages that are being reworded, by id, so that no typed text is lost when the path changes. */
  drafts: Map<string, string>;
  /** The one whose new wording is on its way. */
  sent: string | null;
}

export interface StepView {
  id: string;
  root: HTMLElement;
  /** Where the tokens stand when they are shown in the answer's place. */
  tokens: HTMLElement;
  answer: HTMLElement;
  update(step: ChatStep, contents: Contents | undefined): void;
  /** The kernel took the new wording. */
  accepted(): void;
}

const MARKS: Record<string, string> = {
  stopped: "■ stopped: this is the part that was written",
  length: "… max_tokens reached",
  context: "… the context is full",
};
const UNFINISHED = new Set(["stopped", "length"]);
const CALLS: Record<string, string> = {
  asked: "asked for",
  ran: "ran",
  refused: "refused: it was not run",
  failed: "failed",
  invalid: "not a call that can be run",
};

/** Make the view of one message; `signal` ends all listening. */
export function stepView(id: string, role: ChatStep["role"], host: StepHost, signal: AbortSignal): StepView {
  const root = element("div", `llama-nb-reply llama-nb-step llama-nb-step-${role}`);
  root.setAttribute("role", "group");
  const mine = role === "user";
  const answer = element(
    "div",
    mine ? "llama-nb-user" : role === "tool" ? "llama-nb-tool" : "llama-nb-answer",
  );
  const tokens = element("div", "llama-nb-step-tokens");
  const calls = element("ul", "llama-nb-calls");
  const notes = element("ul", "llama-nb-notes");
  const error = element("div", "llama-nb-error");
  const versions = element("span", "llama-nb-versions");
  const status = element("span", "llama-nb-status");
  const actions = element("span", "llama-nb-actions");
  const foot = element("div", "llama-nb-foot");
  foot.append(versions, status, actions);
  root.append(answer, tokens, calls, notes, error, foot);
  tokens.hidden = true;

  let drawn = "";
  let shown: Contents | undefined;
  const text = () => shown?.text || textOf(shown?.nodes ?? []);
  const does = (label: string, name: string, act: () => void, changes = true) => {
    const made = button(label, "", act, signal);
    made.setAttribute("aria-label", name);
    made.dataset.does = name;
    made.toggleAttribute("data-changes", changes);
    return made;
  };
  const begin = (kind: string) => {
    host.say({ kind, id });
    host.begun();
  };
  const editor = mine ? editing(root, answer, foot, id, text, host, signal) : null;
  const copy = copyButton(mine ? "Copy your message" : "Copy the answer", text);
  const insert = does("Insert", "Insert as a %%llama cell", () => host.insert(asCell(text())), false);
  const view: StepView = { id, root, tokens, answer, update, accepted: () => editor?.close() };
  const look = does("Tokens", "Tokens and their alternatives", () => host.tokens(view), false);

  function update(step: ChatStep, contents: Contents | undefined): void {
    if (contents !== shown) drawContents(step, contents);
    const key = JSON.stringify(step);
    if (key === drawn) return;
    drawn = key;
    drawState(step);
  }
  function drawContents(step: ChatStep, contents: Contents | undefined): void {
    shown = contents;
    answer.replaceChildren();
    // An answer that only asks for calls says nothing itself.
    if (contents?.nodes.length) fill(answer, contents.nodes);
    else if (contents && !step.calls?.length) fill(answer, ["(empty)"]);
    if (!mine) offerCells(answer, host, signal);
    drawn = "";
  }
  function drawState(step: ChatStep): void {
    const version = step.versions > 1 ? `, version ${step.version} of ${step.versions}` : "";
    root.setAttribute("aria-label", named(step) + version);
    const mark = MARKS[step.finish];
    answer.querySelector(":scope > .llama-nb-mark")?.remove();
    if (mark && shown) answer.append(element("p", "llama-nb-mark", mark));
    drawCalls(calls, step);
    drawVersions(versions, step, does, host.say);
    showStatus(status, mine ? "" : step.status);
    show({ notes, error }, step.notes, step.error);
    look.hidden = !step.branchable;
    actions.replaceChildren(...offered(step));
  }
  function offered({ finish }: ChatStep): HTMLElement[] {
    if (mine) return [does("Edit", "Edit your message", () => editor?.open()), insert, copy];
    if (role === "tool") return [copy];
    const go = does("Continue", "Continue this answer", () => begin("continue"));
    const retry = does("Retry", "Answer again", () => begin("retry"));
    return [...(UNFINISHED.has(finish) ? [go] : []), retry, look, copy];
  }
  return view;
}

function named({ role, model }: ChatStep): string {
  if (role === "user") return "Your message";
  return role === "tool" ? "Result of a tool" : `Answer of ${model || "the model"}`;
}

/** A message as a cell that sends it, with its braces as they were typed. */
export function asCell(text: string): string {
  return `%%llama chat${text.includes("{{") ? " --raw" : ""}\n${text}`;
}

/** Code can become a cell, which is not run. */
function offerCells(answer: HTMLElement, host: StepHost, signal: AbortSignal): void {
  for (const pre of answer.querySelectorAll("pre")) {
    const code = () => pre.querySelector("code")?.textContent?.replace(/\n$/, "") ?? "";
    const insert = button("Insert", "llama-nb-copy llama-nb-insert", () => host.insert(code()), signal);
    insert.setAttribute("aria-label", "Insert the code as a cell, without running it");
    insert.title = "Insert as a cell below, without running it";
    pre.append(insert);
  }
}

function drawCalls(into: HTMLElement, { calls = [] }: ChatStep): void {
  into.hidden = calls.length === 0;
  into.replaceChildren(
    ...calls.map(({ name, arguments: given, state }) => {
      const row = element("li", "");
      row.append(
        element("code", "", `${name}(${given})`),
        element("span", "llama-nb-muted", CALLS[state] ?? state),
      );
      row.dataset.state = state;
      return row;
    }),
  );
}

type Does = (label: string, name: string, act: () => void) => HTMLButtonElement;

function drawVersions(into: HTMLElement, step: ChatStep, does: Does, say: Say): void {
  into.hidden = step.versions < 2;
  if (into.hidden) return;
  const arrow = (label: string, name: string, to: number) => {
    const id = step.siblings[to];
    const made = does(label, name, () => id !== undefined && say({ kind: "goto", id, tip: true }));
    // Not `disabled`: the key that came this far shall keep the focus.
    made.setAttribute("aria-disabled", String(id === undefined));
    return made;
  };
  const at = step.version - 1;
  const count = element("span", "", `${step.version} / ${step.versions}`);
  into.replaceChildren(arrow("‹", "Previous version", at - 1), count, arrow("›", "Next version", at + 1));
}

/** A user's message in another wording, in its own place. */
function editing(
  root: HTMLElement,
  answer: HTMLElement,
  foot: HTMLElement,
  id: string,
  text: () => string,
  host: StepHost,
  signal: AbortSignal,
) {
  const form = element("div", "llama-nb-edit");
  const field = document.createElement("textarea");
  field.setAttribute("aria-label", "Your message in another wording");
  const send = () => {
    if (!field.value.trim() || host.sent) return;
    host.sent = id;
    host.drafts.set(id, field.value);
    host.say({ kind: "edit", id, text: field.value, page: pageName() });
  };
  const close = () => {
    form.remove();
    answer.hidden = foot.hidden = false;
  };
  const cancel = () => {
    host.drafts.delete(id);
    close();
    foot.querySelector<HTMLElement>("[data-does='Edit your message']")?.focus();
  };
  const row = element("div", "llama-nb-edit-row");
  row.append(
    element("span", "llama-nb-muted", "A new branch; the old one stays."),
    button("Cancel", "", cancel, signal),
    button("Ask again", "llama-nb-primary", send, signal),
  );
  form.append(field, row);
  field.addEventListener("input", () => host.drafts.set(id, field.value), { signal });
  field.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Escape") cancel();
      else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send();
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
    { signal },
  );
  const open = (focus = true) => {
    field.value = host.drafts.get(id) ?? text();
    field.rows = Math.min(8, field.value.split("\n").length + 1);
    answer.hidden = foot.hidden = true;
    root.prepend(form);
    if (focus) field.focus();
  };
  if (host.drafts.has(id)) open(false);
  return { open, close };
}
