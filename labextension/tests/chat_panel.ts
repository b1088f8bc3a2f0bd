/** The chat panel over a kernel that is none: a model that remembers what was sent and answers what it holds. */

import widget, { type ChatModel } from "../widgets/chat";
import type { Contents } from "../widgets/chat_step";
import { pageName } from "../widgets/model";
import type { Tree } from "../widgets/nodes";
import type { ChatHead, ChatStep, Control } from "../widgets/shapes";
import type { ChatPanelTraits } from "../widgets/traits";
import { FakeModel } from "./fake_model";

export const HOSTILE = "<img src=x onerror=alert(1)>";
export const p = (...c: Tree[]): Tree => ({ t: "p", c });

class FakePanel extends FakeModel<ChatPanelTraits> {
  accept(): void {
    this.tell("accepted", { page: pageName() });
  }
}

export function step(id: string, role: ChatStep["role"], changes: Partial<ChatStep> = {}): ChatStep {
  const answer = role === "assistant";
  return {
    id,
    role,
    version: 1,
    versions: 1,
    siblings: [id],
    model: answer ? "cria" : "",
    finish: answer ? "end" : "",
    status: answer ? "3 tokens · 0.1 s" : "",
    notes: [],
    error: "",
    tokens: answer ? 3 : 0,
    branchable: answer,
    ...changes,
  };
}

export function says(id: string, text: string): { id: string } & Contents {
  return { id, nodes: [p(text)], text };
}

export const TEMPERATURE: Control = {
  name: "temperature",
  label: "temperature",
  meaning: "0 is greedy",
  low: 0,
  high: 2,
  step: 0.05,
  scale: "linear",
  off: null,
  value: 0.7,
  default: 1,
  idle: "",
  group: "Sampling",
} as Control;

export const HEAD: ChatHead = {
  chat: "main",
  model: "cria",
  detail: "float32 on cpu",
  alive: true,
  base: false,
  ideas: ["What is grouped-query attention?", "What is 17 + 25?", "Tell me a story about Ada and a fox."],
  chats: ["main", "other"],
  models: [
    { name: "cria", detail: "", current: true },
    { name: "models/stories", detail: "", current: false },
  ],
  system: "",
  context: { used: 214, total: 1024 },
  kept: true,
  tools: [],
  where: "Kept beside the notebook",
};

export const STEPS = [step("q", "user"), step("a", "assistant")];

export function open(changes: Partial<ChatPanelTraits> = {}) {
  const model = new FakePanel({
    head: HEAD,
    path: { steps: [] },
    sampling: { controls: [TEMPERATURE], line: "%llama set temperature 0.7", presets: ["precise"] },
    blocks: [],
    revision: 0,
    status: "",
    running: false,
    live: {},
    error: "",
    twin: {},
    ...changes,
  });
  const el = document.createElement("div");
  document.body.append(el);
  const asModel = model as unknown as ChatModel;
  const stop = widget.initialize({ model: asModel });
  const close = widget.render({ model: asModel, el });
  const find = <T extends HTMLElement = HTMLElement>(selector: string) => el.querySelector<T>(selector) as T;
  const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
  const field = find<HTMLTextAreaElement>(".llama-nb-composer textarea");
  const type = (text: string, into: HTMLTextAreaElement = field) => {
    into.value = text;
    into.dispatchEvent(new Event("input"));
  };
  const press = (key: string, at: Element = field, options = {}) =>
    at.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...options }));
  const does = (name: string, at: Element = el) =>
    at.querySelector<HTMLButtonElement>(`[data-does^="${name}"]`) as HTMLButtonElement;
  /** The kernel sends the code of what opens on demand, which is that of the test. */
  const code = async () => {
    await import("../widgets/chat_side"); // which takes a while the first time
    if (model.said("code").length) model.tell("code", { text: "" });
    await new Promise((resolve) => setTimeout(resolve, 40));
  };
  const drawer = async (name: string) => {
    find<HTMLButtonElement>(`[data-drawer=${name}]`).click();
    await code();
  };
  const texts = () => all(".llama-nb-step:not([hidden])").map((one) => one.firstElementChild?.textContent);
  return { model, el, find, all, field, type, press, does, code, drawer, texts, stop, close };
}
