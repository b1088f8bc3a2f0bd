/** Every branch of the conversation as a tree that keys walk through; a message that is chosen is gone to. */

import { element } from "./element";

export interface TreeNode {
  id: string;
  parent: string | null;
  role: string;
  text: string;
  on_path: boolean;
}

export interface TreePane {
  root: HTMLElement;
  /** The pane was opened: the focus goes to the end of the conversation as soon as there is a tree. */
  opened(): void;
  update(nodes: TreeNode[]): void;
}

/** `go` gets a message's id, and whether the conversation as it is shown holds it. */
export function treePane(go: (id: string, shown: boolean) => void, signal: AbortSignal): TreePane {
  const root = element("div", "llama-nb-tree");
  root.setAttribute("role", "tree");
  root.setAttribute("aria-label", "Every branch of the conversation");
  const rows = () => [...root.querySelectorAll<HTMLElement>("[role=treeitem]")];
  const reach = (row: HTMLElement | undefined, focus: boolean) => {
    if (!row) return;
    for (const other of rows()) other.tabIndex = -1;
    row.tabIndex = 0;
    if (focus) row.focus();
  };
  const choose = (row: Element | null) => {
    const id = (row as HTMLElement | null)?.dataset.id;
    if (id) go(id, row?.getAttribute("aria-selected") === "true");
  };
  let wanted = false;
  root.addEventListener("click", (event) => choose((event.target as Element).closest("[role=treeitem]")), {
    signal,
  });
  root.addEventListener(
    "keydown",
    (event) => {
      const all = rows();
      const at = all.indexOf(document.activeElement as HTMLElement);
      const to: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
      const next = to[event.key];
      if (next !== undefined) reach(all[Math.max(0, Math.min(next, all.length - 1))], true);
      else if (event.key === "Enter" || event.key === " ") choose(document.activeElement);
      else return;
      event.preventDefault();
    },
    { signal },
  );
  return {
    root,
    opened: () => {
      wanted = true;
    },
    update(nodes) {
      const focused = root.contains(document.activeElement)
        ? (document.activeElement as HTMLElement).dataset.id
        : undefined;
      root.replaceChildren(...inOrder(nodes).map(([node, depth]) => rowOf(node, depth)));
      if (nodes.length === 0) root.append(element("p", "llama-nb-muted", "Nothing has been said yet."));
      const all = rows();
      const ends = all.filter((row) => row.getAttribute("aria-selected") === "true").at(-1);
      reach(all.find((row) => row.dataset.id === focused) ?? ends ?? all[0], wanted || focused !== undefined);
      wanted = false;
    },
  };
}

/** Depth first. Only a fork is set in, so that a long conversation without one stays straight. */
export function inOrder(nodes: TreeNode[]): [TreeNode, number][] {
  const below = new Map<string | null, TreeNode[]>();
  const ids = new Set(nodes.map(({ id }) => id));
  for (const node of nodes) {
    const parent = node.parent !== null && ids.has(node.parent) ? node.parent : null;
    below.set(parent, [...(below.get(parent) ?? []), node]);
  }
  const found: [TreeNode, number][] = [];
  // A stack, not recursion: a chat may be thousands of messages long.
  const waiting: [TreeNode, number][] = [];
  const push = (parent: string | null, depth: number) => {
    const children = below.get(parent) ?? [];
    const deeper = children.length > 1 ? depth + 1 : depth;
    for (const child of [...children].reverse()) waiting.push([child, deeper]);
  };
  push(null, 0);
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    found.push(next);
    push(next[0].id, next[1]);
  }
  return found;
}

function rowOf(node: TreeNode, depth: number): HTMLElement {
  const row = element("div", "llama-nb-tree-row", node.text || "(empty)");
  row.setAttribute("role", "treeitem");
  row.setAttribute("aria-level", String(depth + 1));
  row.setAttribute("aria-selected", String(node.on_path));
  const who = node.role === "user" ? "You" : node.role === "assistant" ? "Model" : "Tool";
  row.setAttribute("aria-label", `${who}: ${node.text}`);
  row.title = node.text;
  row.dataset.id = node.id;
  row.dataset.role = node.role;
  row.tabIndex = -1;
  row.style.marginLeft = `${Math.min(depth, 12) * 12}px`;
  return row;
}
