/** What stands where nothing has been said yet: what to ask, or what to type first. */

import { copyButton } from "./copy";
import { button, element } from "./element";
import type { ChatHead } from "./shapes";

const LOAD = "%llama load cria";
const COMPLETE = "%%llama complete\nOnce upon a time";

export function emptyState(
  suggest: (text: string) => void,
  insert: (text: string) => boolean,
  signal: AbortSignal,
) {
  const root = element("div", "llama-nb-empty");
  let drawn = "";
  const ideas = (head: ChatHead): HTMLElement[] => {
    const list = element("ul", "llama-nb-ideas");
    for (const idea of head.ideas ?? []) {
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
  const instead = (title: string, text: string, command: string): HTMLElement[] => {
    const line = element("p", "llama-nb-line");
    line.append(
      element("code", "", command),
      button("Insert as a cell", "", () => insert(command), signal),
      copyButton("Copy the command", () => command),
    );
    return [element("p", "llama-nb-title", title), element("p", "llama-nb-muted", text), line];
  };
  const said = (head: ChatHead): HTMLElement[] => {
    if (!head.alive) return instead("No model is loaded", "", LOAD);
    if (!head.base) return ideas(head);
    const text = "It was not trained to chat: it goes on with a text, in a cell.";
    return instead(`${head.model} is a base model`, text, COMPLETE);
  };
  const update = (head: ChatHead) => {
    const key = JSON.stringify([head.alive, head.base, head.model, head.detail, head.tools, head.ideas]);
    if (key === drawn) return;
    drawn = key;
    root.replaceChildren(...said(head));
  };
  return { root, update };
}
