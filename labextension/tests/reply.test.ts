import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FINAL_EVENT } from "../widgets/final";
import type { Tree } from "../widgets/nodes";
import widget, { type ReplyModel } from "../widgets/reply";
import type { ReplyViewTraits } from "../widgets/traits";
import { FakeModel } from "./fake_model";

const p = (...c: Tree[]): Tree => ({ t: "p", c });

/** A model as anywidget hands it over: traits, local changes, custom messages. */
class FakeReply extends FakeModel<ReplyViewTraits> {
  delta(revision: number, change: unknown, status = ""): void {
    this.tell("delta", { revision, change, status });
  }
}

function traits(changes: Partial<ReplyViewTraits> = {}): ReplyViewTraits {
  const header = { user_nodes: [p("the question")], system: "", model: "cria", chat: "main" };
  const texts = { status: "cria · reading the prompt", error: "", notes: [] as string[] };
  return {
    header,
    blocks: [],
    revision: 0,
    running: true,
    stoppable: false,
    final: {},
    ...texts,
    ...changes,
  };
}

function open(changes: Partial<ReplyViewTraits> = {}) {
  const model = new FakeReply(traits(changes));
  const el = document.createElement("div");
  document.body.append(el);
  const asModel = model as unknown as ReplyModel;
  const stopModel = widget.initialize({ model: asModel });
  const close = widget.render({ model: asModel, el });
  const find = (selector: string) => el.querySelector<HTMLElement>(selector);
  return { model, el, find, asModel, stopModel, close };
}

beforeEach(() => {
  vi.useFakeTimers();
  document.body.replaceChildren();
});
afterEach(() => vi.useRealTimers());

describe("a reply that is written", () => {
  it("shows the question and a skeleton at once", () => {
    const { find, el } = open();
    expect(find(".llama-nb-user")?.textContent).toBe("the question");
    expect(el.querySelectorAll(".llama-nb-skeleton").length).toBe(3);
    expect(find(".llama-nb-reply")?.getAttribute("aria-busy")).toBe("true");
    expect(find(".llama-nb-reply")?.getAttribute("role")).toBe("group");
  });

  it("counts the seconds until the first word", () => {
    const { model, find } = open();
    expect(find(".llama-nb-status")?.textContent).toBe("cria · reading the prompt");
    vi.advanceTimersByTime(3500);
    expect(find(".llama-nb-status")?.textContent).toBe("cria · reading the prompt · 3 s");
    model.delta(1, { path: [], keep: 0, grow: "", add: [p("one")] }, "cria · 1 token");
    vi.advanceTimersByTime(3500);
    expect(find(".llama-nb-status")?.textContent).toBe("cria · 1 token");
  });

  it("grows by deltas", () => {
    const { model, find } = open();
    model.delta(1, { path: [], keep: 0, grow: "", add: [p("one")] }, "1 token");
    model.delta(2, { path: [0], keep: 1, grow: " two", add: [{ t: "strong", c: ["three"] }] }, "3 tokens");
    expect(find(".llama-nb-answer")?.innerHTML).toBe("<p>one two<strong>three</strong></p>");
    expect(find(".llama-nb-status")?.textContent).toBe("3 tokens");
    expect(find(".llama-nb-skeleton")).toBeNull();
  });

  it("asks once for what it missed, and goes on from a checkpoint", () => {
    const { model, find } = open();
    model.delta(1, { path: [], keep: 0, grow: "", add: [p("one")] });
    model.delta(3, { path: [], keep: 1, grow: "", add: [p("three")] });
    model.delta(4, { path: [], keep: 2, grow: "", add: [p("four")] });
    expect(find(".llama-nb-answer")?.textContent).toBe("one");
    expect(model.sent.filter((message) => (message as { kind: string }).kind === "lost").length).toBe(1);
    model.set("revision", 4);
    model.set("blocks", [p("one"), p("two"), p("three"), p("four")]);
    model.delta(4, { path: [], keep: 0, grow: "", add: [] });
    model.delta(5, { path: [3], keep: 1, grow: "!", add: [] });
    expect(find(".llama-nb-answer")?.textContent).toBe("onetwothreefour!");
  });

  it("ignores messages that are none", () => {
    const { model, find } = open();
    for (const message of [null, undefined, 3, "x", {}, { kind: "other" }]) model.emit("msg:custom", message);
    expect(find(".llama-nb-answer")?.textContent).toBe("");
  });

  it("shows the same in a second view, and leaves nothing behind", () => {
    const { model, asModel, stopModel, close } = open();
    model.delta(1, { path: [], keep: 0, grow: "", add: [p("one")] });
    const second = document.createElement("div");
    const closeSecond = widget.render({ model: asModel, el: second });
    model.delta(2, { path: [0], keep: 1, grow: " two", add: [] });
    expect(second.querySelector(".llama-nb-answer")?.textContent).toBe("one two");
    close();
    closeSecond();
    stopModel();
    expect(model.listening).toBe(0);
    expect(second.childNodes.length).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("shows notes and errors as text", () => {
    const { model, find } = open({ notes: ["1 turn was left out."] });
    expect(find(".llama-nb-notes")?.textContent).toBe("1 turn was left out.");
    model.set("error", "<b>ZeroDivisionError</b>");
    expect(find(".llama-nb-error")?.textContent).toBe("<b>ZeroDivisionError</b>");
    expect(find(".llama-nb-error")?.hidden).toBe(false);
    expect(find(".llama-nb-error")?.getAttribute("role")).toBe("alert");
  });

  it("shows a system prompt folded", () => {
    const { find } = open({ header: { system: "Be brief.", model: "cria" } });
    expect(find("details > summary")?.textContent).toBe("System prompt");
    expect((find("details") as HTMLDetailsElement).open).toBe(false);
  });
});

describe("stopping", () => {
  it("has no button until the kernel answers, and says what to do instead", () => {
    const { model, find } = open();
    expect(find(".llama-nb-stop")?.hidden).toBe(true);
    expect(find(".llama-nb-hint")?.textContent).toBe("");
    vi.advanceTimersByTime(1100);
    expect(find(".llama-nb-hint")?.textContent).toBe("interrupt the kernel to stop");
    model.set("stoppable", true);
    expect(find(".llama-nb-stop")?.hidden).toBe(false);
    expect(find(".llama-nb-hint")?.hidden).toBe(true);
  });

  it("is a button that keyboards reach, and works once", () => {
    const { model, find } = open({ stoppable: true });
    const stop = find(".llama-nb-stop") as HTMLButtonElement;
    expect(stop.tagName).toBe("BUTTON");
    stop.focus();
    expect(document.activeElement).toBe(stop);
    stop.click();
    stop.click();
    expect(model.sent.filter((message) => (message as { kind: string }).kind === "stop")).toEqual([
      { kind: "stop" },
    ]);
    expect(stop.textContent).toBe("Stopping");
  });

  it("greets the kernel until it is heard, always twice", () => {
    const { model } = open();
    vi.advanceTimersByTime(10_000);
    const hellos = model.sent as { kind: string; page: string }[];
    expect(hellos.length).toBe(5);
    expect(new Set(hellos.map((hello) => hello.page)).size).toBe(1);
    const heard = open({ stoppable: true });
    vi.advanceTimersByTime(10_000);
    expect(heard.model.sent.length).toBe(2);
  });
});

describe("the end", () => {
  it("takes the caret and the button, and reads the answer once", () => {
    const { model, find } = open({ stoppable: true });
    model.delta(1, { path: [], keep: 0, grow: "", add: [p("the answer"), { t: "pre", c: ["x = 1\n"] }] });
    expect(document.getElementById("llama-nb-announcer")).toBeNull();
    model.set("running", false);
    expect(find(".llama-nb-stop")?.hidden).toBe(true);
    expect(find(".llama-nb-running")).toBeNull();
    const region = document.getElementById("llama-nb-announcer");
    expect(region?.textContent).toBe("cria: the answer\n\nx = 1");
    expect(region?.getAttribute("aria-live")).toBe("polite");
  });

  it("takes the skeleton of an answer that stays empty", () => {
    const { model, find } = open();
    model.set("running", false);
    expect(find(".llama-nb-skeleton")).toBeNull();
  });

  it("offers the finished output to the notebook and tells the kernel when it was taken", () => {
    const offered: unknown[] = [];
    const take = (event: Event) => {
      offered.push((event as CustomEvent).detail);
      event.preventDefault();
    };
    document.body.addEventListener(FINAL_EVENT, take, { once: true });
    const { model } = open();
    model.set("final", { "text/plain": "done" });
    expect(offered).toEqual([{ "text/plain": "done" }]);
    expect(model.sent).toContainEqual({ kind: "replaced" });
  });

  it("keeps the widget when nobody takes it, and waits until it is in the page", () => {
    const { model } = open();
    model.set("final", { "text/plain": "done" });
    expect(model.sent).not.toContainEqual({ kind: "replaced" });
    const late = document.createElement("div");
    const taken = vi.fn((event: Event) => event.preventDefault());
    late.addEventListener(FINAL_EVENT, taken);
    widget.render({ model: model as unknown as ReplyModel, el: late });
    vi.advanceTimersByTime(500);
    expect(taken).not.toHaveBeenCalled();
    document.body.append(late);
    vi.advanceTimersByTime(500);
    expect(taken).toHaveBeenCalledTimes(1);
  });
});
