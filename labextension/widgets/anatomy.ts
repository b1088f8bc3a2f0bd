/**
 * The anatomy of a model (llama_nb/widgets/anatomy_view.py), as an anywidget module: its blocks as a diagram on the
 * left, what is opened of one of them on the right.
 *
 * Where one looks is this page's own business; the kernel is told, so that the next page begins there. Names and
 * tokens are untrusted and only ever become text.
 */

import { count, sizes } from "./anatomy_figures";
import { paneOf, tabsOf } from "./anatomy_pane";
import { stack } from "./anatomy_stack";
import { element } from "./element";
import { ownKeys } from "./keys";
import { standIn } from "./live_mark";
import type { Model } from "./model";
import type { AnatomyBlock, AnatomyBody, AnatomyLook } from "./shapes";
import type { AnatomyViewTraits } from "./traits";

export type AnatomyModel = Model<AnatomyViewTraits>;

const SILENT_AFTER_MS = 1500;

function render({ model, el }: { model: AnatomyModel; el: HTMLElement }): () => void {
  const owner = new AbortController();
  const { signal } = owner;
  const root = element("div", "llama-nb-view llama-nb-an");
  root.setAttribute("role", "region");
  root.setAttribute("aria-label", "Anatomy of a model");
  ownKeys(root);

  let silence = 0;
  const status = element("span", "llama-nb-an-status");
  status.setAttribute("role", "status");
  const send = (message: Record<string, unknown>) => {
    model.send(message);
    if (message.kind !== "measure") return;
    window.clearTimeout(silence);
    silence = window.setTimeout(() => {
      status.textContent = "The kernel has not answered yet: another cell may be running.";
    }, SILENT_AFTER_MS);
  };

  const state: Required<AnatomyLook> = { block: "", tab: "block", layer: 0, token: 0 };
  Object.assign(state, model.get("look"));
  const chosen = (): AnatomyBlock | null =>
    model.get("body").blocks?.find(({ id }) => id === state.block) ?? null;
  const go = (change: AnatomyLook) => {
    Object.assign(state, change);
    const block = chosen();
    const layers = block?.group == null ? null : model.get("body").groups?.[block.group]?.layers;
    if (layers && !layers.includes(state.layer)) state.layer = layers[0] ?? 0;
    if (!tabsOf(block, model.get("body")).includes(state.tab)) state.tab = "block";
    send({ kind: "look", ...state });
    drawLook();
  };

  const head = element("div", "llama-nb-an-head");
  const blocks = stack((block) => go({ block }), signal);
  const pane = paneOf({ model, send, go, signal });
  const columns = element("div", "llama-nb-an-columns");
  columns.append(blocks.root, pane.root);
  const error = element("div", "llama-nb-error");
  error.setAttribute("role", "alert");
  root.append(head, columns, error);

  const drawHead = () => {
    head.replaceChildren(...heading(model.get("body")), status);
  };
  const drawLook = () => {
    blocks.select(state.block);
    pane.update(chosen(), state);
  };
  const drawBody = () => {
    drawHead();
    blocks.update(model.get("body"));
    drawLook();
  };
  const drawMeasured = () => {
    state.token = model.get("look").token ?? state.token;
    drawLook();
  };
  const drawDetail = () => {
    if (["norm", "gate"].includes(state.tab)) drawLook();
  };
  const drawStatus = () => {
    window.clearTimeout(silence);
    status.textContent = model.get("status");
    pane.running(model.get("status") !== "");
  };
  const drawError = () => {
    window.clearTimeout(silence);
    error.textContent = model.get("error");
    error.hidden = !error.textContent;
  };
  const onMessage = (message: { kind?: unknown; text?: unknown }) => {
    if (message.kind === "code") void pane.code(String(message.text)).then(drawLook);
  };
  const follow: [string, () => void][] = [
    ["change:body", drawBody],
    ["change:measured", drawMeasured],
    ["change:detail", drawDetail],
    ["change:status", drawStatus],
    ["change:error", drawError],
  ];
  for (const [event, draw] of follow) model.on(event, draw);
  model.on("msg:custom", onMessage);
  for (const draw of [drawBody, drawStatus, drawError]) draw();
  el.append(root);
  const leave = standIn(model as never, el);
  model.send({ kind: "hello" });
  return () => {
    owner.abort();
    leave();
    window.clearTimeout(silence);
    for (const [event, draw] of follow) model.off(event, draw);
    model.off("msg:custom", onMessage);
    root.remove();
  };
}

function heading(body: AnatomyBody): HTMLElement[] {
  const { model = "", depth = 0, parameters = 0, bytes = 0 } = body;
  const parts = [
    `${depth} layers`,
    `${count(parameters)} parameters`,
    `${sizes(bytes)} in ${body.quant || body.dtype}`,
  ];
  const facts = element("span", "llama-nb-muted", parts.join(" · "));
  facts.title = `${body.architecture}: ${parameters.toLocaleString("en")} parameters, ${bytes.toLocaleString("en")} bytes`;
  return [element("span", "llama-nb-title", `Anatomy of ${model}`), facts];
}

export default { render };
