/** What is behind one cell of a lens: its likeliest tokens, and where the model's and the text's tokens stand. */

import { element } from "./element";
import { type LensColumn, type LensName, type LensToken, tokenElement } from "./lens_cells";
import { nats, percent } from "./token_strip";

export interface Detail {
  root: HTMLElement;
  update(layers: string[], column: LensColumn, row: number): void;
}

const MOST = 5;

export function lensDetail(): Detail {
  const root = element("div", "llama-nb-lens-detail");
  const head = element("div", "llama-nb-lens-where");
  const list = element("ol", "llama-nb-lens-said");
  list.setAttribute("aria-label", "The likeliest tokens");
  const figures = element("dl", "llama-nb-lens-figures");
  root.append(head, list, figures);
  return {
    root,
    update(layers, column, row) {
      const cell = column.cells[row];
      if (!cell) return;
      head.replaceChildren(
        element("b", "", layers[row] ?? ""),
        " after ",
        tokenElement(column.token),
        element("span", "llama-nb-muted", ` ${column.position.toLocaleString("en")}`),
      );
      list.replaceChildren(...cell.top.slice(0, MOST).map((token) => said(token, column)));
      figures.replaceChildren(
        ...figure("model", ranked(column.final, cell.final, cell.finalRank), "what the last layer says"),
        ...figure(
          "text",
          column.ahead ? ranked(column.ahead, cell.next, cell.nextRank) : ["ends here"],
          "what comes next in the text",
        ),
        ...figure(
          "entropy",
          [output(nats(cell.entropy)), " nats · KL ", output(nats(cell.kl))],
          "how unsure this layer is, and how far the last layer is from it, in nats",
        ),
      );
    },
  };
}

function said(token: LensToken, column: LensColumn): HTMLElement {
  const made = element("li", "");
  made.dataset.id = String(token.id);
  const bar = element("span", "llama-nb-lens-bar");
  const fill = element("span", "");
  fill.style.width = `${Math.max(0.5, 100 * token.probability).toFixed(2)}%`;
  bar.append(fill);
  bar.setAttribute("aria-hidden", "true");
  made.dataset.final = String(token.text === column.final.text);
  made.append(tokenElement(token), bar, element("output", "llama-nb-number", percent(token.probability)));
  return made;
}

function figure(name: string, parts: (Node | string)[], title: string): HTMLElement[] {
  const value = element("dd", "");
  value.dataset.figure = name;
  value.title = title;
  value.append(...parts);
  return [element("dt", "llama-nb-muted", name), value];
}

function ranked(name: LensName, chance: number, rank: number): (Node | string)[] {
  return [tokenElement(name), " ", output(percent(chance)), ` · rank ${rank.toLocaleString("en")}`];
}

function output(text: string): HTMLElement {
  return element("output", "", text);
}
