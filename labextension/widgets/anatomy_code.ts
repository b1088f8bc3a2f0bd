/** Gets the panels of anatomy_more.ts when one is first opened: the kernel sends them, as it sent this module. */

import type { Panels } from "./anatomy_more";
import { importText } from "./import_text";

export interface PanelCode {
  /** The panels, once they are here; asks for them otherwise. */
  get(): Panels | null;
  /** The kernel sent them. */
  arrived(text: string): Promise<void>;
}

export function panelCode(ask: () => void): PanelCode {
  let panels: Panels | null = null;
  let asked = false;
  return {
    get() {
      if (!panels && !asked) {
        asked = true;
        ask();
      }
      return panels;
    },
    async arrived(text) {
      panels ??= (await importText(text)).default as Panels;
    },
  };
}
