/**
 * The sampling laboratory (llama_nb/widgets/sampling_lab.py), as an anywidget module: tokens, stages, chart, sliders.
 *
 * The kernel computes; the page draws one view a change and keeps only what is a matter of looking: which stage is
 * picked. Texts of tokens and models are untrusted and only ever become text.
 */

import { element } from "./element";
import { ownKeys } from "./keys";
import { standIn } from "./live_mark";
import type { Model } from "./reply";
import { chart } from "./sampling_chart";
import { foot } from "./sampling_foot";
import { parameters } from "./sampling_parameters";
import { stageRow } from "./sampling_stages";
import type { LabPlace, LabStage } from "./shapes";
import { type StripToken, tokenStrip } from "./token_strip";
import type { SamplingLabTraits } from "./traits";

export type LabModel = Model<SamplingLabTraits>;

const SILENT_AFTER_MS = 1500;

function render({ model, el }: { model: LabModel; el: HTMLElement }): () => void {
  const owner = new AbortController();
  const { signal } = owner;
  const root = element("div", "llama-nb-view llama-nb-lab");
  root.setAttribute("role", "region");
  root.setAttribute("aria-label", "Sampling laboratory");
  ownKeys(root);

  let picked: string | null = null;
  let silence = 0;
  const status = element("span", "llama-nb-lab-status");
  status.setAttribute("role", "status");
  const send = (message: Record<string, unknown>) => {
    model.send(message);
    window.clearTimeout(silence);
    silence = window.setTimeout(() => {
      status.textContent = "The kernel has not answered yet: another cell may be running.";
    }, SILENT_AFTER_MS);
  };

  const head = header(send, status, signal);
  const strip = tokenStrip("Tokens", (position) => send({ kind: "look", position }), signal);
  strip.root.classList.add("llama-nb-lab-strip");
  const stages = stageRow(
    (name) => {
      const acting = model.get("view").stages?.find((stage) => stage.name === name)?.state === "on";
      picked = acting && picked !== name ? name : null;
      drawView();
    },
    (names) => send({ kind: "order", names }),
    signal,
  );
  const bars = chart((token) => send({ kind: "ahead", on: true, token: other(token) }), signal);
  const other = (token: number) => (model.get("ahead").token === token ? null : token);
  const sliders = parameters((name, value) => send({ kind: "set", name, value }), signal);
  const columns = element("div", "llama-nb-lab-columns");
  columns.append(bars.root, sliders.root);
  const below = foot(send, el, signal);
  const error = element("div", "llama-nb-error");
  error.setAttribute("role", "alert");
  root.append(head.root, strip.root, stages.root, columns, error, below.root);

  let tokens: StripToken[] = [];
  let position = -1;
  const drawStrip = () => {
    strip.update(tokens, "probability", position < 0 ? null : position);
    showChosen(strip.root);
  };
  const drawPlace = () => {
    const place = model.get("place");
    tokens = stripTokens(place);
    head.update(place);
    drawStrip();
  };
  const pickedStage = (): LabStage | null => {
    const found = model.get("view").stages?.find((stage) => stage.name === picked && stage.state === "on");
    return found ?? null;
  };
  const drawView = () => {
    const view = model.get("view");
    root.dataset.empty = String(!view.rows);
    if (!view.rows) return;
    if (view.position !== position) {
      position = view.position ?? -1;
      drawStrip();
    }
    stages.update(view.stages ?? [], pickedStage()?.name ?? null);
    bars.update(view, pickedStage(), model.get("ahead").token ?? null);
    sliders.update(model.get("sampling"), view);
    below.update(view, model.get("sampling"), model.get("place"));
  };
  const drawAhead = () => {
    below.ahead(model.get("ahead"), model.get("view"));
    if (model.get("view").rows)
      bars.update(model.get("view"), pickedStage(), model.get("ahead").token ?? null);
  };
  const drawError = () => {
    error.textContent = model.get("error");
    error.hidden = !error.textContent;
  };
  const heard = () => {
    window.clearTimeout(silence);
    status.textContent = model.get("status");
  };
  const follow: [string, () => void][] = [
    ["change", heard],
    ["change:place", drawPlace],
    ["change:view", drawView],
    ["change:sampling", drawView],
    ["change:ahead", drawAhead],
    ["change:error", drawError],
  ];
  for (const [event, draw] of follow) model.on(event, draw);
  for (const draw of [drawPlace, drawView, drawAhead, drawError, heard]) draw();
  el.append(root);
  const leave = standIn(model as never, el);
  model.send({ kind: "hello" });
  return () => {
    owner.abort();
    leave();
    window.clearTimeout(silence);
    for (const [event, draw] of follow) model.off(event, draw);
    root.remove();
  };
}

/** Scroll the strip so that the chosen token's line is its second one. */
function showChosen(strip: HTMLElement): void {
  const chosen = strip.querySelector<HTMLElement>("[aria-selected=true]");
  const list = chosen?.parentElement;
  if (!chosen || !list) return;
  let above: Element | null = chosen;
  while (above instanceof HTMLElement && above.offsetTop > chosen.offsetTop - 4)
    above = above.previousElementSibling;
  strip.scrollTop = (above instanceof HTMLElement ? above.offsetTop : chosen.offsetTop) - list.offsetTop - 2;
}

/** The tokens, and behind the last one the place where the next would stand. */
function stripTokens(place: LabPlace): StripToken[] {
  const known = (place.tokens ?? []).map(([text, special, probability, entropy]) => {
    return { text, special, probability, entropy };
  });
  return [...known, { text: "next", special: true, probability: null, entropy: null }];
}

interface Header {
  root: HTMLElement;
  update(place: LabPlace): void;
}

function header(
  send: (message: Record<string, unknown>) => void,
  status: HTMLElement,
  signal: AbortSignal,
): Header {
  const root = element("div", "llama-nb-lab-head");
  const what = element("span", "llama-nb-muted");
  const newest = element("button", "", "Newest reply") as HTMLButtonElement;
  newest.type = "button";
  newest.addEventListener("click", () => send({ kind: "newest" }), { signal });
  const text = document.createElement("input");
  text.type = "text";
  text.placeholder = "or a text of your own";
  text.setAttribute("aria-label", "A text to look at");
  text.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Enter" && text.value.trim()) send({ kind: "text", text: text.value });
    },
    { signal },
  );
  root.append(element("span", "llama-nb-title", "Sampling laboratory"), what, status, newest, text);
  return {
    root,
    update(place) {
      what.textContent = place.title ? `${place.title} · ${place.model}` : "";
      if (place.alive === false) what.textContent += " (unloaded: places that were seen can be looked at)";
      newest.hidden = !place.newer || place.alive === false;
      text.hidden = place.alive === false;
    },
  };
}

export default { render };
