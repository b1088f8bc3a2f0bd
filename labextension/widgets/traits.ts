/** Made from the Python traits by `python -m tools.traits`; do not edit. */

import type { Tree } from "./nodes";
import type { Bundle, Header } from "./shapes";

export interface ReplyViewTraits {
  blocks: Tree[];
  error: string;
  final: Bundle;
  header: Header;
  notes: string[];
  revision: number;
  running: boolean;
  status: string;
  stoppable: boolean;
}
