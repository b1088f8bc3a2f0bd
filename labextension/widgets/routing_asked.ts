/** The scores of tokens that the kernel was asked for: one question at a time, the newest waits. */

import type { Ask } from "./routing_page";
import type { RoutingScores } from "./shapes";

/** A pointer that rests this long means what it points at. */
const REST_MS = 40;
const LOST_MS = 4000;
const KEPT = 600;

export interface Asked {
  /** The scores, or undefined until they are known. */
  scores(layer: number, token: number): RoutingScores | undefined;
  take(answer: RoutingScores): void;
}

export function askedScores(ask: Ask, signal: AbortSignal): Asked {
  const known = new Map<string, RoutingScores>();
  let numbers = 0;
  let sent: string | null = null;
  let waiting: { layer: number; token: number } | null = null;
  let timer = 0;
  const later = (milliseconds: number, act: () => void) => {
    window.clearTimeout(timer);
    timer = window.setTimeout(act, milliseconds);
  };
  const send = () => {
    sent = null;
    if (!waiting) return;
    const { layer, token } = waiting;
    [sent, waiting] = [`${layer} ${token}`, null];
    numbers += 1;
    later(LOST_MS, send);
    ask({ kind: "scores", number: numbers, layer, token });
  };
  signal.addEventListener("abort", () => window.clearTimeout(timer));
  return {
    scores(layer, token) {
      const key = `${layer} ${token}`;
      const found = known.get(key);
      if (!found && sent !== key) {
        waiting = { layer, token };
        if (sent === null) later(REST_MS, send);
      }
      return found;
    },
    take(answer) {
      if (known.size > KEPT) known.clear();
      known.set(`${answer.layer} ${answer.token}`, answer);
      if (answer.number !== numbers) return;
      sent = null;
      later(0, send);
    },
  };
}
