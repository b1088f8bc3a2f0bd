/** The line that has the model read a text, so that what runs through it can be measured. */

import type { Context } from "./anatomy_pane";
import { button, element } from "./element";

const NEEDS = ["norm", "gate", "activations"];

export function asker(context: Context) {
  const { model, send, signal } = context;
  const root = element("div", "llama-nb-an-ask");
  const said = element("span", "llama-nb-muted");
  const text = document.createElement("input");
  text.type = "text";
  text.setAttribute("aria-label", "A text for the model to read");
  const read = button("Measure", "llama-nb-primary", () => ask(), signal);
  const stop = button("Stop", "", () => send({ kind: "cancel" }), signal);
  stop.hidden = true;
  root.append(said, text, read, stop);
  const ask = () => send({ kind: "measure", text: text.value.trim() });
  text.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Enter" && !event.isComposing) ask();
    },
    { signal },
  );
  const update = (tab: string) => {
    const { alive = false, example = "" } = model.get("body");
    const { tokens, title = "" } = model.get("measured");
    root.hidden = !NEEDS.includes(tab);
    text.placeholder = tokens ? "another text" : example;
    text.hidden = read.hidden = !alive;
    read.classList.toggle("llama-nb-primary", !tokens);
    said.textContent = tokens
      ? `${tokens.toLocaleString("en")} tokens of the ${title}`
      : "No text was read yet.";
    if (!alive) said.textContent += " The model is not loaded.";
  };
  const running = (busy: boolean) => {
    read.disabled = busy;
    stop.hidden = !busy;
  };
  return { root, update, running };
}
