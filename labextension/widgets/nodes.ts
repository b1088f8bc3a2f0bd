/**
 * Node trees to DOM, by createElement and textContent alone: no HTML is parsed anywhere.
 *
 * The tree is made by the renderer in the kernel, but it also comes out of saved notebooks, so it is hostile:
 * what is not on the lists below becomes text, depth and size are limited.
 */

import { copyButton } from "./copy";

/** An element: tag, attributes, children. Nothing about it is trusted before `build` has looked at it. */
export interface Element_ {
  t: string;
  a?: Record<string, unknown>;
  c?: Tree[];
}
export type Tree = string | Element_;

const TAGS = new Set(
  (
    "p h1 h2 h3 h4 h5 h6 ul ol li blockquote pre code em strong s a hr br " +
    "table thead tbody tr th td span div"
  ).split(" "),
);
const EMPTY = new Set(["hr", "br"]);
const ALIGNMENTS = new Set(["left", "center", "right"]);
const CODE_CLASSES = new Set("k s c m nf nc nb nd nt na gd gi gh gp".split(" ").map((name) => `ln-${name}`));
const HTTPS = /^https:\/\/[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?(:[0-9]{1,5})?([/?#][!-~]*)?$/i;
const UNSAFE_IN_URL = /["'<>\\^`{|}]/;

export const MAX_DEPTH = 100;
export const MAX_NODES = 60_000;
export const MAX_TEXT = 1_000_000;

/** What is left of the size that one tree may have. */
export class Allowance {
  nodes = MAX_NODES;
  text = MAX_TEXT;

  get spent(): boolean {
    return this.nodes <= 0 || this.text <= 0;
  }
}

export function isElement(node: unknown): node is Element_ {
  return typeof node === "object" && node !== null && typeof (node as Element_).t === "string";
}

export function children(node: unknown): Tree[] {
  const list = isElement(node) ? node.c : undefined;
  return Array.isArray(list) ? list : [];
}

/** Build one node. Always returns exactly one DOM node, so that trees and DOM have the same child numbers. */
export function build(node: unknown, allowance = new Allowance(), depth = 0): Node {
  allowance.nodes -= 1;
  if (typeof node === "string") {
    const text = allowance.text >= node.length ? node : `${node.slice(0, Math.max(0, allowance.text))} …`;
    allowance.text -= node.length;
    return document.createTextNode(text);
  }
  if (!isElement(node) || allowance.spent) return document.createTextNode("");
  if (!TAGS.has(node.t) || depth > MAX_DEPTH) return document.createTextNode(plainText(node));
  const element = document.createElement(node.t);
  decorate(element, node);
  if (!EMPTY.has(node.t)) fill(element, children(node), allowance, depth + 1);
  if (node.t === "pre") element.append(codeCopyButton(element));
  return element;
}

/** Append `nodes` to `parent`, until the allowance is spent. */
export function fill(parent: Element, nodes: unknown[], allowance = new Allowance(), depth = 0): void {
  for (const node of nodes) {
    if (allowance.spent) {
      parent.append(document.createTextNode(" …"));
      return;
    }
    parent.append(build(node, allowance, depth));
  }
}

/** The text of a tree, without markup. */
export function plainText(node: unknown, depth = 0): string {
  if (typeof node === "string") return node;
  if (depth > 4 * MAX_DEPTH) return "";
  return children(node)
    .map((child) => plainText(child, depth + 1))
    .join("");
}

/** The text of blocks, as it is copied and read aloud. */
export function textOf(blocks: unknown[]): string {
  return blocks.map((block) => plainText(block).trimEnd()).join("\n\n");
}

/** Change the children of `parent`, built from `before`, into those of `after`. What is equal is not touched. */
export function reconcile(parent: Element, before: Tree[], after: Tree[], depth = 0): void {
  let same = 0;
  while (same < before.length && same < after.length && before[same] === after[same]) same += 1;
  let from = same;
  const [old, next] = [before[same], after[same]];
  const there = parent.childNodes[same];
  if (old !== undefined && next !== undefined && there !== undefined && grow(there, old, next, depth))
    from += 1;
  for (let index = before.length - 1; index >= from; index -= 1) parent.childNodes[index]?.remove();
  // A code block keeps its copy button behind its children.
  const rest = parent.childNodes[from] ?? null;
  for (const node of after.slice(from)) parent.insertBefore(build(node, undefined, depth), rest);
}

/** Turn the DOM node of `old` into that of `next` in place, if it can be. */
function grow(there: Node, old: Tree, next: Tree, depth: number): boolean {
  if (typeof old === "string" && typeof next === "string" && there instanceof Text && next.startsWith(old)) {
    if (next.length > MAX_TEXT) return false;
    there.appendData(next.slice(old.length));
    return true;
  }
  if (!isElement(old) || !isElement(next) || !(there instanceof Element) || old.t !== next.t) return false;
  if (JSON.stringify(old.a) !== JSON.stringify(next.a) || EMPTY.has(next.t) || depth >= MAX_DEPTH)
    return false;
  reconcile(there, children(old), children(next), depth + 1);
  return true;
}

function decorate(element: HTMLElement, node: Element_): void {
  const given = typeof node.a === "object" && node.a !== null ? node.a : {};
  if (element instanceof HTMLAnchorElement) {
    link(element, httpsOnly(given.href));
  } else if (element instanceof HTMLOListElement) {
    if (Number.isSafeInteger(given.start)) element.start = Number(given.start);
  } else if (element instanceof HTMLTableCellElement) {
    if (typeof given.align === "string" && ALIGNMENTS.has(given.align)) element.style.textAlign = given.align;
  } else if (element instanceof HTMLSpanElement) {
    if (typeof given.class === "string" && CODE_CLASSES.has(given.class)) element.className = given.class;
  }
}

function link(element: HTMLAnchorElement, href: string | null): void {
  if (!href) return;
  element.href = href;
  element.target = "_blank";
  element.rel = "noopener noreferrer nofollow";
}

function httpsOnly(href: unknown): string | null {
  const safe =
    typeof href === "string" && href.length <= 2000 && HTTPS.test(href) && !UNSAFE_IN_URL.test(href);
  return safe ? href : null;
}

function codeCopyButton(pre: Element): HTMLButtonElement {
  return copyButton("Copy code", () => pre.querySelector("code")?.textContent ?? "");
}
