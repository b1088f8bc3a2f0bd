/** JSON shapes that traits carry; the interfaces of whole widgets are generated into traits.ts. */

import type { Tree } from "./nodes";

/** What stands above an answer. */
export interface Header {
  user_nodes?: Tree[];
  system?: string;
  model?: string;
  chat?: string;
}

/** A mime bundle: data by mime type. */
export type Bundle = Record<string, unknown>;
