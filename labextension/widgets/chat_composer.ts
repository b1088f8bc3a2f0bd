/**
 * Where one types: Enter sends, Shift+Enter breaks the line, Esc stops.
 *
 * The text stays until the kernel has taken it, and in this tab's memory while the page is loaded again.
 */

import { button, element } from "./element";

export interface Composer {
  root: HTMLElement;
  field: HTMLTextAreaElement;
  /** `chat` names the draft; `able` is whether there is a model that can answer. */
  update(chat: string, able: boolean, running: boolean): void;
  /** The kernel took the text. */
  accepted(): void;
  /** The kernel refused it: it may be sent again. */
  free(): void;
  /** Nothing came of what was sent: here it is again, unless something else is typed. */
  returned(text: string): void;
  /** Put a text in, for the user to send. */
  suggest(text: string): void;
}

const TALLEST = 132; // pixels, six lines

/** `place` is which panel of its kernel this is: each has its own draft, in whatever order they are drawn. */
export function composer(
  send: (text: string) => void,
  stop: () => void,
  place: () => number,
  signal: AbortSignal,
): Composer {
  const root = element("div", "llama-nb-composer");
  const field = document.createElement("textarea");
  field.rows = 1;
  field.setAttribute("aria-label", "Your message");
  field.setAttribute("aria-keyshortcuts", "Enter");
  const go = button("Send", "llama-nb-primary llama-nb-send", () => press(), signal);
  const halt = button("Stop", "llama-nb-primary llama-nb-send llama-nb-halt", () => halting(), signal);
  root.append(field, go, halt);
  let [chat, able, running] = ["", false, false];
  let sent: string | null = null;

  const grow = () => {
    field.style.height = "auto";
    field.style.height = `${Math.min(TALLEST, field.scrollHeight + 2)}px`;
  };
  const draw = () => {
    const focused = halt === document.activeElement && !running;
    go.hidden = running;
    halt.hidden = !running;
    go.disabled = !able || !field.value.trim() || sent !== null;
    if (focused) field.focus();
  };
  const keep = (text: string) => {
    try {
      if (text) sessionStorage.setItem(draftOf(place(), chat), text);
      else sessionStorage.removeItem(draftOf(place(), chat));
    } catch {
      // A page without storage keeps the text as long as it is open.
    }
  };
  const changed = () => {
    keep(field.value);
    grow();
    draw();
  };
  const press = () => {
    if (running || !able || !field.value.trim() || sent !== null) return;
    sent = field.value;
    send(sent);
    draw();
    field.focus();
  };
  const halting = () => {
    if (!running || halt.disabled) return;
    halt.disabled = true;
    halt.textContent = "Stopping";
    stop();
    field.focus();
  };
  field.addEventListener("input", changed, { signal });
  field.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      press();
    },
    { signal },
  );
  return {
    root,
    field,
    update(name, can, runs) {
      if (name !== chat) {
        keep(field.value);
        chat = name;
        field.value = kept(place(), chat);
        sent = null;
        window.setTimeout(grow); // its height is known when it stands in the page
      }
      [able, running] = [can, runs];
      halt.disabled = false;
      halt.textContent = "Stop";
      field.placeholder = can ? "Ask something" : "No model answers here yet";
      draw();
    },
    accepted() {
      // What was typed meanwhile stays.
      if (sent !== null && field.value.startsWith(sent))
        field.value = field.value.slice(sent.length).trimStart();
      sent = null;
      changed();
    },
    free() {
      sent = null;
      draw();
    },
    returned(text) {
      if (!field.value) field.value = text;
      changed();
    },
    suggest(text) {
      field.value = text;
      changed();
      field.focus();
    },
  };
}

function draftOf(place: number, chat: string): string {
  return `llama-nb-draft ${location.pathname} ${place} ${chat}`;
}

function kept(place: number, chat: string): string {
  try {
    return sessionStorage.getItem(draftOf(place, chat)) ?? "";
  } catch {
    return "";
  }
}
