/**
 * What the kernel was asked about a trace and said: texts of tokens, links, exact weights.
 *
 * Whoever draws takes what is known; what is missing is asked for, once, and drawn when it has come. While the
 * pointer moves only the newest question waits, so that a slow kernel is never behind by more than one.
 */

import type { AttentionAnswer, AttentionAsk, AttentionLinks, AttentionTokens } from "./shapes";

export type Ask = (message: AttentionAsk) => void;
export type Links = AttentionLinks<"row"> | AttentionLinks<"column">;
type Answer = Links | Extract<AttentionAnswer, { kind: "value" }>;

const BLOCK = 1024;
const KEPT = 400;
/** A pointer that rests this long means what it points at. */
const REST_MS = 40;
const LOST_MS = 4000;

export interface TokenTexts {
  text(position: number): string | null;
  special(position: number): boolean;
  /** Ask for what is not known between two positions. */
  want(start: number, end: number): void;
  take(tokens: AttentionTokens): void;
  /** Take single tokens: position, text, whether it is a control token. */
  learn(tokens: [number, string, boolean][]): void;
}

/** `ask` gets blocks of tokens; `count` says how many there are. */
export function tokenTexts(ask: (start: number, end: number) => void, count: () => number): TokenTexts {
  const texts: string[] = [];
  const special = new Set<number>();
  const asked = new Map<number, number>();
  return {
    text: (position) => texts[position] ?? null,
    special: (position) => special.has(position),
    want(start, end) {
      const last = Math.min(end, count());
      for (let block = Math.floor(Math.max(0, start) / BLOCK); block * BLOCK < last; block++) {
        const from = block * BLOCK;
        const to = Math.min(from + BLOCK, count());
        let first = from;
        while (first < to && texts[first] !== undefined) first++;
        if (first === to || asked.get(block) === to) continue;
        asked.set(block, to);
        ask(first, to);
      }
    },
    take(tokens) {
      const start = tokens.start ?? 0;
      for (const [index, text] of (tokens.texts ?? []).entries()) texts[start + index] = text;
      for (const position of tokens.special ?? []) special.add(position);
    },
    learn(tokens) {
      for (const [position, text, marked] of tokens) {
        texts[position] = text;
        if (marked) special.add(position);
      }
    },
  };
}

export interface Questions {
  /** The links of a token, and undefined until they are known. */
  links(kind: "row" | "column", token: number, second?: boolean): Links | undefined;
  /** An exact weight; null where it may not be read, undefined until it is known. */
  value(row: number, col: number, second?: boolean): number | null | undefined;
  take(answer: Answer): void;
  /** What was said holds for another head, or for a text that has grown. */
  forget(): void;
}

/** What waits or was sent: at most one at a time for links, and one for values, as the kernel answers the newest. */
interface Question {
  key: string;
  /** A newer question takes the place of one in the same slot, and waits for one in the other. */
  slot: string;
  message(number: number): AttentionAsk;
}

export function questions(ask: Ask, signal: AbortSignal): Questions {
  const lines = { links: line(ask, signal), value: line(ask, signal) };
  const known = new Map<string, Links | number | null>();
  const wanted = <T>(of: "links" | "value", question: Question): T | undefined => {
    const found = known.get(question.key);
    if (found === undefined) lines[of].put(question);
    return found as T | undefined;
  };
  return {
    links(kind, token, second = false) {
      const slot = `links${second}`;
      return wanted<Links>("links", {
        slot,
        key: `${slot} ${kind} ${token}`,
        message: (number) =>
          kind === "row" ? { kind, query: token, number, second } : { kind, key: token, number, second },
      });
    },
    value(row, col, second = false) {
      const slot = `value${second}`;
      const key = `${slot} ${row},${col}`;
      return wanted<number | null>("value", {
        ...{ slot, key },
        message: (number) => ({ kind: "value", row, col, number, second }),
      });
    },
    take(answer) {
      const key = lines[answer.kind === "value" ? "value" : "links"].answered(answer.number);
      if (key === null) return;
      if (known.size > KEPT) known.clear();
      known.set(key, answer.kind === "value" ? answer.value : answer);
    },
    forget() {
      known.clear();
      for (const one of Object.values(lines)) one.forget();
    },
  };
}

let numbers = 0;

function line(ask: Ask, signal: AbortSignal) {
  let sent: (Question & { number: number }) | null = null;
  let waiting: Question[] = [];
  let timer = 0;
  const later = (milliseconds: number, act: () => void) => {
    window.clearTimeout(timer);
    timer = window.setTimeout(act, milliseconds);
  };
  const send = () => {
    const next = waiting.find(({ slot }) => !sent || sent.slot === slot);
    if (!next) return;
    waiting = waiting.filter((one) => one !== next);
    sent = { ...next, number: numbers++ };
    later(LOST_MS, lost);
    ask(next.message(sent.number));
  };
  const lost = () => {
    sent = null;
    send();
  };
  signal.addEventListener("abort", () => window.clearTimeout(timer));
  return {
    put(question: Question) {
      if (sent?.key === question.key || waiting.some(({ key }) => key === question.key)) return;
      waiting = waiting.filter(({ slot }) => slot !== question.slot);
      waiting.push(question);
      if (!sent || sent.slot === question.slot) later(REST_MS, send);
    },
    answered(number: number): string | null {
      if (sent?.number !== number) return null;
      const { key } = sent;
      sent = null;
      if (waiting.length) later(0, send);
      return key;
    },
    forget() {
      sent = null;
      waiting = [];
      window.clearTimeout(timer);
    },
  };
}
