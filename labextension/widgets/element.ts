/** An element with a class and a text: what every view here is made of. */

export function element(tag: string, className: string, text = ""): HTMLElement {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** A button that calls `act` as long as `signal` has not ended. */
export function button(
  text: string,
  className: string,
  act: (event: MouseEvent) => void,
  signal: AbortSignal,
): HTMLButtonElement {
  const made = element("button", className, text) as HTMLButtonElement;
  made.type = "button";
  made.addEventListener("click", act, { signal });
  return made;
}

/** An option of a select. */
export function option(text: string, value: string): HTMLOptionElement {
  const made = element("option", "", text) as HTMLOptionElement;
  made.value = value;
  return made;
}
