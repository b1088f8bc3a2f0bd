/** Gets the code of attention_more.ts once the first picture is drawn: the kernel sends it, as it sent this module. */

import type more from "./attention_more";
import { importText } from "./import_text";

export interface MoreCode {
  get(): Promise<typeof more>;
  /** The kernel sent it. */
  arrived(text: string): void;
}

export function moreCode(ask: () => void): MoreCode {
  let take: (text: string) => void = () => {};
  let code: Promise<typeof more> | null = null;
  return {
    get() {
      code ??= new Promise<string>((resolve) => {
        take = resolve;
        ask();
      }).then(async (text) => (await importText(text)).default as typeof more);
      return code;
    },
    arrived: (text) => take(text),
  };
}
