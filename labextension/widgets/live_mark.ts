/**
 * The widget's half of a live view: it marks itself as there, and hands on the twin that the notebook should keep.
 *
 * The other half is src/live.ts. Where that is not installed nobody listens, and the widget is what it is.
 */

import type { Bundle } from "./shapes";

/** On the element of a view that is drawn; whoever holds both view and twin shows the view while this is there. */
export const MARK = "data-llama-nb-live";
/** Sent to the marked element by a page that took it into an output. */
export const ADOPTED_EVENT = "llama-nb-adopted";
/** Bubbles from the marked element: the event's detail is the bundle that the saved output should hold. */
export const TWIN_EVENT = "llama-nb-twin";

interface LiveModel {
  get(name: "twin"): Bundle;
  on(event: "change:twin", callback: () => void): void;
  off(event: "change:twin", callback: () => void): void;
}

/** Say that `el` is drawn and stays so until the returned function is called. */
export function standIn(model: LiveModel, el: HTMLElement): () => void {
  const handOver = () => {
    const detail = model.get("twin");
    if (Object.keys(detail).length > 0)
      el.dispatchEvent(new CustomEvent(TWIN_EVENT, { bubbles: true, detail }));
  };
  el.addEventListener(ADOPTED_EVENT, handOver);
  model.on("change:twin", handOver);
  el.setAttribute(MARK, "");
  return () => {
    el.removeAttribute(MARK);
    el.removeEventListener(ADOPTED_EVENT, handOver);
    model.off("change:twin", handOver);
  };
}
