/** How a pane is put into its place and taken out again; knows none of them. */

import { element } from "./element";
import type { MakePane, RoutingPage } from "./routing_page";

/** Fills `host`, and returns what draws what has changed. */
export type Fill = (host: HTMLElement, page: RoutingPage, signal: AbortSignal) => () => void;

/** Makes the panes of one bundle; each with its name for who hears it. */
export function makePanes(fills: { [Kind in Parameters<MakePane>[0]]?: [string, Fill] }): MakePane {
  return (kind, host, page) => {
    const owner = new AbortController();
    const [label, fill] = fills[kind] ?? ["", () => () => {}];
    const root = element("div", "llama-nb-rp");
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", label);
    host.append(root);
    const update = fill(root, page, owner.signal);
    update();
    return {
      update,
      remove() {
        owner.abort();
        root.remove();
      },
    };
  };
}
