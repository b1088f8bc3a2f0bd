/** Says a finished answer to a screen reader, once, from a place that outlives the widget. */

const ID = "llama-nb-announcer";
const LONGEST = 4000;

export function announce(text: string): void {
  let region = document.getElementById(ID);
  if (!region) {
    region = document.createElement("div");
    region.id = ID;
    region.className = "llama-nb-announcer";
    region.setAttribute("role", "status");
    region.setAttribute("aria-live", "polite");
    // The widget's stylesheet leaves with the last widget; this stays invisible without it.
    Object.assign(region.style, {
      position: "fixed",
      width: "1px",
      height: "1px",
      overflow: "hidden",
      clipPath: "inset(50%)",
      whiteSpace: "nowrap",
    });
    document.body.append(region);
  }
  region.textContent = text.slice(0, LONGEST);
}
