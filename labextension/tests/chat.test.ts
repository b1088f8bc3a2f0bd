import { beforeEach, describe, expect, it, vi } from "vitest";
import { INSERT_EVENT } from "../widgets/insert";
import { MARK } from "../widgets/live_mark";
import { HEAD, HOSTILE, open, p, STEPS, says, step } from "./chat_panel";

vi.mock("../widgets/import_text", () => ({ importText: () => import("../widgets/chat_side") }));

beforeEach(() => {
  document.body.replaceChildren();
  sessionStorage.clear();
});

describe("what is typed", () => {
  it("goes with Enter, and stays until the kernel has it", () => {
    const { model, field, type, press, find } = open();
    expect(find<HTMLButtonElement>(".llama-nb-send").disabled).toBe(true);
    type("hello");
    press("Enter", field, { shiftKey: true });
    press("Enter", field, { isComposing: true });
    expect(model.said("send")).toEqual([]);
    press("Enter");
    press("Enter");
    expect(model.said("send").map(({ text }) => text)).toEqual(["hello"]);
    expect(field.value).toBe("hello");
    model.tell("accepted", { page: "another page" });
    expect(field.value).toBe("hello");
    model.accept();
    expect(field.value).toBe("");
  });

  it("stays when the kernel refuses it, and can be sent again", () => {
    const { model, field, type, press, find } = open();
    type("hello");
    press("Enter");
    model.set("error", "The context is full.\nStart a new chat.");
    expect(field.value).toBe("hello");
    expect(find("[role=alert]").textContent).toContain("Start a new chat.");
    press("Enter");
    expect(model.said("send").length).toBe(2);
    find<HTMLButtonElement>("[aria-label=Dismiss]").click();
    expect(find("[role=alert]")).toBeNull();
  });

  it("keeps what is typed while a message is on its way", () => {
    const { model, field, type, press } = open();
    type("one");
    press("Enter");
    type("one and two");
    model.accept();
    expect(field.value).toBe("and two");
    model.tell("returned", { text: "lost" });
    expect(field.value).toBe("and two");
    type("");
    model.tell("returned", { text: "lost" });
    expect(field.value).toBe("lost");
  });

  it("is there again after the page was loaded again, a draft for each chat", () => {
    const first = open();
    first.type("half a thou");
    first.close();
    document.body.replaceChildren();
    const { model, field } = open();
    expect(field.value).toBe("half a thou");
    model.set("head", { ...HEAD, chat: "other" });
    expect(field.value).toBe("");
    model.set("head", HEAD);
    expect(field.value).toBe("half a thou");
  });

  it("is its own panel's, in whatever order the page draws them again", () => {
    const panels = [1, 2].map((panel) => open({ head: { ...HEAD, panel } }));
    panels[1]?.type("half a thou");
    for (const panel of panels) panel.close();
    document.body.replaceChildren();
    const [second, first] = [2, 1].map((panel) => open({ head: { ...HEAD, panel } }));
    expect(second?.field.value).toBe("half a thou");
    expect(first?.field.value).toBe("");
  });

  it("cannot be sent to nobody, and the next step is said", () => {
    const { model, el, type, press, find } = open({ head: { chat: "main", alive: false } });
    const cells: string[] = [];
    el.addEventListener(INSERT_EVENT, (event) => cells.push((event as CustomEvent<string>).detail));
    type("hello");
    press("Enter");
    expect(model.said("send")).toEqual([]);
    expect(find(".llama-nb-empty").textContent).toContain("%llama load cria");
    find<HTMLButtonElement>(".llama-nb-empty button").click();
    expect(cells).toEqual(["%llama load cria"]);
  });

  it("says first that a base model only goes on with a text", () => {
    const { find, all } = open({ head: { ...HEAD, base: true } });
    expect(find(".llama-nb-empty").textContent).toContain("is a base model");
    expect(find(".llama-nb-empty code").textContent).toContain("%%llama complete");
    expect(all(".llama-nb-ideas button").length).toBe(0);
  });

  it("begins with something to ask", () => {
    const { find, field, all } = open();
    expect(all(".llama-nb-ideas button").length).toBe(3);
    find<HTMLButtonElement>(".llama-nb-ideas button").click();
    expect(field.value).toBe("What is grouped-query attention?");
    expect(document.activeElement).toBe(field);
  });

  it("says when the kernel is silent", () => {
    vi.useFakeTimers();
    const { model, type, press, find } = open();
    type("hello");
    press("Enter");
    vi.advanceTimersByTime(2000);
    expect(find(".llama-nb-chat-foot").textContent).toContain("another cell may be running");
    model.accept();
    expect(find(".llama-nb-chat-foot").textContent).toContain("Enter sends");
    vi.useRealTimers();
  });
});

describe("the conversation", () => {
  it("asks once for what it has not seen, and shows who speaks", () => {
    const { model, texts, all, find } = open({ path: { steps: STEPS } });
    expect(model.said("want")).toEqual([{ kind: "want", ids: ["q", "a"] }]);
    model.tell("contents", { items: [says("q", "what?"), says("a", "that.")] });
    expect(texts()).toEqual(["what?", "that."]);
    expect(all("[role=group][aria-label]").map((one) => one.getAttribute("aria-label"))).toContain(
      "Answer of cria",
    );
    expect(find(".llama-nb-empty").hidden).toBe(true);
    model.set("path", { steps: [...STEPS] });
    expect(model.said("want").length).toBe(1);
  });

  it("grows the answer below what is asked, and keeps it when it ends", () => {
    const { model, texts, find } = open({ path: { steps: STEPS } });
    model.tell("contents", { items: [says("q", "what?"), says("a", "that.")] });
    model.set("live", { asked: "q", kept: 0, kind: "retry" });
    model.set("running", true);
    expect(texts()[0]).toBe("what?");
    expect(texts().length).toBe(2);
    expect(find("[aria-busy=true] .llama-nb-skeleton")).not.toBeNull();
    model.tell("delta", {
      revision: 1,
      status: "1 token",
      change: { path: [], keep: 0, grow: "", add: [p("th")] },
    });
    model.tell("delta", {
      revision: 2,
      status: "2 tokens",
      change: { path: [0], keep: 1, grow: "is", add: [] },
    });
    expect(texts()).toEqual(["what?", "this"]);
    model.set("running", false);
    model.set("live", {});
    const after = step("b", "assistant", { version: 2, versions: 2, siblings: ["a", "b"] });
    model.set("path", { steps: [step("q", "user"), after] });
    expect(texts()).toEqual(["what?", "this"]);
    expect(document.getElementById("llama-nb-announcer")?.textContent).toBe("cria: this");
  });

  it("asks for the whole text when a delta was missed", () => {
    const { model } = open({ running: true, live: { asked: "q" } });
    model.tell("delta", { revision: 3, status: "", change: null });
    expect(model.said("lost").length).toBe(1);
  });

  it("goes through versions with arrows that keep the focus", () => {
    const first = step("a", "assistant", { versions: 2, siblings: ["a", "b"] });
    const { model, does } = open({ path: { steps: [step("q", "user"), first] } });
    does("Previous version").click();
    expect(model.said("goto")).toEqual([]);
    does("Next version").focus();
    does("Next version").click();
    expect(model.said("goto")).toEqual([{ kind: "goto", id: "b", tip: true }]);
    model.set("path", { steps: [step("q", "user"), { ...first, id: "b", version: 2 }] });
    expect(document.activeElement).toBe(does("Next version"));
  });

  it("edits a message in its place; the text is safe until it is taken", () => {
    const { model, does, find, all, press, type, field } = open({ path: { steps: STEPS } });
    model.tell("contents", { items: [says("q", "what?")] });
    does("Edit").click();
    const editor = () => find<HTMLTextAreaElement>(".llama-nb-edit textarea");
    expect(editor().value).toBe("what?");
    type("why?", editor());
    model.set("path", { steps: [] });
    model.set("path", { steps: STEPS });
    expect(editor().value).toBe("why?");
    press("Enter", editor());
    expect(model.said("edit")).toMatchObject([{ id: "q", text: "why?" }]);
    model.set("error", "No.");
    type("another", field);
    press("Enter");
    model.accept();
    expect(editor().value).toBe("why?");
    press("Enter", editor());
    model.set("path", { steps: [step("r", "user", { version: 2, versions: 2, siblings: ["q", "r"] })] });
    model.accept();
    expect(document.activeElement).toBe(field);
    model.set("path", { steps: STEPS });
    expect(all(".llama-nb-edit")).toEqual([]);
  });

  it("offers to continue what was cut short, and to answer again", () => {
    const { model, does, find } = open({
      path: { steps: [step("q", "user"), step("a", "assistant", { finish: "length" })] },
    });
    model.tell("contents", { items: [says("a", "half")] });
    expect(find(".llama-nb-mark").textContent).toContain("max_tokens");
    does("Continue").click();
    does("Answer again").click();
    expect(model.sent.slice(-2)).toEqual([
      { kind: "continue", id: "a" },
      { kind: "retry", id: "a" },
    ]);
  });

  it("says so when the same answer comes again", () => {
    const { model, does, find } = open({ path: { steps: STEPS } });
    does("Answer again").click();
    model.set("path", { steps: STEPS.slice(0, 1) });
    model.set("running", true);
    model.set("blocks", [p("that.")]);
    model.set("path", { steps: STEPS });
    model.set("running", false);
    expect(find(".llama-nb-chat-foot").textContent).toContain("The same answer again");
    does("Answer again").click();
    model.set("running", true);
    model.set("path", { steps: [STEPS[0], step("b", "assistant")] as never });
    model.set("running", false);
    expect(find(".llama-nb-chat-foot").textContent).toContain("Enter sends");
  });

  it("stops with Escape and with the button", () => {
    const { model, find, press } = open({ running: true, live: { asked: "" } });
    press("Escape");
    find<HTMLButtonElement>(".llama-nb-halt").click();
    expect(model.said("stop").length).toBe(2);
    expect(find<HTMLButtonElement>(".llama-nb-halt").disabled).toBe(true);
    model.set("running", false);
    press("Escape");
    expect(model.said("stop").length).toBe(2);
  });

  it("asks before a function is called", () => {
    const pending = {
      call: "c1",
      name: "weather",
      arguments: '{"city": "Oslo"}',
      sentence: "cria asks for:",
    };
    const { model, find } = open({ running: true, live: { asked: "", pending } });
    expect(find(".llama-nb-pending").textContent).toContain('weather({"city": "Oslo"})');
    find<HTMLButtonElement>(".llama-nb-pending .llama-nb-primary").click();
    expect(model.said("allow")).toEqual([{ kind: "allow", call: "c1" }]);
    model.set("live", { asked: "" });
    expect(find(".llama-nb-pending").hidden).toBe(true);
  });

  it("puts code into a cell, and a message into one that sends it", () => {
    const code = { t: "pre", c: [{ t: "code", c: ["1 + 1\n"] }] };
    const { model, el, find, does } = open({ path: { steps: STEPS } });
    const cells: string[] = [];
    el.addEventListener(INSERT_EVENT, (event) => cells.push((event as CustomEvent<string>).detail));
    model.tell("contents", { items: [{ id: "a", nodes: [code], text: "" }, says("q", "use {{ x }}")] });
    find<HTMLButtonElement>(".llama-nb-insert").click();
    does("Insert").click();
    expect(cells).toEqual(["1 + 1", "%%llama chat --raw\nuse {{ x }}"]);
  });

  it("shows hostile text as text, everywhere", async () => {
    const bad = step("a", "assistant", { model: HOSTILE, status: HOSTILE, notes: [HOSTILE], error: HOSTILE });
    const call = { name: HOSTILE, arguments: HOSTILE, state: "ran" as const };
    const { model, el, does, code } = open({
      head: { ...HEAD, chat: HOSTILE, model: HOSTILE, chats: [HOSTILE], system: HOSTILE },
      path: { steps: [step("q", "user"), { ...bad, calls: [call] }] },
      error: HOSTILE,
    });
    model.tell("contents", { items: [says("q", HOSTILE), says("a", HOSTILE)] });
    does("Tokens").click();
    await code();
    model.tell("tokens", { id: "a", tokens: [[1, HOSTILE, -1, 1, 0, 0, [[2, HOSTILE, -1, -1]]]] });
    await code();
    el.querySelector<HTMLElement>("[role=option]")?.click();
    expect(el.textContent?.split("onerror=alert").length).toBeGreaterThan(8);
    expect(el.querySelector("img")).toBeNull();
  });
});

describe("the line above", () => {
  it("changes chat and model, begins and deletes chats", () => {
    const { model, find, all, press } = open();
    const [chats, models] = all("select") as HTMLSelectElement[];
    const choose = (select: HTMLSelectElement | undefined, value: string) => {
      if (!select) return;
      select.value = value;
      select.dispatchEvent(new Event("change"));
    };
    choose(chats, "other");
    choose(models, "models/stories");
    const named = (text: string) =>
      [...(chats?.options ?? [])].find((option) => option.textContent?.startsWith(text))?.value ?? "";
    choose(chats, named("New"));
    const name = find<HTMLInputElement>(".llama-nb-chat-asking input");
    name.value = "third";
    press("Enter", name);
    choose(chats, named("Delete"));
    expect(model.said("delete")).toEqual([]);
    find<HTMLButtonElement>(".llama-nb-danger").click();
    expect(model.sent.filter(({ kind }) => kind !== "hello")).toEqual([
      { kind: "chat", name: "other" },
      { kind: "model", name: "models/stories" },
      { kind: "new", name: "third" },
      { kind: "delete", name: "main" },
    ]);
    expect(models?.options[1]?.textContent).toBe("stories");
  });

  it("offers the model's adapters, where there are any", () => {
    const { model, find } = open();
    const pick = find<HTMLSelectElement>("select[aria-label=Adapter]");
    expect(pick.hidden).toBe(true);
    const shown = () => [...pick.options].map(({ textContent }) => textContent);
    model.set("head", { ...HEAD, adapters: { names: ["persona", HOSTILE], label: "" } });
    expect([pick.hidden, shown(), pick.value]).toEqual([
      false,
      ["no adapter", "+ persona", `+ ${HOSTILE}`],
      "off",
    ]);
    expect(find("select img")).toBeNull();
    pick.value = "persona";
    pick.dispatchEvent(new Event("change"));
    expect(model.said("adapter")).toEqual([{ kind: "adapter", name: "persona" }]);
    model.set("head", { ...HEAD, adapters: { names: ["persona", "tone"], label: "persona" } });
    expect([pick.value, pick.title]).toEqual(["persona", "cria answers with persona"]);
    pick.value = "off";
    pick.dispatchEvent(new Event("change"));
    expect(model.said("adapter")[1]).toEqual({ kind: "adapter", name: "off" });
    model.set("head", { ...HEAD, adapters: { names: ["a", "b"], label: "a:0.7 b:0.3" } });
    expect(pick.selectedOptions[0]?.textContent).toBe("+ a:0.7 b:0.3");
    pick.dispatchEvent(new Event("change"));
    expect(model.said("adapter").length).toBe(2);
    model.set("head", { ...HEAD, alive: false, adapters: { names: ["a"], label: "" } });
    expect(pick.disabled).toBe(true);
  });

  it("says how full the context is", () => {
    const { model, find } = open();
    expect(find("[role=meter]").getAttribute("aria-label")).toBe("Context: 214 of 1,024 tokens");
    model.set("head", { ...HEAD, context: { used: 1000, total: 1024 } });
    expect(find("[role=meter]").classList.contains("llama-nb-gauge-full")).toBe(true);
  });
});

it("marks itself, keeps shortcuts to itself and leaves nothing behind", () => {
  const { model, el, find, close, stop } = open();
  expect(el.hasAttribute(MARK)).toBe(true);
  expect(find(".llama-nb-chat").getAttribute("data-lm-suppress-shortcuts")).toBe("true");
  close();
  stop();
  expect(model.listening).toBe(0);
  expect(el.children.length).toBe(0);
});
