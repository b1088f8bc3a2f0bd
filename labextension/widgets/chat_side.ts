/** What opens on demand: the drawers and the token view. A bundle of its own, so that a panel stays small. */

import { drawers } from "./chat_drawer";
import { tokenView } from "./chat_tokens";

const side = { drawers, tokenView };
export type Side = typeof side;
export default side;
