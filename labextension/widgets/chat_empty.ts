/** What stands where nothing has been said yet: what to ask, or what to type first. */

import { copyButton } from "./copy";
import { button, element } from "./element";
import type { ChatHead } from "./shapes";

/** What the bundled models know, and what others are good for. */
const BUNDLED = [
  "What is grouped-query attention?",
  "What is 17 + 25?",
  "Tell me a story about Ada and a fox.",
];
const OTHERS = [
  "Explain temperature and top-p in three sentences.",
  "Write a Python function that checks an ISBN, with a test.",
  "What can you help me with?",
];
const LOAD = "%llama load cria";

export function emptyState(
  suggest: (text: string) => void,
  insert: (text: string) => boolean,
  signal: AbortSignal,
) {
  const root = element("div", "llama-nb-empty");
  let drawn = "";
  const ideas = (head: ChatHead): HTMLElement[] => {
    const list = element("ul", "llama-nb-ideas");
    for (const idea of head.model?.startsWith("cria") ? BUNDLED : OTHERS) {
      const item = element("li", "");
      item.append(button(idea, "", () => suggest(idea), signal));
      list.append(item);
    }
    const tools = head.tools?.length
      ? `It can call ${head.tools.join(", ")}; each call is asked for here first.`
      : "";
    return [
      element("p", "llama-nb-title", `Talk with ${head.model}`),
      element("p", "llama-nb-muted", [head.detail, tools].filter(Boolean).join(" · ")),
      list,
    ];
  };
  const first = (): HTMLElement[] => {
    const line = element("p", "llama-nb-line");
    line.append(
      element("code", "", LOAD),
      button("Insert as a cell", "", () => insert(LOAD), signal),
      copyButton("Copy the command", () => LOAD),
    );
    return [element("p", "llama-nb-title", "No model is loaded"), line];
  };
  const update = (head: ChatHead) => {
    const key = JSON.stringify([head.alive, head.model, head.detail, head.tools]);
    if (key === drawn) return;
    drawn = key;
    root.replaceChildren(...(head.alive ? ideas(head) : first()));
  };
  return { root, update };
}
