/** A plan as an anywidget module (llama_nb/widgets/plan_view.py), for pages that cannot have our plugin. */

import { drawPlan } from "./plan_view";
import type { Model } from "./reply";
import type { PlanViewTraits } from "./traits";

function render({ model, el }: { model: Model<PlanViewTraits>; el: HTMLElement }): () => void {
  const draw = () => el.replaceChildren(drawPlan(model.get("record")));
  model.on("change:record", draw);
  draw();
  return () => model.off("change:record", draw);
}

export default { render };
