import { beforeEach, describe, expect, it, vi } from "vitest";
import { percent, type StripToken, tokenStrip, visible } from "../widgets/token_strip";

const HOSTILE = "<img src=x onerror=alert(1)>";

function token(
  text: string,
  probability: number | null = 0.5,
  changes: Partial<StripToken> = {},
): StripToken {
  return { text, special: false, probability, entropy: 1, ...changes };
}

function open(tokens: StripToken[]) {
  const picked = vi.fn();
  const owner = new AbortController();
  const strip = tokenStrip("Tokens of the answer", picked, owner.signal);
  document.body.append(strip.root);
  strip.update(tokens, "probability", null);
  const chips = () => [...strip.root.querySelectorAll<HTMLElement>("[role=option]")];
  const press = (key: string) =>
    document.activeElement?.dispatchEvent(
      new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }),
    );
  return { strip, picked, owner, chips, press };
}

beforeEach(() => document.body.replaceChildren());

describe("a strip of tokens", () => {
  it("shows spaces and line ends, and special tokens as pills", () => {
    const { chips, strip } = open([
      token(" a"),
      token("\n"),
      token("", null),
      token("<|eot|>", 1, { special: true }),
    ]);
    expect(chips().map((chip) => chip.textContent)).toEqual(["·a", "⏎", "∅", "<|eot|>"]);
    expect(strip.root.querySelectorAll("br").length).toBe(1);
    expect(chips()[3]?.classList.contains("llama-nb-pill")).toBe(true);
    expect(visible("a\tb")).toBe("a⇥b");
  });

  it("shades by probability or entropy, in the classes of the static view", () => {
    const { strip, chips } = open([token("a", 0.95), token("b", 0.6), token("c", 0.04), token("d", null)]);
    expect(chips().map((chip) => chip.dataset.level)).toEqual(["0", "1", "4", ""]);
    strip.update([token("a", 0.95, { entropy: 2.5 })], "entropy", 0);
    expect(chips().map((chip) => chip.dataset.level)).toEqual(["3"]);
    expect(chips()[0]?.getAttribute("aria-selected")).toBe("true");
    expect(strip.root.querySelector(".llama-nb-strip-legend")?.textContent).toContain("nats");
  });

  it("has one tab stop, and arrows that move it", () => {
    const { chips, press, picked } = open(["a", "b", "c"].map((text) => token(text)));
    expect(chips().map((chip) => chip.tabIndex)).toEqual([0, -1, -1]);
    chips()[0]?.focus();
    press("ArrowRight");
    expect(document.activeElement).toBe(chips()[1]);
    press("End");
    press("ArrowRight");
    expect(document.activeElement).toBe(chips()[2]);
    press("Enter");
    expect(picked).toHaveBeenLastCalledWith(2, chips()[2]);
    press("Home");
    press(" ");
    expect(picked).toHaveBeenLastCalledWith(0, chips()[0]);
    expect(chips().filter((chip) => chip.tabIndex === 0).length).toBe(1);
  });

  it("keeps its elements as tokens are added, and drops those that go", () => {
    const { strip, chips } = open([token("a\n"), token("b\n")]);
    const first = chips()[0];
    strip.update([token("a\n"), token("c"), token("d")], "probability", 1);
    expect(chips()[0]).toBe(first);
    expect(chips().map((chip) => chip.textContent)).toEqual(["a⏎", "c", "d"]);
    expect(strip.root.querySelectorAll("br").length).toBe(1);
    strip.update([], "probability", null);
    expect(strip.root.querySelector(".llama-nb-strip-tokens")?.childNodes.length).toBe(0);
  });

  it("says each token with its figures, and a pick by mouse", () => {
    const { chips, picked } = open([token(" sun", 0.4312, { mark: "chosen" })]);
    expect(chips()[0]?.getAttribute("aria-label")).toBe(
      "token 0: ·sun, probability 43.1 %, entropy 1.00 nats, chosen",
    );
    chips()[0]?.firstElementChild?.dispatchEvent(new Event("click", { bubbles: true }));
    expect(picked).toHaveBeenCalledOnce();
    expect(percent(1e-6)).toBe("< 0.01 %");
    expect(percent(0)).toBe("0 %");
    expect(percent(0.99999)).toBe("100 %");
  });

  it("shows hostile tokens as text and listens no longer than it is asked to", () => {
    const { chips, strip, owner, picked } = open([token(HOSTILE)]);
    expect(strip.root.querySelector("img")).toBeNull();
    expect(chips()[0]?.textContent).toBe(HOSTILE.replaceAll(" ", "·"));
    owner.abort();
    chips()[0]?.click();
    expect(picked).not.toHaveBeenCalled();
  });
});
