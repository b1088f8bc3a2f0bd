/** The panes of the training panel that are opened by a tab: answers, recipe, data and notes. */

import { answersPane } from "./training_answers";
import { factsPane } from "./training_facts";
import { recipePane } from "./training_recipe";

const more = { answers: answersPane, recipe: recipePane, facts: factsPane };

export type More = typeof more;
export default more;
