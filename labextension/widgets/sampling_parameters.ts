/**
 * The laboratory's sliders: the six that everybody needs, and a drawer with all others by group.
 *
 * What stands still about a control comes once; its value and whether it has an effect come with each view.
 */

import { element } from "./element";
import type { Control, LabView, SamplingState } from "./shapes";
import { type Sliders, sliders } from "./sliders";

export interface Parameters {
  root: HTMLElement;
  update(sampling: SamplingState, view: LabView): void;
}

const CORE = "Sampling";

export function parameters(
  changed: (name: string, value: number | null) => void,
  signal: AbortSignal,
): Parameters {
  const root = element("div", "llama-nb-lab-parameters");
  const core = sliders(changed, signal);
  const drawer = document.createElement("details");
  const summary = element("summary", "", "More");
  drawer.append(summary);
  root.append(core.root, drawer);
  const groups = new Map<string, Sliders>();

  const update = (sampling: SamplingState, view: LabView) => {
    const controls = (sampling.controls ?? []).map((control) => current(control, view));
    core.update(controls.filter((control) => control.group === CORE));
    const others = controls.filter((control) => control.group !== CORE);
    for (const group of new Set(others.map((control) => control.group))) {
      let made = groups.get(group);
      if (!made) {
        made = sliders(changed, signal);
        groups.set(group, made);
        drawer.append(element("div", "llama-nb-lab-group", group), made.root);
      }
      made.update(others.filter((control) => control.group === group));
    }
    const on = others.filter((control) => control.can_be_off && control.value !== control.off).length;
    summary.textContent = on ? `More (${on} on)` : "More";
  };
  return { root, update };
}

function current(control: Control, view: LabView): Control {
  const value = view.values?.[control.name];
  return {
    ...control,
    value: value === undefined ? control.value : value,
    idle: view.idle?.[control.name] ?? "",
  };
}
