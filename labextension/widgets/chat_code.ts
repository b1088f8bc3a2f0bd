/** Gets the code of chat_side.ts when it is first needed: the kernel sends it, as it sent this module. */

import type { Side } from "./chat_side";
import type { Say } from "./chat_step";
import { importText } from "./import_text";

export interface SideCode {
  get(): Promise<Side>;
  /** The kernel sent it. */
  arrived(text: string): void;
}

export function sideCode(say: Say): SideCode {
  let take: (text: string) => void = () => {};
  let code: Promise<Side> | null = null;
  return {
    get() {
      code ??= new Promise<string>((resolve) => {
        take = resolve;
        say({ kind: "code" });
      }).then(async (text) => (await importText(text)).default as Side);
      return code;
    },
    arrived: (text) => take(text),
  };
}
