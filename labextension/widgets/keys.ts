/** Keys that are pressed in a view are the view's. */

const ATTRIBUTE = "data-lm-suppress-shortcuts";

/**
 * Keep JupyterLab's shortcuts (arrows, Enter, single letters in command mode) from what has the focus inside `root`.
 *
 * JupyterLab looks for the attribute from the focused element upwards, but asks that element itself for a shortcut
 * before it looks at its parents; so the attribute must be on whatever has the focus.
 */
export function ownKeys(root: HTMLElement): void {
  root.setAttribute(ATTRIBUTE, "true");
  root.addEventListener("focusin", (event) => {
    if (event.target instanceof Element) event.target.setAttribute(ATTRIBUTE, "true");
  });
}
