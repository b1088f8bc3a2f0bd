/** `%%llama` cells: the body is prose with `{{ expressions }}`, so it is drawn and wrapped like prose. */

import { type Extension, type Range, RangeSetBuilder, type Text } from "@codemirror/state";
import { Decoration, type DecorationSet, EditorView, ViewPlugin, type ViewUpdate } from "@codemirror/view";

const MAGIC = /^\s*%%llama\b/;
const EXPRESSION = /\{\{.*?\}\}/g;

const magicLine = Decoration.line({ class: "llama-nb-magic" });
const bodyLine = Decoration.line({ class: "llama-nb-body" });
const expression = Decoration.mark({ class: "llama-nb-expression" });

/** Whether a cell with this source is one of ours. */
export function isLlamaCell(source: string): boolean {
  return MAGIC.test(source);
}

function startsWithMagic(doc: Text): boolean {
  return MAGIC.test(doc.line(1).text);
}

/** The classes of the lines in view, and of the expressions in them. */
export function decorations(view: Pick<EditorView, "state" | "viewport">): DecorationSet {
  const builder = new RangeSetBuilder<Decoration>();
  const { doc } = view.state;
  if (!startsWithMagic(doc)) return builder.finish();
  const last = doc.lineAt(view.viewport.to).number;
  for (let number = doc.lineAt(view.viewport.from).number; number <= last; number += 1) {
    const { from, text } = doc.line(number);
    builder.add(from, from, number === 1 ? magicLine : bodyLine);
    if (number === 1) continue;
    for (const mark of expressions(text, from)) builder.add(mark.from, mark.to, mark.value);
  }
  return builder.finish();
}

function expressions(text: string, offset: number): Range<Decoration>[] {
  return [...text.matchAll(EXPRESSION)].map((hit) =>
    expression.range(offset + hit.index, offset + hit.index + hit[0].length),
  );
}

const lineClasses = ViewPlugin.fromClass(
  class {
    decorations: DecorationSet;
    constructor(view: EditorView) {
      this.decorations = decorations(view);
    }
    update(update: ViewUpdate): void {
      if (update.docChanged || update.viewportChanged) this.decorations = decorations(update.view);
    }
  },
  { decorations: (plugin) => plugin.decorations },
);

/** Long lines of a message wrap, whatever the setting for code is. */
const wrapping = EditorView.contentAttributes.of((view) =>
  startsWithMagic(view.state.doc) ? { class: "cm-lineWrapping" } : null,
);

/** The editor extension. It does nothing in other cells. */
export function llamaCells(): Extension {
  return [lineClasses, wrapping];
}
