import { Widget } from "@lumino/widgets";
import { beforeEach, describe, expect, it, vi } from "vitest";

vi.mock("@jupyterlab/cells", () => ({ CodeCell: class {} }));

import { LiveOutput, type Place, VIEW_MIME, WIDGET_MIME } from "../src/live";
import { ADOPTED_EVENT, MARK, standIn, TWIN_EVENT } from "../widgets/live_mark";

class FakeRenderer extends Widget {
  drawn: unknown = null;
  constructor(readonly mime: string) {
    super();
  }
  async renderModel(model: { data: Record<string, unknown> }): Promise<void> {
    this.drawn = model.data[this.mime];
    if (this.mime !== WIDGET_MIME) this.node.textContent = String(this.drawn);
  }
}

let made: FakeRenderer[];
let factory: object;
let place: Place;

beforeEach(() => {
  vi.useFakeTimers();
  made = [];
  factory = {};
  place = {
    rendermime: {
      getFactory: () => factory,
      preferredMimeType: (data: Record<string, unknown>, safe: string) =>
        ["text/html", "text/plain"].find((mime) => mime in data && (mime !== "unsafe" || safe === "any")),
      createRenderer: (mime: string) => {
        const renderer = new FakeRenderer(mime);
        made.push(renderer);
        return renderer;
      },
    } as never,
    connected: () => true,
    keep: vi.fn<Place["keep"]>(),
    dead: new Set(),
    outputs: new Set(),
  };
});

const bundle = (id = "m1", html = "twin") => ({
  [VIEW_MIME]: { schema: 1, model_id: id },
  [WIDGET_MIME]: { model_id: id },
  "text/html": html,
  "text/plain": "plain",
});

async function draw(output: LiveOutput, data: Record<string, unknown>, trusted = true) {
  await output.renderModel({ data, trusted, metadata: {}, setData: () => {} } as never);
}

const widgets = () => made.filter(({ mime }) => mime === WIDGET_MIME);
const twins = () => made.filter(({ mime }) => mime !== WIDGET_MIME);

async function appear(): Promise<HTMLElement> {
  const el = document.createElement("div");
  widgets().at(-1)?.node.append(el);
  el.setAttribute(MARK, "");
  await vi.advanceTimersByTimeAsync(0);
  return el;
}

describe("an output with a live view", () => {
  it("shows the twin until the widget is drawn, and the widget alone then", async () => {
    const output = new LiveOutput(place);
    await draw(output, bundle());
    expect(twins()[0]?.isHidden).toBe(false);
    expect(widgets()[0]?.isHidden).toBe(true);
    await appear();
    expect(twins()[0]?.isHidden).toBe(true);
    expect(widgets()[0]?.isHidden).toBe(false);
  });

  it("shows the twin again when the widget goes", async () => {
    const output = new LiveOutput(place);
    await draw(output, bundle());
    (await appear()).remove();
    await vi.advanceTimersByTimeAsync(0);
    expect(twins()[0]?.isHidden).toBe(false);
    expect(widgets()[0]?.isHidden).toBe(true);
  });

  it("keeps the widget when only the twin changes", async () => {
    const output = new LiveOutput(place);
    await draw(output, bundle());
    await appear();
    await draw(output, bundle("m1", "a newer twin"));
    expect(widgets().length).toBe(1);
    expect(output.node.textContent).toBe("a newer twin");
    expect(made.filter((one) => one.mime === "text/html" && !one.isDisposed).length).toBe(1);
    expect(widgets()[0]?.isHidden).toBe(false);
  });

  it("takes another model's widget in place of the old one", async () => {
    const output = new LiveOutput(place);
    await draw(output, bundle("m1"));
    await appear();
    await draw(output, bundle("m2"));
    expect(widgets().map((one) => one.isDisposed)).toEqual([true, false]);
    expect(widgets()[1]?.drawn).toMatchObject({ model_id: "m2" });
  });

  it("asks again when the notebook gets its widget manager later", async () => {
    const output = new LiveOutput(place);
    await draw(output, bundle());
    await vi.advanceTimersByTimeAsync(600);
    expect(widgets().length).toBe(1);
    factory = {};
    await vi.advanceTimersByTimeAsync(500);
    expect(widgets().map((one) => one.isDisposed)).toEqual([true, false]);
    output.dispose();
    factory = {};
    await vi.advanceTimersByTimeAsync(200_000);
    expect(widgets().length).toBe(2);
  });

  it("asks again when the widget was not found, and lets one that is being drawn be", async () => {
    const output = new LiveOutput(place);
    await draw(output, bundle());
    const text = widgets()[0];
    if (text) text.node.textContent = "Error displaying widget: model not found";
    await vi.advanceTimersByTimeAsync(2000);
    expect(widgets().map((one) => one.isDisposed)).toEqual([true, false]);
    widgets()[1]?.node.append(document.createElement("div"));
    await vi.advanceTimersByTimeAsync(200_000);
    expect(widgets().length).toBe(2);
  });

  it("keeps its widget when one that was given up fails later", async () => {
    const output = new LiveOutput(place);
    let fail = (_: Error) => {};
    const failing = new Promise<void>((_, reject) => {
      fail = reject;
    });
    vi.spyOn(FakeRenderer.prototype, "renderModel").mockImplementationOnce(async () => {});
    vi.spyOn(FakeRenderer.prototype, "renderModel").mockImplementationOnce(() => failing);
    await draw(output, bundle());
    factory = {};
    await vi.advanceTimersByTimeAsync(300);
    await appear();
    fail(new Error("disposed"));
    await vi.advanceTimersByTimeAsync(0);
    expect(widgets().at(-1)?.isHidden).toBe(false);
    vi.restoreAllMocks();
  });

  it("stays a twin without a kernel, without trust, and for a model that died", async () => {
    place.connected = () => false;
    await draw(new LiveOutput(place), bundle());
    place.connected = () => true;
    await draw(new LiveOutput(place), bundle(), false);
    place.dead.add("m3");
    await draw(new LiveOutput(place), bundle("m3"));
    expect(widgets()).toEqual([]);
    expect(twins().map((one) => one.isHidden)).toEqual([false, false, false]);
  });

  it("forgets a widget whose kernel ended, also when it is drawn again", async () => {
    const output = new LiveOutput(place);
    await draw(output, bundle());
    await appear();
    output.drop(true);
    expect(twins()[0]?.isHidden).toBe(false);
    await draw(output, bundle());
    output.connect();
    expect(widgets().filter((one) => !one.isDisposed)).toEqual([]);
    expect(place.dead.has("m1")).toBe(true);
  });

  it("hands the widget a source of its own, which it may write into", async () => {
    const data = bundle();
    await draw(new LiveOutput(place), data);
    Object.assign(widgets()[0]?.drawn as object, { model_id: "" });
    expect(data[WIDGET_MIME].model_id).toBe("m1");
  });

  it.each([[null], [3], ["x"], [{}], [{ model_id: 3 }], [{ model_id: { a: 1 } }]])(
    "shows the twin for a view of %j",
    async (view) => {
      await draw(new LiveOutput(place), { ...bundle(), [WIDGET_MIME]: view });
      expect(widgets()).toEqual([]);
      expect(twins()[0]?.isHidden).toBe(false);
    },
  );
});

describe("the twin that a widget hands on", () => {
  function model(twin: Record<string, unknown>) {
    const listeners = new Set<() => void>();
    return {
      get: () => twin,
      on: (_event: string, callback: () => void) => listeners.add(callback),
      off: (_event: string, callback: () => void) => listeners.delete(callback),
      change: (next: Record<string, unknown>) => {
        twin = next;
        for (const listener of listeners) listener();
      },
      listeners,
    };
  }

  it("is kept when the widget is adopted and when it changes", async () => {
    const output = new LiveOutput(place);
    document.body.append(output.node);
    await draw(output, bundle());
    const el = document.createElement("div");
    widgets()[0]?.node.append(el);
    const fake = model({ "text/plain": "one" });
    const end = standIn(fake as never, el);
    await vi.advanceTimersByTimeAsync(0);
    expect(place.keep).toHaveBeenCalledWith(output.node, { "text/plain": "one" });
    fake.change({ "text/plain": "two" });
    expect(place.keep).toHaveBeenLastCalledWith(output.node, { "text/plain": "two" });
    end();
    await vi.advanceTimersByTimeAsync(0);
    expect(widgets()[0]?.isHidden).toBe(true);
    expect(fake.listeners.size).toBe(0);
  });

  it("is nothing before there is one", async () => {
    const el = document.createElement("div");
    const heard = vi.fn();
    el.addEventListener(TWIN_EVENT, heard);
    standIn(model({}) as never, el);
    el.dispatchEvent(new CustomEvent(ADOPTED_EVENT));
    expect(heard).not.toHaveBeenCalled();
  });

  it("is taken from no element without the mark", async () => {
    const output = new LiveOutput(place);
    document.body.append(output.node);
    await draw(output, bundle());
    output.node.dispatchEvent(new CustomEvent(TWIN_EVENT, { detail: { "text/plain": "forged" } }));
    expect(place.keep).not.toHaveBeenCalled();
  });
});
