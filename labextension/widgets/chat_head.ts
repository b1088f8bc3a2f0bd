/** The line above the conversation: which chat, which model, how full the context is, and what else can be opened. */

import type { Say } from "./chat_step";
import { button, element, option } from "./element";
import type { ChatHead } from "./shapes";

export type Drawer = "sampling" | "system" | "tree" | "export";

export interface HeadLine {
  root: HTMLElement;
  update(head: ChatHead): void;
  /** Say which drawer is open; "" closes all. */
  opened(drawer: Drawer | ""): void;
}

const TOGGLES: [Drawer, string, string][] = [
  ["sampling", "Sampling", "How the next token is drawn"],
  ["system", "System", "The system prompt"],
  ["tree", "Tree", "Every branch of the conversation"],
  ["export", "Export", "Copy, download or insert the conversation"],
];
const NEW = "\u0000new";
const DELETE = "\u0000delete";
const NO_ADAPTER = "off";
const MIX = "\u0000mix";
const NEARLY_FULL = 0.8;
const LONGEST_NAME = 64;

export function headLine(
  say: Say,
  toggle: (drawer: Drawer) => void,
  begun: () => void,
  signal: AbortSignal,
): HeadLine {
  const root = element("div", "llama-nb-chat-head");
  const chats = picker("Chat", signal, choseChat);
  const models = picker("Model", signal, (name) => say({ kind: "model", name }));
  const adapters = picker("Adapter", signal, choseAdapter);
  const asking = element("span", "llama-nb-chat-asking");
  const gauge = contextGauge();
  const tools = element("span", "llama-nb-chat-toggles");
  tools.setAttribute("role", "toolbar");
  tools.setAttribute("aria-label", "Panels");
  const toggles = TOGGLES.map(([drawer, label, title]) => {
    const made = button(label, "llama-nb-quiet", () => toggle(drawer), signal);
    made.title = title;
    made.setAttribute("aria-expanded", "false");
    made.dataset.drawer = drawer;
    tools.append(made);
    return made;
  });
  root.append(chats, models, adapters, asking, gauge.root, tools);
  asking.hidden = true;
  let head: ChatHead = {};

  function choseChat(name: string): void {
    chats.value = head.chat ?? "";
    if (name === NEW) askName();
    else if (name === DELETE) askDelete();
    else say({ kind: "chat", name });
  }
  function choseAdapter(name: string): void {
    if (name !== MIX) say({ kind: "adapter", name });
  }
  const pickers = (shown: boolean) => {
    chats.hidden = models.hidden = !shown;
    adapters.hidden = !shown || !head.adapters?.names.length;
  };
  const ask = (...nodes: HTMLElement[]) => {
    asking.replaceChildren(...nodes);
    asking.hidden = false;
    pickers(false);
    nodes[0]?.focus();
  };
  const asked = () => {
    asking.hidden = true;
    pickers(true);
    chats.focus();
  };
  const askName = () => {
    const field = document.createElement("input");
    field.type = "text";
    field.maxLength = LONGEST_NAME;
    field.setAttribute("aria-label", "Name of the new chat");
    field.placeholder = "name of the new chat";
    const make = () => {
      asked();
      if (!field.value.trim()) return;
      say({ kind: "new", name: field.value.trim() });
      begun();
    };
    field.addEventListener("keydown", (event) => event.key === "Enter" && make(), { signal });
    ask(field, button("Create", "llama-nb-primary", make, signal), button("Cancel", "", asked, signal));
  };
  const askDelete = () => {
    const name = head.chat ?? "";
    const remove = () => {
      say({ kind: "delete", name });
      asked();
    };
    const keep = button("Keep it", "", asked, signal);
    ask(
      keep,
      element("span", "", `Delete the chat ${name}?`),
      button("Delete", "llama-nb-danger", remove, signal),
    );
  };
  asking.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      asked();
    },
    { signal },
  );
  return {
    root,
    update(next) {
      head = next;
      const names = next.chats ?? [];
      const rest: [string, string][] = [[NEW, "New chat …"]];
      if (next.chat) rest.push([DELETE, `Delete ${next.chat} …`]);
      options(
        chats,
        names.map((name) => [name, name]),
        next.chat ?? "",
        rest,
      );
      chats.title = next.where ?? "";
      // A model that was loaded from a folder is shown by the folder's name.
      const short = (name: string) => name.slice(name.lastIndexOf("/") + 1);
      const loaded = (next.models ?? []).map(({ name }) => [name, short(name)] as [string, string]);
      const mine = loaded.find((pair) => pair.includes(next.model ?? ""));
      const gone: [string, string][] = mine ? [] : [["", next.model || "no model"]];
      options(models, [...gone, ...loaded], mine?.[0] ?? "", []);
      models.disabled = loaded.length === 0;
      models.title = next.detail ?? "";
      showAdapters(adapters, next);
      pickers(asking.hidden);
      gauge.update(next.context);
    },
    opened(drawer) {
      for (const made of toggles) made.setAttribute("aria-expanded", String(made.dataset.drawer === drawer));
    },
  };
}

function picker(label: string, signal: AbortSignal, chose: (value: string) => void): HTMLSelectElement {
  const made = element("select", "llama-nb-pick") as HTMLSelectElement;
  made.setAttribute("aria-label", label);
  made.addEventListener("change", () => chose(made.value), { signal });
  return made;
}

/** What can be switched on; a mix of several stands there as it is, and is made elsewhere. */
function showAdapters(into: HTMLSelectElement, head: ChatHead): void {
  const { names, label } = head.adapters ?? { names: [], label: "" };
  const known = label === "" || names.includes(label);
  const list = [NO_ADAPTER, ...names].map(
    (name) => [name, name === NO_ADAPTER ? "no adapter" : `+ ${name}`] as [string, string],
  );
  if (!known) list.push([MIX, `+ ${label}`]);
  options(into, list, known ? label || NO_ADAPTER : MIX, []);
  into.title = label ? `${head.model ?? ""} answers with ${label}` : "The base answers alone";
  into.disabled = !head.alive;
}

/** Fill a select only when something changed: one that is open would close. */
function options(
  into: HTMLSelectElement,
  list: [string, string][],
  value: string,
  rest: [string, string][],
): void {
  const key = JSON.stringify([list, rest]);
  if (into.dataset.key !== key) {
    into.dataset.key = key;
    const made = ([of, text]: [string, string]) => option(text, of);
    into.replaceChildren(...list.map(made));
    if (rest.length) into.append(document.createElement("hr"), ...rest.map(made));
  }
  into.value = value;
}

function contextGauge() {
  const root = element("span", "llama-nb-gauge");
  root.setAttribute("role", "meter");
  root.setAttribute("aria-valuemin", "0");
  const bar = element("span", "llama-nb-gauge-bar");
  const filled = element("i", "");
  const text = element("span", "");
  bar.append(filled);
  root.append(bar, text);
  const update = (context: ChatHead["context"]) => {
    root.hidden = !context?.total;
    if (!context?.total) return;
    const { used, total } = context;
    const share = Math.min(1, used / total);
    const words = `${used.toLocaleString("en")} of ${total.toLocaleString("en")} tokens`;
    filled.style.width = `${(100 * share).toFixed(1)}%`;
    root.classList.toggle("llama-nb-gauge-full", share > NEARLY_FULL);
    text.textContent = `${used.toLocaleString("en")} / ${total.toLocaleString("en")}`;
    root.title = `The context holds ${words}`;
    root.setAttribute("aria-label", `Context: ${words}`);
    root.setAttribute("aria-valuenow", String(used));
    root.setAttribute("aria-valuemax", String(total));
  };
  return { root, update };
}
