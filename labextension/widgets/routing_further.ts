/** The panes of an expert, of what if, and of cost. A bundle of its own, fetched when one of them is opened. */

import { costPane } from "./routing_cost";
import { expertPane } from "./routing_expert";
import type { Further } from "./routing_page";
import { makePanes } from "./routing_pane";
import { whatifPane } from "./routing_whatif";

const further: Further = makePanes({
  expert: ["One expert", expertPane],
  whatif: ["What if", whatifPane],
  cost: ["What it costs", costPane],
});

export default further;
