import { afterEach, describe, expect, it, vi } from "vitest";
import { INSERT_EVENT } from "../widgets/insert";
import { HEAD, HOSTILE, open } from "./training_panel";

vi.mock("../widgets/import_text", () => ({ importText: () => import("../widgets/training_more") }));
afterEach(() => document.body.replaceChildren());

describe("how far a run is", () => {
  it("says who it is, its state as a mark and a word, its steps, its time and its losses", () => {
    const { find } = open();
    expect(find(".llama-nb-title").textContent).toBe("persona");
    expect(find(".llama-nb-tr-what").textContent).toBe(
      "cria · LoRA rank 16 · 295 k weights · in a notebook's kernel",
    );
    expect(find(".llama-nb-tr-state").textContent).toBe("●running");
    expect(find(".llama-nb-tr-far").textContent).toBe(
      "step 6 of 20 · epoch 0.5 · 1 min 15 s left · 1,234 tokens/sloss 2.40 · validation 2.00",
    );
    const bar = find("[role=progressbar]");
    expect([bar.getAttribute("aria-valuenow"), bar.getAttribute("aria-valuemax")]).toEqual(["6", "20"]);
    expect(find(".llama-nb-tr-progress > span").style.width).toBe("30%");
    expect(find(".llama-nb-tr-progress > i").style.left).toBe("25%");
  });

  it("says before the first step what is planned, and while a chat is answered what it waits for", async () => {
    const { find, head, settle } = open({
      head: { name: "run", state: "waiting", steps: 20, planned_s: 118 },
    });
    expect(find(".llama-nb-tr-far").textContent).toBe("step 0 of 20 · about 1 min 58 s planned");
    head({ state: "running", step: 2, serving: "a chat (main) is being answered" });
    await settle();
    expect(find(".llama-nb-tr-far").textContent).toBe(
      "step 2 of 20 · waits: a chat (main) is being answered",
    );
  });

  it("says what a state means when it is not at work, and which validation was best", async () => {
    const { find, head, settle } = open();
    head({ state: "stopped", sentence: `Stopped: \`x\` goes on ${HOSTILE}`, orders: ["resume"], best: 1.5 });
    await settle();
    expect(find(".llama-nb-tr-far").textContent).toContain(`Stopped: x goes on ${HOSTILE}`);
    expect(find(".llama-nb-tr-far code").textContent).toBe("x");
    expect(find(".llama-nb-tr-latest").textContent).toContain("best 1.50 at 4");
    expect(find("img")).toBeNull();
  });

  it("is not seen before it knows of a run, shows errors with what to do, and lets go of everything", async () => {
    const { model, find, close, ended, settle, head, el } = open({
      head: {},
      curves: {},
      samples: {},
      recipe: {},
    });
    expect(find(".llama-nb-training").dataset.empty).toBe("true");
    head({ ...HEAD, state: "failed", error: `Not finite ${HOSTILE}`, hint: "Resume: `%llama train`" });
    await settle();
    expect(find("[role=alert]").textContent).toBe(`Not finite ${HOSTILE}Resume: %llama train`);
    model.set("error", "No adapter.\nLoad it.");
    await settle();
    expect(find("[role=alert]").textContent).toBe("No adapter.Load it.");
    close();
    ended();
    expect([model.listening, el.childElementCount]).toEqual([0, 0]);
  });
});

describe("orders", () => {
  it("pauses, resumes and saves; what makes no sense now is disabled or away", async () => {
    const { button, model, head, settle, find } = open();
    button("Pause").click();
    button("Save now").click();
    expect([model.said("pause").length, model.said("save").length]).toEqual([1, 1]);
    head({ ordered: "pause" });
    await settle();
    expect(find(".llama-nb-tr-said").textContent).toContain("Pauses at the end of this step");
    head({ state: "paused", ordered: "", orders: ["resume", "stop"] });
    await settle();
    expect([button("Save now"), find(".llama-nb-tr-said").textContent]).toEqual([undefined, ""]);
    button("Resume").click();
    expect(model.said("resume").length).toBe(1);
    head({ state: "waiting", orders: ["stop"] });
    await settle();
    expect([button("Pause").disabled, button("Stop").disabled]).toEqual([true, false]);
    head({ state: "finished", orders: [] });
    await settle();
    expect(find(".llama-nb-tr-controls").hidden).toBe(true);
  });

  it("stops only when it was asked again, and says in the question what is kept", () => {
    const { button, model, find, press } = open();
    button("Stop").click();
    expect(find(".llama-nb-tr-sure").textContent).toContain("keeps a checkpoint of step 6");
    expect(document.activeElement).toBe(button("Keep training"));
    press(button("Keep training"), "Escape");
    expect([model.said("stop").length, document.activeElement]).toEqual([0, button("Stop")]);
    button("Stop").click();
    button("Stop").click();
    expect(model.said("stop")).toEqual([{ kind: "stop" }]);
    expect(find(".llama-nb-tr-sure").hidden).toBe(true);
  });

  it("takes another learning rate, and none that is none", async () => {
    const { find, type, press, model, head, settle } = open();
    const field = find<HTMLInputElement>("[aria-label='Learning rate']");
    expect(field.value).toBe("2e-4");
    type(field, "fast");
    press(field, "Enter");
    expect([field.getAttribute("aria-invalid"), model.said("lr")]).toEqual(["true", []]);
    type(field, "5e-5");
    head({ lr: 1.9e-4 });
    await settle();
    expect(field.value).toBe("5e-5");
    press(field, "Enter");
    expect(model.said("lr")).toEqual([{ kind: "lr", value: 5e-5 }]);
    type(field, "1");
    press(field, "Escape");
    expect([field.value, model.said("lr").length]).toEqual(["1.9e-4", 1]);
    press(field, "Enter");
    expect(model.said("lr").length).toBe(1);
  });

  it("says so when the kernel does not answer, until it does", async () => {
    vi.useFakeTimers();
    const { button, find, head } = open();
    button("Pause").click();
    vi.advanceTimersByTime(5000);
    expect(find(".llama-nb-tr-said").textContent).toBe("Waiting for the kernel …");
    head({ step: 7 });
    vi.advanceTimersByTime(100);
    expect(find(".llama-nb-tr-said").textContent).toBe("");
    vi.useRealTimers();
  });
});

describe("talking to it", () => {
  it("inserts the line, and turns the adapter on and off", () => {
    const { button, find, model, el } = open();
    const inserted: unknown[] = [];
    el.addEventListener(INSERT_EVENT, (event) => {
      inserted.push((event as CustomEvent).detail);
      event.preventDefault();
    });
    button("Insert").click();
    expect(inserted).toEqual(["%%llama chat\n"]);
    const toggle = find("[role=switch]");
    expect([toggle.textContent, toggle.getAttribute("aria-checked")]).toEqual(["chats ask persona", "true"]);
    toggle.click();
    expect(model.said("adapter")).toEqual([{ kind: "adapter", use: false }]);
  });

  it("says how to give the adapter to a model where no model has it, and nothing before there is one", async () => {
    const { find, head, settle } = open({ head: { ...HEAD, alive: false, chat: "" } });
    expect(find(".llama-nb-tr-talk code").textContent).toBe("%llama adapter load runs/persona");
    expect(find("[role=switch]").hidden).toBe(true);
    head({ folder: "my runs/persona" });
    await settle();
    expect(find(".llama-nb-tr-talk code").textContent).toBe('%llama adapter load "my runs/persona"');
    head({ saved_step: null });
    await settle();
    expect(find(".llama-nb-tr-talk").hidden).toBe(true);
  });
});

describe("the panes behind tabs", () => {
  it("are walked through with arrows; their code is asked for once", async () => {
    const { tab, press, model, find, settle } = open();
    await settle();
    press(tab("curves"), "ArrowRight");
    expect([document.activeElement, tab("answers").getAttribute("aria-selected")]).toEqual([
      tab("answers"),
      "true",
    ]);
    press(tab("answers"), "End");
    expect(tab("facts").tabIndex).toBe(0);
    press(tab("facts"), "ArrowRight");
    expect(find(".llama-nb-tr-curves").hidden).toBe(false);
    expect(model.said("code").length).toBe(1);
  });

  it("show answers before and after, side by side, of the step that is asked for", async () => {
    const { tab, find, all, model, settle } = open();
    tab("answers").click();
    await settle();
    expect(tab("answers").textContent).toBe("Answers3");
    const said = all(".llama-nb-tr-answer").map((one) => one.textContent);
    expect(said).toEqual([
      ...["beforeA llama.", `after${HOSTILE}`, "beforeYes.", "after · the same wordsYes."],
      ...["beforeno answer yet", "afterno answer yet"],
    ]);
    expect(find(".llama-nb-tr-pair:nth-child(2) .llama-nb-tr-prompt").textContent).toBe(HOSTILE);
    expect(find("img")).toBeNull();
    const slider = find<HTMLInputElement>("[type=range]");
    expect([slider.value, find(".llama-nb-tr-where").textContent]).toEqual(["2", "step 6"]);
    vi.useFakeTimers();
    slider.value = "1";
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    vi.advanceTimersByTime(500);
    vi.useRealTimers();
    expect(model.said("sample")).toEqual([{ kind: "sample", step: 3 }]);
    const kept = find(".llama-nb-tr-pair");
    const { answers, ...rest } = model.get("samples");
    model.set("samples", { ...rest, steps: [0, 3, 6, 9], step: 3, answers: answers?.slice(0, 2) ?? [] });
    await settle();
    expect([find(".llama-nb-tr-pair"), all(".llama-nb-tr-pair").length]).toEqual([kept, 2]);
    expect([slider.value, slider.max]).toEqual(["1", "3"]);
  });

  it("add a prompt where the run takes one", async () => {
    const { tab, find, model, settle, head, type, press } = open();
    tab("answers").click();
    await settle();
    expect(find(".llama-nb-tr-add").hidden).toBe(true);
    head({ orders: ["prompt"] });
    await settle();
    const field = find<HTMLInputElement>("[aria-label='Another prompt']");
    type(field, "  Who? ");
    press(field, "Enter");
    press(field, "Enter");
    expect([model.said("prompt"), field.value]).toEqual([[{ kind: "prompt", text: "Who?" }], ""]);
  });

  it("explain each parameter, the first that was chosen at first", async () => {
    const { tab, find, all, settle, press } = open();
    tab("recipe").click();
    await settle();
    expect(find("[role=option][aria-selected=true]").textContent).toBe("●rank32");
    expect(find(".llama-nb-tr-help").textContent).toContain("Up: more weights.");
    press(find("[role=option][aria-selected=true]"), "ArrowUp");
    expect(document.activeElement).toBe(all("[role=option]")[0]);
    expect(find(".llama-nb-tr-help code").textContent).toBe("full");
    all("[role=option]")[2]?.click();
    expect(find(".llama-nb-tr-help").textContent).toContain(HOSTILE);
    expect(find("img")).toBeNull();
  });

  it("tell what is learned from, the plan beside what was measured, and every note", async () => {
    const { tab, find, settle, head, all } = open();
    tab("facts").click();
    await settle();
    const text = find(".llama-nb-tr-facts").textContent ?? "";
    expect(text).toContain("held back10 rows, for validation");
    expect(text).toContain("25 % of the tokens are learned");
    expect(find(".llama-nb-tr-part > span").style.width).toBe("25%");
    expect(all(".llama-nb-tr-facts td").map((cell) => cell.textContent)).toEqual([
      ...["memory, at most", "1.30 GB", "1.10 GB"],
      ...["time", "1 min 58 s", "30 s, 1 min 15 s left"],
    ]);
    head({ notes: [HOSTILE, "Cut: `max_tokens`"] });
    await settle();
    expect(all(".llama-nb-tr-facts li").map((item) => item.textContent)).toEqual([
      HOSTILE,
      "Cut: max_tokens",
    ]);
    expect([tab("facts").textContent, find("img")]).toEqual(["Data and notes2", null]);
  });
});
