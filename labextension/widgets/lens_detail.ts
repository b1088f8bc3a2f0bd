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
  const figures = element("div", "llama-nb-lens-figures");
  root.append(head, list, figures);
  return {
    root,
    update(layers, column, row) {
      const cell = column.cells[row];
      if (!cell) return;
      const measures = element("span", "llama-nb-lens-measures llama-nb-muted");
      measures.title = "How unsure this layer is, and how far the last layer is from it, in nats";
      measures.append(
        "entropy ",
        output("entropy", nats(cell.entropy)),
        " · KL ",
        output("kl", nats(cell.kl)),
      );
      head.replaceChildren(
        element("b", "", layers[row] ?? ""),
        " after ",
        tokenElement(column.token),
        element("span", "llama-nb-muted", ` ${column.position.toLocaleString("en")}`),
        measures,
      );
      list.replaceChildren(...cell.top.slice(0, MOST).map((token) => said(token, column)));
      const settled = element("span", "llama-nb-muted", ` · from ${layers[column.settled]}`);
      figures.replaceChildren(
        figure("model", `What the last layer says; it is the likeliest from ${layers[column.settled]} on`, [
          ...ranked("final", column.final, cell.final, cell.finalRank),
          settled,
        ]),
        figure(
          "text",
          "What comes next in the text",
          column.ahead
            ? ranked("next", column.ahead, cell.next, cell.nextRank)
            : [element("span", "llama-nb-muted", "ends here")],
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
  made.append(tokenElement(token), bar, output("chance", percent(token.probability)));
  return made;
}

function figure(name: string, title: string, parts: (Node | string)[]): HTMLElement {
  const made = element("div", "llama-nb-lens-figure");
  made.dataset.figure = name;
  made.title = title;
  made.append(element("span", "llama-nb-muted", name), ...parts);
  return made;
}

function ranked(kind: string, name: LensName, chance: number, rank: number): (Node | string)[] {
  const place = element("span", "llama-nb-muted", ` rank ${rank.toLocaleString("en")}`);
  return [tokenElement(name), " ", output(kind, percent(chance)), place];
}

function output(kind: string, text: string): HTMLElement {
  const made = element("output", "", text);
  made.dataset.kind = kind;
  return made;
}
