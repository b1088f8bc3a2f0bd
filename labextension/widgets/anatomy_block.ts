/** What a block is: a sentence, its formula and its tensors; of the whole model, its parts. */

import { count, formula, share, sizes } from "./anatomy_figures";
import type { Panel } from "./anatomy_pane";
import { copyButton } from "./copy";
import { element } from "./element";
import type { AnatomyBlock, AnatomyBody } from "./shapes";

const LEGEND = "T tokens, x the residual stream, x̂ behind the norm";

export const blockPanel: Panel = (_context, block) => {
  if (!block) return [];
  const lines = element("div", "llama-nb-an-formulas");
  for (const [text, shape] of block.formula)
    lines.append(formula(text), element("span", "llama-nb-muted", shape));
  const legend = element("p", "llama-nb-an-legend", LEGEND);
  return [element("p", "", block.about), lines, legend, tensors(block)];
};

function tensors(block: AnatomyBlock): HTMLElement {
  const made = table([block.name, "shape", "parameters", "bytes", "as"]);
  made.root.querySelector("th")?.classList.add("llama-nb-an-name");
  for (const [name, shape, parameters, bytes, dtype, tied] of block.tensors) {
    const first = element("th", "llama-nb-an-name", name.replace(/\.?weight$/, "") || "weight");
    first.setAttribute("scope", "row");
    first.title = `${name}: ${bytes.toLocaleString("en")} bytes`;
    const figures = tied ? ["tied", ""] : [parameters.toLocaleString("en"), sizes(bytes)];
    made.body.append(row(first, shape, ...figures, tied ? "" : dtype));
  }
  made.root.append(copyButton("Copy the tensors", () => asText(block), "Copy data"));
  return made.root;
}

function asText(block: AnatomyBlock): string {
  const head = ["tensor", "shape", "parameters", "bytes", "dtype", "tied"];
  return [head, ...block.tensors].map((line) => line.join("\t")).join("\n");
}

export const wholePanel: Panel = ({ model }) => {
  const body = model.get("body");
  const { parts = [], parameters = 0 } = body;
  const bar = element("div", "llama-nb-an-parts");
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", parts.map(([name, held]) => `${name} ${count(held)}`).join(", "));
  const made = table(["part", "parameters", "share", "bytes"]);
  for (const [name, held, bytes] of parts) {
    const piece = element("span", "llama-nb-an-part");
    piece.dataset.part = name;
    piece.style.flexGrow = String(held);
    piece.hidden = held === 0;
    bar.append(piece);
    const first = element("th", "", name);
    const swatch = element("span", "llama-nb-an-swatch");
    swatch.dataset.part = name;
    first.setAttribute("scope", "row");
    first.prepend(swatch);
    made.body.append(row(first, count(held), share(parameters ? held / parameters : 0), sizes(bytes)));
  }
  const kept = `Beside the weights, the KV cache takes ${sizes(body.cache?.token ?? 0)} a token.`;
  return [element("p", "", sentence(body)), bar, made.root, element("p", "llama-nb-muted", kept)];
};

function sentence(body: AnatomyBody): string {
  const { depth = 0, hidden = 0, context = 0, tied } = body;
  const stream = `A text's tokens become vectors of ${hidden.toLocaleString("en")} numbers: the residual stream.`;
  const layers = `Each of ${depth} layers reads it, and adds what attention and feed-forward make of it.`;
  const end = `The last state gives the next token. Up to ${context.toLocaleString("en")} tokens.`;
  return [stream, layers, end, tied ? "The head uses the embedding's matrix." : ""].join(" ").trim();
}

interface Table {
  root: HTMLElement;
  body: HTMLElement;
}

export function table(headings: string[]): Table {
  const root = element("div", "llama-nb-an-table");
  const made = element("table", "");
  const head = element("tr", "");
  headings.forEach((text, index) => {
    const cell = element("th", index ? "llama-nb-number" : "", text);
    cell.setAttribute("scope", "col");
    head.append(cell);
  });
  const top = element("thead", "");
  top.append(head);
  const body = element("tbody", "");
  made.append(top, body);
  root.append(made);
  return { root, body };
}

export function row(first: HTMLElement, ...texts: string[]): HTMLElement {
  const made = element("tr", "");
  made.append(first, ...texts.map((text) => element("td", "llama-nb-number", text)));
  return made;
}
