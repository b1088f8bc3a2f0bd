/** The conversation to take away: copied, downloaded, or as cells below. The kernel writes it. */

import type { Say } from "./chat_step";
import { copyButton } from "./copy";
import { button, element, option } from "./element";

export interface ExportPane {
  root: HTMLElement;
  /** Ask for the format that is chosen. */
  ask(): void;
  update(message: { format?: unknown; name?: unknown; text?: unknown }): void;
}

const FORMATS: [string, string][] = [
  ["markdown", "Markdown"],
  ["json", "JSON, with every branch"],
  ["messages", "OpenAI messages"],
  ["notebook", "Notebook"],
  ["rows", "Training rows (JSONL)"],
];
const PREVIEW = 1200; // characters

export function exportPane(say: Say, insert: (text: string) => boolean, signal: AbortSignal): ExportPane {
  const root = element("div", "llama-nb-export");
  const formats = element("select", "") as HTMLSelectElement;
  formats.setAttribute("aria-label", "Format");
  formats.append(...FORMATS.map(([format, label]) => option(label, format)));
  let [text, name] = ["", ""];
  const preview = element("pre", "llama-nb-preview");
  preview.tabIndex = 0;
  preview.setAttribute("aria-label", "The beginning of it");
  const download = button("Download", "", () => save(text, name), signal);
  const cells = button("Insert as cells", "", () => insertAll(text, insert), signal);
  cells.title = "Your messages as %%llama cells below; nothing is run";
  const row = element("div", "llama-nb-edit-row");
  row.append(
    copyButton("Copy the conversation", () => text),
    download,
    cells,
  );
  root.append(formats, row, preview);

  const offer = () => {
    for (const one of row.querySelectorAll("button")) one.disabled = !text;
    cells.hidden = formats.value !== "notebook";
    preview.textContent = text.length > PREVIEW ? `${text.slice(0, PREVIEW)}\n…` : text;
  };
  const ask = () => {
    text = "";
    offer();
    say({ kind: "export", format: formats.value });
  };
  formats.addEventListener("change", ask, { signal });
  return {
    root,
    ask,
    update(message) {
      if (message.format !== formats.value || typeof message.text !== "string") return;
      text = message.text;
      name = typeof message.name === "string" ? message.name : "chat.txt";
      offer();
    },
  };
}

function save(text: string, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  link.download = name.replace(/[^\w.-]+/g, "-");
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** The notebook's code cells, the last one first, because each goes right below the panel. */
function insertAll(text: string, insert: (text: string) => boolean): void {
  const { cells = [] } = JSON.parse(text) as { cells?: { cell_type?: string; source?: string | string[] }[] };
  const code = cells.filter((cell) => cell.cell_type === "code");
  for (const { source = "" } of code.reverse()) insert(typeof source === "string" ? source : source.join(""));
}
