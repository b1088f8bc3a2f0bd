/** Takes the load map out of the page as a picture, and its shares and the tokens as tab-separated text. */

import { css } from "./colour_maps";
import { copyButton } from "./copy";
import { button } from "./element";
import { save } from "./picture";
import { type By, scaleOf, valuesOf } from "./routing_load";
import { colourOf, type More, type RoutingPage } from "./routing_page";
import type { RoutingHead, RoutingLoad } from "./shapes";
import { percent } from "./token_strip";

const table = (rows: (string | number)[][]) => rows.map((row) => row.join("\t")).join("\n");

export const mapButtons: More["mapButtons"] = (page, map, by, signal) => {
  const copy = copyButton("Copy the shares, tab-separated", () =>
    loadText(page.get("head"), page.get("load")),
  );
  const png = button("PNG", "llama-nb-copy", () => savePicture(page, map, by()), signal);
  png.setAttribute("aria-label", "Save the load map as a picture");
  return [copy, png];
};

export const tokenButtons: More["tokenButtons"] = (page) => [
  copyButton("Copy the tokens with their experts, tab-separated", () => tokensText(page)),
];

export function loadText({ layers = [] }: RoutingHead, load: RoutingLoad): string {
  const rows = (load.shares ?? []).flatMap((shares, index) =>
    shares.map((share, expert) => [
      ...[layers[index] ?? "", expert, share],
      ...(load.difference ? [load.difference[index]?.[expert] ?? ""] : []),
    ]),
  );
  const against = load.against === "others" ? "against other domains" : "against even";
  return table([["layer", "expert", "share", ...(load.difference ? [against] : [])], ...rows]);
}

/** The tokens of the window: the experts in all layers; margin, entropy and weight in the looked-at one. */
export function tokensText({ get, look, routes, texts }: RoutingPage): string {
  const { layers = [] } = get("head");
  const shades = ["margin", "entropy", "weight"] as const;
  const rows: (string | number)[][] = [
    [
      "position",
      "token",
      ...layers.map((layer) => `L${layer}`),
      ...shades.map((by) => `${by} in L${look.layer}`),
    ],
  ];
  for (let position = routes.start; position < routes.stop; position += 1)
    rows.push([
      ...[position, JSON.stringify(texts.text(position) ?? "")],
      ...layers.map((_, index) =>
        Array.from({ length: routes.k }, (_, rank) => routes.chosen(position, index, rank)).join(","),
      ),
      ...shades.map((by) => routes.value(by, position, look.index).toPrecision(3)),
    ]);
  return table(rows);
}

const SCALE = 2;
const LEFT = 34;
const TOP = 44;
const WIDTH = 560;
const ROW = 16;

/** Save the load map, with its title, its axes and what its colours mean. */
function savePicture(page: RoutingPage, map: HTMLCanvasElement, by: By): void {
  const [head, load] = [page.get("head"), page.get("load")];
  const [rows, experts] = [valuesOf(load, by).length, head.experts ?? 1];
  const high = Math.max(ROW * rows, 60);
  const canvas = document.createElement("canvas");
  canvas.width = SCALE * (LEFT + WIDTH + 8);
  canvas.height = SCALE * (TOP + high + 34);
  const context = canvas.getContext("2d");
  if (!context) return;
  const colour = (of: string) => getComputedStyle(map).getPropertyValue(of) || "#888";
  const write = (
    text: string,
    x: number,
    y: number,
    ink = "--ln-muted",
    align: CanvasTextAlign = "center",
  ) => {
    Object.assign(context, { fillStyle: colour(ink), textAlign: align });
    context.fillText(text, x, y);
  };
  context.scale(SCALE, SCALE);
  context.fillStyle = colour("--ln-paper");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.font = "600 12px sans-serif";
  const of = load.domain ? `, ${load.domain}` : "";
  const what = by === "share" ? "share of the tokens" : "difference of the shares";
  write(`${head.model ?? ""}: ${what}${of}`, LEFT, 16, "--ln-text", "left");
  context.font = "10px sans-serif";
  const step = Math.ceil(experts / 32);
  for (let expert = 0; expert < experts; expert += step)
    write(`${expert ? "" : "E"}${expert}`, LEFT + ((expert + 0.5) * WIDTH) / experts, 34);
  for (let expert = 0; expert < experts; expert += 1) {
    context.fillStyle = colourOf(expert, experts);
    context.fillRect(LEFT + (expert * WIDTH) / experts, 38, WIDTH / experts, 3);
  }
  for (const [index, layer] of (head.layers ?? []).entries())
    write(`L${layer}`, LEFT - 6, TOP + ((index + 0.5) * high) / rows + 3, "--ln-muted", "right");
  context.imageSmoothingEnabled = false;
  context.drawImage(map, LEFT, TOP, WIDTH, high);
  const { map: colours, peak } = scaleOf(load, by);
  for (let at = 0; at < 120; at += 1) {
    context.fillStyle = css(colours, at / 119);
    context.fillRect(LEFT + at, TOP + high + 10, 1.5, 8);
  }
  write(by === "share" ? "0" : `−${percent(peak)}`, LEFT, TOP + high + 29, "--ln-muted", "left");
  write(percent(peak), LEFT + 120, TOP + high + 29, "--ln-muted", "right");
  canvas.toBlob((content) => content && save(content, `experts-${head.model ?? "model"}.png`), "image/png");
}
