/**
 * What comes after the routing explorer's first picture: the pane of paths, and what takes data out.
 *
 * A bundle of its own, so that no widget's state holds more than the first picture needs.
 */

import { mapButtons, tokenButtons } from "./routing_export";
import type { More } from "./routing_page";
import { makePanes } from "./routing_pane";
import { pathsPane } from "./routing_paths";

const panes = makePanes({ paths: ["Paths through the layers", pathsPane] });
const more: More = Object.assign(panes, { mapButtons, tokenButtons });

export default more;
