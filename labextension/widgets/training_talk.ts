/** The last line of the panel: how to talk to what is being learned, and whether chats ask it. */

import { copyButton } from "./copy";
import { button, element } from "./element";
import { INSERT_EVENT } from "./insert";
import type { TrainingHead } from "./shapes";
import type { Ask } from "./training_controls";

export interface TalkLine {
  root: HTMLElement;
  update(head: TrainingHead): void;
}

export function talkLine(ask: Ask, el: HTMLElement, signal: AbortSignal): TalkLine {
  const root = element("div", "llama-nb-tr-talk");
  const line = element("code", "");
  const copy = copyButton("Copy the line", () => line.textContent ?? "");
  const insert = button("Insert", "llama-nb-copy", () => put(), signal);
  insert.setAttribute("aria-label", "Insert the line as a cell");
  const toggle = button("", "llama-nb-tr-switch", () => turn(), signal);
  toggle.setAttribute("role", "switch");
  const knob = element("i", "");
  knob.setAttribute("aria-hidden", "true");
  const name = element("span", "");
  toggle.append(knob, name);
  root.append(element("span", "llama-nb-muted", "Talk to it"), line, insert, copy, toggle);
  const put = () => {
    const detail = `${line.textContent}\n`;
    const event = new CustomEvent(INSERT_EVENT, { bubbles: true, cancelable: true, detail });
    if (el.dispatchEvent(event)) copy.click();
  };
  const turn = () => {
    const use = toggle.getAttribute("aria-checked") !== "true";
    toggle.setAttribute("aria-checked", String(use)); // until the kernel says what is
    ask({ kind: "adapter", use });
  };
  return {
    root,
    update(head) {
      const { alive, adapter, adapter_on: on } = head;
      line.textContent = line.title = lineOf(head);
      root.hidden = !line.textContent;
      toggle.hidden = !alive || on === undefined || !adapter;
      toggle.setAttribute("aria-checked", String(Boolean(on)));
      name.textContent = `chats ask ${adapter ?? ""}`;
      toggle.title = on ? "Chats are answered with the adapter" : "Chats are answered by the base alone";
    },
  };
}

/** What to type: a chat where the model has the adapter, else what gives it to a model. */
function lineOf({ alive, chat = "%%llama chat", folder, saved_step: saved, state }: TrainingHead): string {
  if (alive) return chat;
  const there = folder && (state === "finished" || typeof saved === "number");
  return there ? `%llama adapter load ${/\s/.test(folder) ? JSON.stringify(folder) : folder}` : "";
}
