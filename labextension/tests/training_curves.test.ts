import { afterEach, describe, expect, it, vi } from "vitest";
import { asTable, changed, nearest, validationAt } from "../widgets/training_points";
import { endOf, linear, logarithmic, lossText, stepTicks } from "../widgets/training_scale";
import { CURVES, HEAD, open } from "./training_panel";

vi.mock("../widgets/import_text", () => ({ importText: () => import("../widgets/training_more") }));
afterEach(() => document.body.replaceChildren());

describe("axes", () => {
  it("go from a round value to a round value", () => {
    const scale = linear(1.63, 4.2, 5);
    expect(scale.ticks).toEqual([1, 2, 3, 4, 5]);
    expect([scale.at(1), scale.at(3), scale.at(5)]).toEqual([0, 0.5, 1]);
    const single = linear(4.2, 4.2, 5);
    expect(single.at(4.2)).toBeGreaterThan(0.3);
    expect(single.at(4.2)).toBeLessThan(0.7);
    expect(linear(0, 0, 4).ticks.length).toBeGreaterThan(1);
  });

  it("of logarithms name powers where they are far apart and steps between them where they are near", () => {
    expect(logarithmic(0.01, 100).ticks).toEqual([0.01, 0.1, 1, 10, 100]);
    expect(logarithmic(1.4, 4.2).ticks).toEqual([1.5, 2, 3, 4]);
    const near = logarithmic(2.02, 2.08);
    expect(near.ticks.length).toBeGreaterThan(0);
    expect(near.at(0)).toBe(0);
    const scale = logarithmic(1, 100);
    expect(scale.at(10)).toBeCloseTo(0.5, 2);
  });

  it("of steps keep room to grow, and end with the run", () => {
    expect([endOf(0, 200), endOf(6, 200), endOf(74, 200), endOf(120, 200), endOf(7, 8)]).toEqual([
      5, 10, 100, 200, 8,
    ]);
    expect(endOf(74, 0)).toBe(100);
    expect(stepTicks(100, 300)).toEqual([0, 50, 100]);
    expect(stepTicks(5, 600)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it("write a loss with three digits always", () => {
    expect([2, 1.804, 0.0312, 12.34, 0, null].map(lossText)).toEqual([
      "2.00",
      "1.80",
      "0.0312",
      "12.3",
      "0",
      "–",
    ]);
  });
});

describe("points that come one after the other", () => {
  const add = { stride: 1, steps: [7, 8], loss: [2, 1.9], validation: [[8, 1.8]] as [number, number][] };

  it("stand behind those that stay; a column without a value has null", () => {
    const next = changed(CURVES, { kind: "points", revision: 4, keep: 5, keep_validation: 2, add });
    expect(next?.steps).toEqual([1, 2, 3, 4, 5, 7, 8]);
    expect(next?.loss).toEqual([4, 3.5, null, 2.5, 2.2, 2, 1.9]);
    expect(next?.memory?.slice(-3)).toEqual([1.1e9, null, null]);
    expect(next?.validation).toEqual([
      [2, 3],
      [4, 2],
      [8, 1.8],
    ]);
    expect(CURVES.steps?.length).toBe(6);
  });

  it("are asked for as a whole when one was missed, once", async () => {
    const { model, settle, find } = open();
    const send = (revision: number, keep = 6) =>
      model.tell("points", { revision, keep, keep_validation: 2, add });
    send(6);
    send(7);
    expect(model.said("lost").length).toBe(1);
    send(3);
    expect(model.get("curves").revision).toBe(3);
    model.set("curves", { ...CURVES, revision: 7 });
    send(8);
    expect(model.get("curves").steps?.at(-1)).toBe(8);
    await settle();
    expect(find(".llama-nb-tr-step").textContent).toBe("step 8");
    send(9, 40);
    expect(model.said("lost").length).toBe(2);
  });

  it("are found by their step", () => {
    expect(validationAt(CURVES, 3)).toEqual([2, 3]);
    expect(validationAt(CURVES, 1)).toBeNull();
    expect([nearest([1, 5, 9], 6), nearest([1, 5, 9], 99), nearest([], 3)]).toEqual([1, 2, 0]);
  });

  it("are copied as a table, a row a step, those of a validation too", () => {
    const lines = asTable({ ...CURVES, validation: [[0, 5]] }).split("\n");
    expect(lines[0]).toBe("step\tloss\tsmoothed\tlr\tgradient_norm\ttokens_per_s\tmemory\tvalidation_loss");
    expect(lines[1]).toBe("0\t\t\t\t\t\t\t5");
    expect(lines[4]).toBe("3\t\t3.9\t0.0002\t1.5\t1220\t1100000000\t");
    expect(lines.length).toBe(8);
  });
});

describe("the charts", () => {
  const path = (root: HTMLElement, part: string, of: string) =>
    root.querySelector(`.llama-nb-tr-loss .llama-nb-tr-${part}[data-of=${of}]`)?.getAttribute("d") ?? "";

  it("draw dots for the steps, a line for their mean, diamonds for the validation, and the plan as a level", () => {
    const { el, all } = open();
    expect(path(el, "dot", "train").match(/M/g)?.length).toBe(5);
    expect(path(el, "line", "smoothed").match(/[ML]/g)?.length).toBe(6);
    expect(path(el, "diamond", "validation").match(/Z/g)?.length).toBe(2);
    expect(all(".llama-nb-tr-figure").length).toBe(4);
    expect(el.querySelectorAll(".llama-nb-tr-figure:nth-child(4) .llama-nb-tr-level").length).toBe(1);
    expect(all(".llama-nb-tr-figure figcaption").map((one) => one.textContent)).toEqual([
      "learning rate 1.8e−4",
      "gradient norm 0.9",
      "tokens/s 1,234",
      "memory 1.10 GB of 1.30 GB planned",
    ]);
    const labels = [...el.querySelectorAll(".llama-nb-tr-loss text")].map((one) => one.textContent);
    expect(labels).toContain("loss, nats a token");
    expect(labels).toContain("step 0");
  });

  it("put a ring around the lowest validation loss, once it is not the last one", async () => {
    const { el, head, settle } = open();
    expect(el.querySelectorAll(".llama-nb-tr-ring").length).toBe(0);
    head({ best: 3, best_step: 2 });
    await settle();
    expect(el.querySelector(".llama-nb-tr-ring")?.textContent).toBe(
      "the lowest validation loss, 3.00 at step 2",
    );
  });

  it("break where nothing is known, and show a single point", () => {
    const { el } = open({
      curves: {
        ...CURVES,
        smoothed: [4, null, 3, 2.8, null, 2.4],
        gradient_norm: [1, null, null, null, null, null],
      },
    });
    expect(path(el, "line", "smoothed").match(/M/g)?.length).toBe(3);
    expect(el.querySelectorAll(".llama-nb-tr-figure .llama-nb-tr-dot").length).toBe(1);
  });

  it("say what stands at a step, chosen by keys, in all charts at once", () => {
    const { find, all, press, el } = open();
    const readout = () => find(".llama-nb-tr-readout").textContent;
    expect(readout()).toBe("step 6 train 2.10 smoothed 2.40 validation 2.00 at 4");
    const chart = find(".llama-nb-tr-loss");
    press(chart, "Home");
    expect(readout()).toBe("step 1 train 4.00 smoothed 4.00");
    press(chart, "ArrowRight");
    expect(readout()).toBe("step 2 train 3.50 smoothed 3.90 validation 3.00");
    expect(chart.getAttribute("aria-valuetext")).toBe(readout());
    expect(el.querySelectorAll(".llama-nb-tr-mark > line").length).toBe(5);
    expect(all(".llama-nb-tr-figure b")[1]?.textContent).toBe("1.8");
    press(chart, "Escape");
    expect(readout()).toContain("step 6");
    expect(el.querySelectorAll(".llama-nb-tr-mark > line").length).toBe(0);
  });

  it("name the steps that a thinned point stands for", () => {
    const { find } = open({ curves: { ...CURVES, stride: 4, steps: [4, 8, 12, 16, 20, 24] } });
    expect(find(".llama-nb-tr-step").textContent).toBe("steps 21–24");
  });

  it("go to a logarithmic axis and back", () => {
    const { button, el } = open();
    const before = path(el, "line", "smoothed");
    button("log").click();
    expect(button("log").getAttribute("aria-pressed")).toBe("true");
    expect(path(el, "line", "smoothed")).not.toBe(before);
    button("log").click();
    expect(path(el, "line", "smoothed")).toBe(before);
  });

  it("say that nothing was measured yet", () => {
    const { find } = open({ curves: {}, head: { ...HEAD, state: "waiting", step: 0 } });
    expect(find(".llama-nb-tr-curves > .llama-nb-tr-none").textContent).toContain("first step has not ended");
    expect(find(".llama-nb-tr-loss").getAttribute("aria-valuetext")).toBe("no step yet");
  });
});
