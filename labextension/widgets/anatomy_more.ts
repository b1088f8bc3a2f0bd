/** What opens on demand: the views of single parts. A bundle of its own, so that the diagram stays small. */

import { gatePanel } from "./anatomy_gate";
import { headsPanel } from "./anatomy_heads";
import { normPanel } from "./anatomy_norm";
import type { Panel } from "./anatomy_pane";
import { ropePanel } from "./anatomy_rope";

const panels: Record<string, Panel> = {
  heads: headsPanel,
  rope: ropePanel,
  norm: normPanel,
  gate: gatePanel,
};
export type Panels = typeof panels;
export default panels;
