import { describe, expect, it } from "vitest";
import { bytesText } from "../widgets/bytes";
import { type BarData, memoryBar } from "../widgets/memory_bar";

const GB = 1e9;
const data: BarData = {
  name: "Llama 3.1 8B on one GPU",
  parts: [
    { look: "weights", label: "weights", bytes: 16 * GB, detail: "8.03 B parameters in bf16" },
    { look: "kv_cache", label: "KV cache", bytes: 2 * GB },
    { look: "adapter", label: "adapter", bytes: 0 },
  ],
  capacity: 24 * GB,
};

function draw(changes: Partial<BarData> = {}) {
  const bar = memoryBar();
  bar.show({ ...data, ...changes });
  const find = (selector: string) => bar.root.querySelector<HTMLElement>(selector) as HTMLElement;
  const widths = [...bar.root.querySelectorAll<HTMLElement>(".llama-nb-bar-stack > *")].map((part) =>
    Number.parseFloat(part.style.width),
  );
  const legend = [...bar.root.querySelectorAll("li")].map((item) => item.textContent?.trim());
  return { bar, find, widths, legend };
}

describe("sizes", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [999.6, "1.00 kB"],
    [12_640_000, "12.6 MB"],
    [2.345e9, "2.35 GB"],
    [99.96e9, "100 GB"],
    [1.5e15, "1500 TB"],
    [-4, "0 B"],
  ])("%d is %s", (count, text) => {
    expect(bytesText(count)).toBe(text);
  });
});

describe("the bar", () => {
  it("shows each part to scale, with its figure and what is free", () => {
    const { widths, legend, find } = draw();
    expect(widths).toEqual([66.667, 8.333]);
    expect(legend).toEqual(["weights 16.0 GB", "KV cache 2.00 GB", "free 6.00 GB"]);
    expect(find(".llama-nb-bar-limit").style.left).toBe("100.000%");
    expect(find(".llama-nb-bar-over").hidden).toBe(true);
    expect(find(".llama-nb-part").title).toBe("weights: 16.0 GB\n8.03 B parameters in bf16");
  });

  it("says what it shows to those who do not see it", () => {
    const { find } = draw();
    const image = find("[role=img]");
    expect(image.getAttribute("aria-label")).toBe(
      "Llama 3.1 8B on one GPU: 18.0 GB of 24.0 GB, 6.00 GB free",
    );
    expect(find(".llama-nb-swatch").getAttribute("aria-hidden")).toBe("true");
  });

  it("marks what is too much, at the place where the memory ends", () => {
    const { widths, legend, find, bar } = draw({ capacity: 12 * GB });
    expect(widths.reduce((sum, width) => sum + width, 0)).toBeCloseTo(100, 2);
    expect(find(".llama-nb-bar-limit").style.left).toBe("66.667%");
    expect(find(".llama-nb-bar-over").hidden).toBe(false);
    expect(find(".llama-nb-bar-over").style.width).toBe("33.333%");
    expect(legend.at(-1)).toBe("too much 6.00 GB");
    expect(find("[role=img]").getAttribute("aria-label")).toContain("6.00 GB too much");
    expect(bar.root.classList.contains("llama-nb-over")).toBe(true);
  });

  it("shows no limit and nothing free when nobody knows the capacity", () => {
    const { widths, legend, find } = draw({ capacity: null });
    expect(widths[0]).toBeCloseTo(88.889, 3);
    expect(find(".llama-nb-bar-limit").hidden).toBe(true);
    expect(legend).toEqual(["weights 16.0 GB", "KV cache 2.00 GB"]);
    expect(find(".llama-nb-memory-figure").textContent).toBe("18.0 GB");
  });

  it("keeps its elements when the figures move, and its scale when asked", () => {
    const { bar, find } = draw({ scale: 48 * GB });
    const first = find(".llama-nb-part");
    bar.show({ ...data, scale: 48 * GB, parts: [{ look: "weights", label: "weights", bytes: 4 * GB }] });
    expect(find(".llama-nb-part")).toBe(first);
    expect(first.style.width).toBe("8.333%");
    expect(bar.root.querySelectorAll(".llama-nb-bar-stack > *").length).toBe(1);
  });

  it("draws nothing at all without dividing by it", () => {
    const { widths, legend } = draw({ parts: [], capacity: null });
    expect(widths).toEqual([]);
    expect(legend).toEqual([]);
    expect(draw({ parts: [], capacity: 0 }).legend).toEqual(["free 0 B"]);
  });

  it("calls the rest what it is told, and can leave its name to others", () => {
    expect(draw({ rest: "other programs" }).legend.at(-1)).toBe("other programs 6.00 GB");
    const quiet = memoryBar({ named: false });
    quiet.show(data);
    expect(quiet.root.querySelector(".llama-nb-memory-name")?.textContent).toBe("");
  });
});
