/** Copying to the clipboard, where the page is allowed to. */

/** A button that copies what `text` returns and says so for a moment; `label` is its full name. */
export function copyButton(label: string, text: () => string, shown = "Copy"): HTMLButtonElement {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "llama-nb-copy";
  button.textContent = shown;
  button.setAttribute("aria-label", label);
  button.addEventListener("click", () => {
    const done = (word: string) => {
      button.textContent = word;
      window.setTimeout(() => {
        button.textContent = shown;
      }, 1500);
    };
    const copied = navigator.clipboard?.writeText(text()) ?? Promise.reject(new Error("no clipboard"));
    copied.then(
      () => done("Copied"),
      () => done("Not allowed"),
    );
  });
  return button;
}
