import { beforeEach, describe, expect, it, vi } from "vitest";
import { copyButton } from "../widgets/copy";
import { Allowance, build, fill, MAX_DEPTH, plainText, reconcile, type Tree } from "../widgets/nodes";

const p = (...c: Tree[]): Tree => ({ t: "p", c });

function html(node: unknown): string {
  const box = document.createElement("div");
  box.append(build(node));
  return box.innerHTML;
}

describe("what is allowed", () => {
  it("builds text, elements and code classes", () => {
    expect(html("a < b & c")).toBe("a &lt; b &amp; c");
    expect(html(p("one ", { t: "strong", c: ["two"] }))).toBe("<p>one <strong>two</strong></p>");
    expect(html({ t: "span", a: { class: "ln-k" }, c: ["def"] })).toBe('<span class="ln-k">def</span>');
    expect(html({ t: "ol", a: { start: 3 }, c: [{ t: "li", c: ["x"] }] })).toBe(
      '<ol start="3"><li>x</li></ol>',
    );
  });

  it("aligns cells and links to https in a new page", () => {
    const cell = build({ t: "td", a: { align: "right" }, c: ["1"] }) as HTMLElement;
    expect(cell.style.textAlign).toBe("right");
    const link = build({ t: "a", a: { href: "https://example.org/x?y=1#z" }, c: ["x"] }) as HTMLAnchorElement;
    expect(link.getAttribute("href")).toBe("https://example.org/x?y=1#z");
    expect(link.rel).toBe("noopener noreferrer nofollow");
    expect(link.target).toBe("_blank");
  });

  it("gives a code block one copy button, behind its children", () => {
    const pre = build({ t: "pre", c: [{ t: "code", c: ["x = 1\n"] }] }) as HTMLElement;
    expect([...pre.children].map((child) => child.tagName)).toEqual(["CODE", "BUTTON"]);
  });
});

describe("hostile trees", () => {
  const tags =
    "script style iframe img svg math object embed form input video link meta base template button";
  it.each(tags.split(" "))("makes text of <%s>", (t) => {
    const node = build({ t, a: { src: "x", onerror: "alert(1)", href: "javascript:1" }, c: ["inner"] });
    expect(node.nodeType).toBe(Node.TEXT_NODE);
    expect(node.textContent).toBe("inner");
  });

  const hrefs = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " https://a.example",
    "http://a.example",
    "//a.example",
    "/local",
    "data:text/html,x",
    "https://user:pass@a.example",
    "https://good.example@evil.example",
    "https://a.example/\u202ex",
    'https://a.example/"x',
    "https://",
    "https://a.exa\nmple/",
    `https://a.example/${"x".repeat(2000)}`,
    7,
    null,
    { toString: () => "https://a.example" },
  ];
  it.each(hrefs)("does not link to %j", (href) => {
    const link = build({ t: "a", a: { href: href as never }, c: ["x"] }) as HTMLElement;
    expect(link.hasAttribute("href")).toBe(false);
    expect(link.textContent).toBe("x");
  });

  it("drops every other attribute", () => {
    const a = {
      onclick: "alert(1)",
      style: "position:fixed",
      id: "x",
      class: "jp-Button",
      name: "x",
      srcdoc: "x",
    };
    for (const t of ["p", "a", "span", "td", "div", "pre", "code", "ol"]) {
      const element = build({ t, a, c: ["x"] }) as Element;
      expect(element.getAttributeNames()).toEqual([]);
    }
  });

  it("takes a class only on spans' closed list", () => {
    for (const name of ["ln-k x", "ln-zz", "LN-K", "llama-nb-stop", ""]) {
      expect((build({ t: "span", a: { class: name } }) as Element).hasAttribute("class")).toBe(false);
    }
    expect((build({ t: "div", a: { class: "ln-k" } }) as Element).hasAttribute("class")).toBe(false);
  });

  it("survives what is no tree at all", () => {
    const odd = [
      null,
      undefined,
      3,
      true,
      [],
      {},
      { t: 3 },
      { t: "p", c: "x" },
      { t: "p", c: { length: 9 } },
    ];
    for (const node of odd) expect(() => build(node)).not.toThrow();
    expect(html({ t: "p", a: "onclick", c: [null, 3, "x", { t: ["p"] }] })).toBe("<p>x</p>");
    expect(html({ t: "__proto__", c: ["x"] })).toBe("x");
    expect(html({ t: "constructor", c: ["x"] })).toBe("x");
  });

  it("never makes children of br and hr", () => {
    expect(html({ t: "br", c: ["x"] })).toBe("<br>");
  });

  it("makes text of what is too deep", () => {
    let node: Tree = "deep";
    for (let depth = 0; depth < 3 * MAX_DEPTH; depth += 1) node = { t: "em", c: [node] };
    const built = build(node) as Element;
    expect(built.querySelectorAll("em").length).toBeLessThanOrEqual(MAX_DEPTH + 1);
    expect(built.textContent).toBe("deep");
    let endless: Tree = "x";
    for (let depth = 0; depth < 5000; depth += 1) endless = { t: "em", c: [endless] };
    expect(() => build(endless)).not.toThrow();
    expect(() => plainText(endless)).not.toThrow();
  });

  it("stops at its allowance of nodes and text", () => {
    const box = document.createElement("div");
    const allowance = new Allowance();
    allowance.nodes = 50;
    fill(
      box,
      Array.from({ length: 1000 }, (_, index) => p(String(index))),
      allowance,
    );
    expect(box.querySelectorAll("p").length).toBeLessThanOrEqual(26);
    expect(box.textContent).toContain("…");
    const long = new Allowance();
    long.text = 10;
    const text = document.createElement("div");
    fill(text, [p("x".repeat(5)), p("y".repeat(100)), p("z")], long);
    expect(text.textContent).toBe("xxxxxyyyyy … …");
  });

  it("keeps markup in text as text", () => {
    const attack = '<img src=x onerror="alert(1)"><script>alert(1)</script>';
    const built = build(p(attack)) as Element;
    expect(built.children.length).toBe(0);
    expect(built.textContent).toBe(attack);
  });
});

describe("reconcile", () => {
  function both(before: Tree[], after: Tree[]): HTMLElement {
    const box = document.createElement("div");
    fill(box, before);
    reconcile(box, before, after);
    const fresh = document.createElement("div");
    fill(fresh, after);
    expect(box.innerHTML).toBe(fresh.innerHTML);
    return box;
  }

  it("leaves equal blocks and grows text in place", () => {
    const first = p("one");
    const box = document.createElement("div");
    fill(box, [first, p("two")]);
    const [kept, grown] = [...box.childNodes];
    const text = grown?.firstChild;
    reconcile(box, [first, p("two")], [first, p("two and"), p("three")]);
    expect(box.childNodes[0]).toBe(kept);
    expect(box.childNodes[1]).toBe(grown);
    expect(grown?.firstChild).toBe(text);
    expect(box.textContent).toBe("onetwo andthree");
  });

  it("gives what building gives, whatever changed", () => {
    const pre = (...c: Tree[]): Tree => ({ t: "pre", c: [{ t: "code", c }] });
    const k = (word: string): Tree => ({ t: "span", a: { class: "ln-k" }, c: [word] });
    both([], [p("x")]);
    both([p("x")], []);
    both([p("a *b")], [p("a ", { t: "em", c: ["b"] })]);
    both([p("x"), p("y")], [{ t: "h1", c: ["x"] }]);
    both([pre(k("def"), " f")], [pre(k("def"), " f():\n", k("return"))]);
    both([pre("a", "b")], [pre("a")]);
    both(
      [{ t: "ol", c: [{ t: "li", c: ["1"] }] }],
      [{ t: "ol", a: { start: 2 }, c: [{ t: "li", c: ["1"] }] }],
    );
    both(["x"], ["xy", "z"]);
    both([{ t: "script", c: ["x"] }], [{ t: "script", c: ["xy"] }]);
    both([{ t: "br" }], [{ t: "br" }, "x"]);
  });

  it("keeps a code block's button behind what is added", () => {
    const before: Tree[] = [{ t: "pre", c: ["a"] }];
    const box = both(before, [{ t: "pre", c: ["a", { t: "code", c: ["b"] }] }]);
    expect(box.querySelector("pre")?.lastElementChild?.tagName).toBe("BUTTON");
  });
});

describe("copy", () => {
  beforeEach(() => vi.useFakeTimers());

  it("says that it copied, and what to do is up to the page when it cannot", async () => {
    const write = vi.fn().mockResolvedValueOnce(undefined).mockRejectedValueOnce(new Error("denied"));
    vi.stubGlobal("navigator", { clipboard: { writeText: write } });
    const button = copyButton("Copy the answer", () => "the answer");
    button.click();
    await vi.advanceTimersByTimeAsync(1);
    expect(write).toHaveBeenCalledWith("the answer");
    expect(button.textContent).toBe("Copied");
    await vi.advanceTimersByTimeAsync(2000);
    expect(button.textContent).toBe("Copy");
    button.click();
    await vi.advanceTimersByTimeAsync(1);
    expect(button.textContent).toBe("Not allowed");
    vi.unstubAllGlobals();
  });
});
