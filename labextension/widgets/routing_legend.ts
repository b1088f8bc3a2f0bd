/** The line below the load map: what is pointed at, what the colours mean, and how to take the map out. */

import { css } from "./colour_maps";
import { button, element } from "./element";
import { type By, type Scale, scaleOf } from "./routing_load";
import type { LoadMap } from "./routing_map";
import type { RoutingPage } from "./routing_page";
import { percent } from "./token_strip";

export interface Legend {
  root: HTMLElement;
  /** What the map shows now. */
  by(): By;
  update(): void;
}

/** `map` is drawn by this, as it decides between shares and differences. */
export function legend(page: RoutingPage, map: LoadMap, redraw: () => void, signal: AbortSignal): Legend {
  const root = element("div", "llama-nb-moe-legend");
  const readout = element("span", "llama-nb-moe-readout");
  readout.setAttribute("role", "status");
  const ramp = element("span", "llama-nb-moe-ramp");
  ramp.setAttribute("role", "img");
  /** What the reader chose for a domain; without a choice, shares of all and differences of one. */
  let chosen: { domain: string; by: By } | null = null;
  const by = (): By => {
    const load = page.get("load");
    if (!load.difference) return "share";
    return chosen && chosen.domain === (load.domain ?? "") ? chosen.by : load.domain ? "difference" : "share";
  };
  const turn = button(
    "difference",
    "llama-nb-moe-turn",
    () => {
      chosen = { domain: page.get("load").domain ?? "", by: by() === "share" ? "difference" : "share" };
      redraw();
    },
    signal,
  );
  root.append(readout, ramp, turn);
  return {
    ...{ root, by },
    update() {
      const load = page.get("load");
      map.update(by());
      readout.textContent = map.said();
      readout.title = readout.textContent;
      turn.hidden = !load.difference;
      turn.title =
        load.against === "others" ? "The share less that of the other domains" : "The share less an even one";
      turn.setAttribute("aria-pressed", String(by() === "difference"));
      drawRamp(ramp, scaleOf(load, by()), page.get("head").experts ?? 1);
    },
  };
}

function drawRamp(ramp: HTMLElement, { by, map, peak }: Scale, experts: number): void {
  const stops = Array.from({ length: 17 }, (_, step) => css(map, step / 16));
  ramp.style.background = `linear-gradient(to right, ${stops.join(",")})`;
  const even = 1 / experts;
  const points = `${Number((100 * peak).toPrecision(2))}`;
  const marks: [number, string][] =
    by === "share"
      ? [
          [0, "0"],
          [Math.min(1, even / peak), even < 0.62 * peak ? "even" : ""],
          [1, percent(peak)],
        ]
      : [
          [0, `−${points}`],
          [0.5, "0"],
          [1, `+${points}`],
        ];
  ramp.replaceChildren(
    ...marks.map(([at, text]) => {
      const made = element("i", "", text);
      made.style.left = `${100 * at}%`;
      return made;
    }),
  );
  ramp.setAttribute("aria-label", `Colours from ${marks[0]?.[1]} to ${marks.at(-1)?.[1]}`);
  ramp.title =
    by === "share" ? `share of the tokens; even: ${percent(even)}` : "difference in percentage points";
}
