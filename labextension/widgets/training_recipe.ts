/** The parameters of a run, and of the one that is looked at what it is and what happens if one turns it. */

import { copyButton } from "./copy";
import { element } from "./element";
import { prose } from "./loader_plan";
import type { TrainingParameter, TrainingRecipe } from "./shapes";

export interface RecipePane {
  root: HTMLElement;
  update(recipe: TrainingRecipe): void;
}

export function recipePane(signal: AbortSignal): RecipePane {
  const root = element("div", "llama-nb-tr-recipe");
  const list = element("div", "llama-nb-tr-parameters");
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Parameters");
  const side = element("div", "llama-nb-tr-help");
  side.setAttribute("aria-live", "polite");
  root.append(list, side);
  let rows: TrainingParameter[] = [];
  let items: HTMLElement[] = [];
  let at = 0;
  let drawn = "";

  const look = (index: number, focus: boolean) => {
    at = Math.min(rows.length - 1, Math.max(0, index));
    items.forEach((item, place) => {
      item.setAttribute("aria-selected", String(place === at));
      item.tabIndex = place === at ? 0 : -1;
    });
    if (focus) items[at]?.focus();
    const row = rows[at];
    side.replaceChildren(...(row ? explained(row) : []));
  };
  const copy = copyButton("Copy the recipe, tab-separated", () =>
    rows.map(({ name, value }) => `${name}\t${value}`).join("\n"),
  );
  const explained = (row: TrainingParameter) => {
    const head = element("div", "llama-nb-tr-what-is");
    head.append(element("b", "", row.name), element("span", "", row.value), copy);
    const help = element("p", "");
    help.append(...prose(row.help));
    const turn = element("p", "");
    turn.append(...prose(row.turn));
    const label = element("p", "llama-nb-muted", "If you turn it");
    const chosen = row.usual ? [] : [element("p", "llama-nb-muted", "● You chose it; the rest is as usual.")];
    return [head, help, ...(row.turn ? [label, turn] : []), ...chosen];
  };
  list.addEventListener(
    "click",
    (event) => {
      const index = items.findIndex((item) => item.contains(event.target as Node));
      if (index >= 0) look(index, true);
    },
    { signal },
  );
  list.addEventListener(
    "keydown",
    (event) => {
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      look(to, true);
    },
    { signal },
  );
  return {
    root,
    update(recipe) {
      const key = JSON.stringify(recipe.rows ?? []);
      if (key === drawn) return;
      drawn = key;
      const [open, focused] = [rows[at]?.name, list.contains(document.activeElement)];
      rows = recipe.rows ?? [];
      items = rows.map(item);
      list.replaceChildren(...items);
      const chosen = rows.findIndex(({ usual }) => !usual);
      const again = rows.findIndex(({ name }) => name === open);
      look(again >= 0 ? again : Math.max(0, chosen), focused);
    },
  };
}

function item({ name, value, usual }: TrainingParameter): HTMLElement {
  const made = element("div", "llama-nb-tr-parameter");
  made.setAttribute("role", "option");
  made.dataset.usual = String(usual);
  made.dataset.name = name;
  const mark = element("i", "", usual ? "" : "●");
  mark.setAttribute("aria-hidden", "true");
  made.append(mark, element("span", "", name), element("b", "", value));
  if (!usual) made.setAttribute("aria-label", `${name} ${value}, chosen by you`);
  return made;
}
