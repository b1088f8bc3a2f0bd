/**
 * The laboratory's foot: draws, the text that would follow, presets, and the line that makes all this the session's.
 *
 * Every button only sends what it means.
 */

import { copyButton } from "./copy";
import { element } from "./element";
import { INSERT_EVENT } from "./insert";
import type { LabAhead, LabPlace, LabView, SamplingState } from "./shapes";

export interface Foot {
  root: HTMLElement;
  update(view: LabView, sampling: SamplingState, place: LabPlace): void;
  ahead(ahead: LabAhead, view: LabView): void;
}

type Send = (message: Record<string, unknown>) => void;

const RESET = "↺";
const SESSION = "the session's";
const BEGUN: Record<string, string> = {
  reply: "this reply's",
  text: "as at the start",
  chat: "as at the start",
};

export function foot(send: Send, el: HTMLElement, signal: AbortSignal): Foot {
  const root = element("div", "llama-nb-lab-foot");
  const button = (text: string, label: string, act: () => void, className = "") => {
    const made = element("button", className, text) as HTMLButtonElement;
    made.type = "button";
    made.title = label;
    made.addEventListener("click", act, { signal });
    return made;
  };
  const pressed = (made: HTMLButtonElement) => made.getAttribute("aria-pressed") === "true";
  const draw = button("1,000 draws", "Draw the next token a thousand times", () =>
    send({ kind: "draw", on: !pressed(draw) }),
  );
  const write = button("Write on", "Go on from here with these parameters, 24 tokens at most", () =>
    send({ kind: "ahead", on: !pressed(write), token: null }),
  );
  const roll = button("Roll", "Other dice: another seed for draws and text", () => send({ kind: "roll" }));
  const from = document.createElement("select");
  from.setAttribute("aria-label", "Take all parameters from");
  from.addEventListener(
    "change",
    () => {
      if (from.value === RESET) send({ kind: "reset" });
      else if (from.value === SESSION) send({ kind: "session" });
      else if (from.value) send({ kind: "preset", name: from.value });
      from.value = "";
    },
    { signal },
  );
  const reset = button("Reset", "Back to where the laboratory began", () => send({ kind: "reset" }));
  const apply = button(
    "Apply",
    "Use these parameters for every chat of this session",
    () => send({ kind: "apply" }),
    "llama-nb-primary",
  );
  const text = element("div", "llama-nb-lab-ahead");
  const said = element("span", "");
  text.append(said, roll);

  const line = element("code", "");
  const copy = copyButton("Copy the line", () => line.textContent ?? "");
  const insert = button("Insert", "Insert the line as a cell below", () => {
    const detail = `${line.textContent}\n`;
    const event = new CustomEvent(INSERT_EVENT, { bubbles: true, cancelable: true, detail });
    if (el.dispatchEvent(event)) copy.click();
  });
  insert.setAttribute("aria-label", "Insert the line as a cell");
  const note = element("span", "llama-nb-muted");
  const row = element("div", "llama-nb-lab-actions");
  row.append(draw, write, from, reset, apply);
  const below = element("div", "llama-nb-lab-line");
  below.append(line, note, insert, copy);
  root.append(text, row, below);

  let offered = "";
  return {
    root,
    update(view, sampling, place) {
      draw.setAttribute("aria-pressed", String(Boolean(view.draws)));
      write.disabled = place.alive === false;
      const begun = BEGUN[place.kind ?? "text"] ?? "as at the start";
      const options = ["", RESET, SESSION, ...(sampling.presets ?? [])];
      if (offered !== options.join() + begun) {
        offered = options.join() + begun;
        from.replaceChildren(...options.map((name) => option(name, begun)));
      }
      reset.disabled = !view.changed;
      apply.disabled = Boolean(view.applied);
      line.textContent = line.title = view.line ?? "";
      for (const one of [line, insert, copy]) one.hidden = !view.line;
      const own = view.line ? "" : "The model's own parameters.";
      note.textContent = view.applied ? `${own} The session uses them.`.trim() : own;
    },
    ahead(ahead, view) {
      const on = Boolean(ahead.state);
      write.setAttribute("aria-pressed", String(on));
      text.hidden = !on;
      text.dataset.state = ahead.state ?? "";
      if (!on) return;
      const before = element("span", "llama-nb-muted", `…${view.context ?? ""}`);
      const first = element("mark", "", ahead.first ?? "");
      const rest = element("span", "llama-nb-lab-written", ahead.text ?? "");
      const waits = ahead.state === "done" ? "" : " …";
      said.replaceChildren(before, ...(ahead.first ? [first] : []), rest, waits);
      said.setAttribute("aria-busy", String(ahead.state !== "done"));
    },
  };
}

function option(name: string, begun: string): HTMLOptionElement {
  const made = document.createElement("option");
  made.value = name;
  made.textContent = name === "" ? "Parameters from …" : name === RESET ? begun : name;
  return made;
}
