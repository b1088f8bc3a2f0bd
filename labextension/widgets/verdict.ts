/** Whether something fits, as it is shown everywhere. */

import { element } from "./element";

export const VERDICTS = ["fits", "tight", "does not fit", "unknown"] as const;
export type Verdict = (typeof VERDICTS)[number];

const ICONS: Record<Verdict, string> = { fits: "✓", tight: "!", "does not fit": "✗", unknown: "?" };

/** The verdict as a sign and words; its colour says nothing more. */
export function verdictMark(verdict: Verdict): HTMLElement {
  const mark = element("span", "llama-nb-verdict");
  mark.dataset.verdict = verdict;
  const icon = element("span", "", ICONS[verdict]);
  icon.setAttribute("aria-hidden", "true");
  mark.append(icon, ` ${verdict === "unknown" ? "not known whether it fits" : verdict}`);
  return mark;
}
