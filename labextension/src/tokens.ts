/** The tokens of a finished reply, each shaded and underlined by how unlikely it was. */

import { element } from "../widgets/element";
import type { Token } from "./record";

const LEGEND =
  "The stronger the tint, the less the model expected the token; point at one for its id and probability.";

/** A button that shows the tokens in place of the answer, and the answer again. */
export function tokensButton(answer: HTMLElement, tokens: Token[]): HTMLButtonElement {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "llama-nb-toggle";
  button.textContent = "Tokens";
  button.setAttribute("aria-pressed", "false");
  let panel: HTMLElement | null = null;
  button.addEventListener("click", () => {
    if (!panel) {
      panel = tokenPanel(tokens);
      answer.after(panel);
      panel.hidden = true;
    }
    panel.hidden = !panel.hidden;
    answer.hidden = !panel.hidden;
    button.setAttribute("aria-pressed", String(!panel.hidden));
  });
  return button;
}

function tokenPanel(tokens: Token[]): HTMLElement {
  const panel = element("div", "llama-nb-tokens");
  panel.setAttribute("aria-label", "Tokens of the answer");
  for (const token of tokens) {
    const chip = element("span", "llama-nb-token", visible(token.text));
    chip.title = describe(token);
    chip.dataset.surprise = String(surprise(token.logprob));
    panel.append(chip);
    if (token.text.endsWith("\n")) panel.append(document.createElement("br"));
  }
  panel.append(element("p", "llama-nb-legend", LEGEND));
  return panel;
}

/** 0 (expected) to 4 (a surprise), in steps of a factor of about e. */
function surprise(logprob: number | null): number {
  return logprob === null ? 0 : Math.max(0, Math.min(4, Math.floor(-logprob)));
}

function visible(text: string): string {
  return text === "" ? "∅" : text.replaceAll(" ", "·").replaceAll("\n", "⏎").replaceAll("\t", "⇥");
}

function describe({ id, logprob }: Token): string {
  const chance = logprob === null ? "" : `probability ${Math.exp(logprob).toPrecision(3)}`;
  return [id === null ? "" : `id ${id}`, chance].filter(Boolean).join(", ");
}
