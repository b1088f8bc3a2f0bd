/** The kernel's deltas (widgets/delta.py), carried out on the page's tree. Nothing is changed in place. */

import { children, isElement, type Tree } from "./nodes";

/** At `path`, `keep` children stay, `grow` is added to the last of them and `add` follows. */
export interface Delta {
  path: number[];
  keep: number;
  grow: string;
  add: Tree[];
}

/** Return the new tree, or null when the delta does not fit (a message was missed). */
export function apply(nodes: Tree[], delta: Delta, depth = 0): Tree[] | null {
  const at = delta.path[depth];
  if (at !== undefined) {
    const element = nodes[at];
    if (!isElement(element)) return null;
    const inner = apply(children(element), delta, depth + 1);
    return inner && [...nodes.slice(0, at), { ...element, c: inner }];
  }
  if (delta.keep > nodes.length) return null;
  const kept = nodes.slice(0, delta.keep);
  if (delta.grow) {
    const last = kept.pop();
    if (typeof last !== "string") return null;
    kept.push(last + delta.grow);
  }
  return [...kept, ...delta.add];
}
