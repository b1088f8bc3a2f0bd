/**
 * Live views: an output that holds a widget and its twin shows the widget while its model exists, else the twin.
 *
 * The widget manager alone would show "Error displaying widget: model not found" in a notebook without its kernel.
 * Here both are drawn: the twin at once, and the widget in a hidden place, by the notebook's own renderer for
 * widgets. The widget marks itself when it is drawn (widgets/live_mark.ts); the mark decides which of the two is seen.
 * So whatever goes wrong with the widget, the twin stays.
 */

import type { NotebookPanel } from "@jupyterlab/notebook";
import type { IRenderMime } from "@jupyterlab/rendermime-interfaces";
import { Panel } from "@lumino/widgets";
import { ADOPTED_EVENT, MARK, TWIN_EVENT } from "../widgets/live_mark";
import { keepTwin } from "./outputs";

export const VIEW_MIME = "application/vnd.llama-nb.view+json";
export const WIDGET_MIME = "application/vnd.jupyter.widget-view+json";
/** The widget manager's renderer has -10; ours must be asked first. */
const RANK = -20;
/** When to look again whether the widget manager has come, after an output was drawn or a kernel connected. */
const TRIES_MS = [0, 250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000];
/** From this try on a renderer that has drawn nothing is given up for a new one: it may not have found its model yet. */
const IMPATIENT = 3;
/** What ends the widgets of a kernel: their models are gone or will never answer. */
const ENDS = new Set(["restarting", "autorestarting", "terminating", "dead"]);

/** What a notebook's outputs share: where renderers come from, and which widgets have died. */
export interface Place {
  rendermime: Pick<
    NotebookPanel["content"]["rendermime"],
    "getFactory" | "preferredMimeType" | "createRenderer"
  >;
  /** Whether a kernel is there that could know the widget. */
  connected(): boolean;
  /** Put the twin into the saved output around a node. */
  keep(inside: Node, bundle: unknown): void;
  /** Models that ended with their kernel; the widget manager still shows their remains. */
  dead: Set<string>;
  outputs: Set<LiveOutput>;
}

/** A JupyterLab renderer for one output. */
export class LiveOutput extends Panel implements IRenderMime.IRenderer {
  private twin: IRenderMime.IRenderer | null = null;
  private twinOf = "";
  private live: IRenderMime.IRenderer | null = null;
  private factory: unknown = null;
  private model: IRenderMime.IMimeModel | null = null;
  private timer = 0;
  private adopted: Element | null = null;
  private readonly observer = new MutationObserver(() => this.choose());

  constructor(private readonly place: Place) {
    super();
    this.addClass("llama-nb-output");
    place.outputs.add(this);
    this.node.addEventListener(TWIN_EVENT, (event) => {
      if (event instanceof CustomEvent && this.shown) place.keep(this.node, event.detail);
    });
    this.observer.observe(this.node, { childList: true, subtree: true, attributeFilter: [MARK] });
  }

  /** The marked element of the widget, when it is drawn. */
  get shown(): Element | null {
    return this.live?.node.querySelector(`[${MARK}]`) ?? null;
  }

  /** The widget's model, or "" where the output may not show one. */
  get modelId(): string {
    const named: unknown = this.model?.trusted ? this.model.data[WIDGET_MIME] : null;
    const id = typeof named === "object" && named !== null ? (named as { model_id?: unknown }).model_id : "";
    return typeof id === "string" ? id : "";
  }

  /** Draw the twin, and the widget as soon as there is one. Called again when the output changes. */
  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const before = this.modelId;
    this.model = model;
    if (before !== this.modelId) this.drop();
    await this.drawTwin(model);
    if (!this.isDisposed) this.connect();
  }

  /** Look for the widget, now and a few times later: the widget manager of a notebook comes when its kernel does. */
  connect(attempt = 0): void {
    window.clearTimeout(this.timer);
    if (this.isDisposed || this.shown) return;
    this.drawLive(attempt >= IMPATIENT);
    const next = TRIES_MS[attempt + 1];
    if (next !== undefined) this.timer = window.setTimeout(() => this.connect(attempt + 1), next);
  }

  /** Forget the widget. With `forever`, its model has ended. */
  drop(forever = false): void {
    if (forever && this.modelId) this.place.dead.add(this.modelId);
    window.clearTimeout(this.timer);
    this.live?.dispose();
    this.live = null;
    this.factory = null;
    this.choose();
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this.observer.disconnect();
    window.clearTimeout(this.timer);
    this.place.outputs.delete(this);
    super.dispose();
  }

  private async drawTwin(model: IRenderMime.IMimeModel): Promise<void> {
    const { [WIDGET_MIME]: _widget, [VIEW_MIME]: _view, ...data } = model.data;
    const content = JSON.stringify([model.trusted, data]);
    if (content === this.twinOf) return;
    const mime = this.place.rendermime.preferredMimeType(data, model.trusted ? "any" : "ensure");
    if (!mime) return;
    this.twinOf = content;
    const made = this.place.rendermime.createRenderer(mime);
    // Into the page only when it is drawn, so that a twin that is replaced does not flicker.
    await made.renderModel(copy(model, data));
    if (this.isDisposed || this.twinOf !== content) {
      made.dispose();
      return;
    }
    this.twin?.dispose();
    this.twin = made;
    this.insertWidget(0, made);
    this.choose();
  }

  private drawLive(again: boolean): void {
    const id = this.modelId;
    if (!id || !this.model || this.place.dead.has(id) || !this.place.connected()) return;
    const factory = this.place.rendermime.getFactory(WIDGET_MIME);
    // A renderer from before the notebook had its widget manager never gets one.
    const hopeless = again && !this.live?.node.firstElementChild;
    if (!factory || (factory === this.factory && !hopeless)) return;
    this.live?.dispose();
    this.factory = factory;
    const made = this.place.rendermime.createRenderer(WIDGET_MIME);
    this.live = made;
    made.hide();
    this.addWidget(made);
    // The renderer writes into its source when the widget is closed, so it gets a source of its own.
    const data = { [WIDGET_MIME]: { version_major: 2, version_minor: 0, model_id: id } };
    made.renderModel(copy(this.model, data)).catch(() => {
      if (this.live === made) this.drop();
    });
  }

  private choose(): void {
    const { shown } = this;
    this.live?.setHidden(!shown);
    this.twin?.setHidden(Boolean(shown));
    if (shown === this.adopted) return;
    this.adopted = shown;
    shown?.dispatchEvent(new CustomEvent(ADOPTED_EVENT));
  }
}

function copy(model: IRenderMime.IMimeModel, data: IRenderMime.IMimeModel["data"]): IRenderMime.IMimeModel {
  return { trusted: model.trusted, metadata: model.metadata, data, setData: () => {} };
}

/** Show live views in this notebook. */
export function showLive(panel: NotebookPanel): void {
  const { sessionContext, content } = panel;
  const place: Place = {
    rendermime: content.rendermime,
    connected: () => Boolean(sessionContext.session?.kernel),
    keep: (inside, bundle) => void keepTwin(panel, inside, bundle),
    dead: new Set(),
    outputs: new Set(),
  };
  const connect = () => {
    for (const output of place.outputs) output.connect();
  };
  const end = () => {
    for (const output of place.outputs) output.drop(true);
  };
  sessionContext.statusChanged.connect((_context, status) => {
    if (ENDS.has(status)) end();
  });
  sessionContext.kernelChanged.connect((_context, { oldValue, newValue }) => {
    if (oldValue && oldValue.id !== newValue?.id) end();
    if (newValue) connect();
  });
  void sessionContext.ready.then(connect);
  content.rendermime.addFactory(
    { safe: true, mimeTypes: [VIEW_MIME], createRenderer: () => new LiveOutput(place) },
    RANK,
  );
}
