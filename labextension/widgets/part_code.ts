/** Gets the code of a part of a widget when it is first needed: the kernel sends it, as it sent the module itself. */

import { importText } from "./import_text";

export interface PartCode<Part> {
  /** Ask for it unless that was done. */
  get(): Promise<Part>;
  /** What is here of it now; asks for it otherwise. */
  now(): Part | null;
  /** The kernel sent it. */
  arrived(text: string): Promise<void>;
}

export function partCode<Part>(ask: () => void): PartCode<Part> {
  let take: (part: Part) => void = () => {};
  let coming: Promise<Part> | null = null;
  let here: Part | null = null;
  const get = () => {
    coming ??= new Promise<Part>((resolve) => {
      take = resolve;
      ask();
    });
    return coming;
  };
  return {
    get,
    now() {
      if (!here) void get();
      return here;
    },
    async arrived(text) {
      here ??= (await importText(text)).default as Part;
      take(here);
    },
  };
}
