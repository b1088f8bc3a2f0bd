/**
 * The loader panel (llama_nb/widgets/loader_panel.py), as an anywidget module: search, choose, load.
 *
 * The kernel holds what is true (models, plan, job); the page holds where its controls stand. Commands go to the
 * kernel as messages; what was chosen follows a moment later, so that a page that was loaded again comes back to it.
 */

import { announce } from "./announce";
import { element } from "./element";
import { INSERT_EVENT } from "./insert";
import { ownKeys } from "./keys";
import { standIn } from "./live_mark";
import { drawModels, failure, type JobActions, jobPane } from "./loader_job";
import { modelList } from "./loader_list";
import { planPane } from "./loader_plan";
import type { Model } from "./reply";
import type { LoaderPanelTraits } from "./traits";

export type LoaderModel = Model<LoaderPanelTraits>;

const TELL_AFTER_MS = 300;
const SILENT_AFTER_MS = 1500;

function render({ model, el }: { model: LoaderModel; el: HTMLElement }): () => void {
  const owner = new AbortController();
  const { signal } = owner;
  const root = element("div", "llama-nb-view llama-nb-loader");
  root.setAttribute("role", "region");
  root.setAttribute("aria-label", "Load a model");
  ownKeys(root);

  let telling = 0;
  let silence = 0;
  const waiting = element("span", "llama-nb-load-waiting-kernel");
  waiting.setAttribute("role", "status");
  const heard = () => {
    window.clearTimeout(silence);
    waiting.textContent = "";
  };
  const send = (message: Record<string, unknown>) => {
    model.send(message);
    window.clearTimeout(silence);
    silence = window.setTimeout(() => {
      waiting.textContent = "The kernel has not answered yet: another cell may be running.";
    }, SILENT_AFTER_MS);
  };

  const actions: JobActions = {
    load: () => {
      const choice = plan.choice();
      window.clearTimeout(telling);
      if (choice) send({ kind: "load", ...choice });
    },
    cancel: () => send({ kind: "cancel" }),
    use: (name) => send({ kind: "use", name }),
    unload: (name) => send({ kind: "unload", name }),
    insert: (text) =>
      !el.dispatchEvent(new CustomEvent(INSERT_EVENT, { bubbles: true, cancelable: true, detail: text })),
  };
  const offer = () => {
    const possible = plan.choice() !== null && model.get("job").state !== "running";
    job.offer(model.get("plan").name ?? "", possible);
  };
  const plan = planPane(() => {
    offer();
    window.clearTimeout(telling);
    telling = window.setTimeout(() => model.send({ kind: "chose", ...(plan.choice() ?? {}) }), TELL_AFTER_MS);
  }, signal);
  const job = jobPane(actions, plan.command, signal);
  const list = modelList(
    (source) => send({ kind: "choose", source }),
    (text) => send({ kind: "find", text }),
    signal,
  );

  const machine = element("span", "llama-nb-load-machine");
  const head = element("div", "llama-nb-load-head");
  head.append(element("span", "llama-nb-title", "Load a model"), machine);
  const offline = element("p", "llama-nb-load-offline");
  const error = element("div", "llama-nb-load-error");
  const side = element("div", "llama-nb-load-side");
  side.append(plan.root);
  const columns = element("div", "llama-nb-load-columns");
  columns.append(list.root, side);
  const models = element("div", "llama-nb-load-held");
  root.append(head, offline, columns, error, job.root, models, waiting);

  const drawCatalogue = () => {
    const catalogue = model.get("catalogue");
    machine.textContent = catalogue.machine ?? "";
    offline.textContent = catalogue.offline ?? "";
    offline.hidden = !catalogue.offline;
    list.update(catalogue, model.get("choice").source ?? "");
  };
  const drawPlan = () => {
    plan.update(model.get("plan"), model.get("choice"));
    drawCatalogue();
    offer();
  };
  const drawJob = () => {
    offer(); // first: a button that cannot be pressed takes no focus
    job.update(model.get("job"));
  };
  const drawHeld = () => drawModels(models, model.get("models"), actions, signal);
  const drawError = () => {
    const [message = "", ...hint] = model.get("error").split("\n");
    error.replaceChildren(...(message ? [failure(message, hint.join("\n"))] : []));
  };
  let state = model.get("job").state;
  const tellEnd = () => {
    const ended = model.get("job");
    if (ended.state === "done" && state === "running") announce(`${ended.model} is loaded`);
    if (ended.state === "failed" && state === "running") announce(ended.message ?? "");
    state = ended.state;
  };
  const follow: [string, () => void][] = [
    ["change", heard],
    ["change:catalogue", drawCatalogue],
    ["change:plan", drawPlan],
    ["change:job", drawJob],
    ["change:job", tellEnd],
    ["change:models", drawHeld],
    ["change:error", drawError],
  ];
  for (const [event, draw] of follow) model.on(event, draw);
  for (const draw of [drawPlan, drawJob, drawHeld, drawError]) draw();
  el.append(root);
  const leave = standIn(model as never, el);
  model.send({ kind: "hello" });
  return () => {
    owner.abort();
    leave();
    window.clearTimeout(telling);
    window.clearTimeout(silence);
    for (const [event, draw] of follow) model.off(event, draw);
    root.remove();
  };
}

export default { render };
