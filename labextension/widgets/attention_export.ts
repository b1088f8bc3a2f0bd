/** Takes the shown map out of the page: as SVG, as PNG, or its weights as tab-separated text. */

import { linksOf, name } from "./attention_look";
import type { AttentionMap } from "./attention_map";
import type { Host } from "./attention_more";
import { button, element } from "./element";
import { inlined, raster, save, textOf } from "./picture";
import { svg } from "./svg";

export interface ExportPane {
  root: HTMLElement;
  data(text: string): void;
}

export function exportPane(host: Host, signal: AbortSignal): ExportPane {
  const root = element("div", "llama-nb-att-export");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Export");
  const said = element("span", "llama-nb-muted");
  said.setAttribute("role", "status");
  let number = 0;
  const { ask, look, maps } = host;
  const title = () => `attention-${name(look.layer, look.number).replace(" ", "-")}`;
  const drawing = () => {
    const shown = look.view.mode === "two" ? [maps.first, maps.second] : [maps.first];
    return compose(shown, caption(host));
  };
  const copied = (text: string) => {
    const lines = `${text.split("\n").length - 1} weights copied`;
    const done = navigator.clipboard?.writeText(text) ?? Promise.reject(new Error("no clipboard"));
    done.then(
      () => {
        said.textContent = lines;
      },
      () => save(new Blob([text], { type: "text/tab-separated-values" }), `${title()}.tsv`),
    );
  };
  const takers: [string, string, () => void][] = [
    [
      "PNG",
      "The shown map as a picture",
      () => void raster(drawing()).then((blob) => save(blob, `${title()}.png`)),
    ],
    [
      "SVG",
      "The shown map as a drawing with text",
      () => save(new Blob([textOf(drawing())], { type: "image/svg+xml" }), `${title()}.svg`),
    ],
    [
      "Copy weights",
      "The strongest weights of the shown window, tab-separated",
      () => ask({ kind: "data", number: number++ }),
    ],
    ["Copy links", "The list beside the map, tab-separated", () => copied(linksText(host))],
  ];
  root.append(
    ...takers.map(([label, meaning, act]) => {
      const made = button(label, "", act, signal);
      made.title = meaning;
      return made;
    }),
    said,
  );
  return { root, data: copied };
}

function caption({ look }: Host): string {
  const other = look.view.other;
  const beside = other && look.view.mode !== "one" ? `, ${name(other.layer, other.head)}` : "";
  return `${look.head.model ?? ""} ${name(look.layer, look.number)}${beside}`;
}

/** The links of the list as text, for a spreadsheet or a data frame. */
export function linksText({ look }: Pick<Host, "look">): string {
  const rows = (linksOf(look)?.links ?? []).map(([token, value]) =>
    [token, JSON.stringify(look.texts.text(token) ?? ""), value].join("\t"),
  );
  return [["token", "text", "weight"].join("\t"), ...rows].join("\n");
}

/** One drawing of the maps side by side, with the styles of the page written into it. */
export function compose(maps: AttentionMap[], caption: string): SVGSVGElement {
  const sizes = maps.map(({ root }) => root.getBoundingClientRect());
  const width = sizes.reduce((sum, size) => sum + size.width, 0);
  const height = Math.max(...sizes.map((size) => size.height)) + 18;
  const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
  drawing.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const style = getComputedStyle(maps[0]?.axes ?? document.body);
  const paper = style.getPropertyValue("--ln-paper") || "#fff";
  drawing.append(svg("rect", { width, height, fill: paper }));
  const ink = style.getPropertyValue("--ln-text") || "#000";
  drawing.append(
    svg("text", { x: 6, y: 13, fill: ink, "font-family": "sans-serif", "font-size": 11 }, caption),
  );
  let left = 0;
  for (const [index, { canvas, axes }] of maps.entries()) {
    const part = svg("g", { transform: `translate(${left} 18)` });
    const image = { href: canvas.toDataURL(), "image-rendering": "pixelated" };
    const box = { x: Number.parseFloat(canvas.style.left), y: Number.parseFloat(canvas.style.top) };
    const side = Number.parseFloat(canvas.style.width);
    part.append(svg("image", { ...image, ...box, width: side, height: side }), ...inlined(axes));
    drawing.append(part);
    left += sizes[index]?.width ?? 0;
  }
  return drawing;
}
