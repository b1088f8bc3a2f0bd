/** The JupyterLab plugin: how `%%llama` cells look, live views, and finished replies in a reloaded page. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import type { Cell } from "@jupyterlab/cells";
import {
  EditorExtensionRegistry,
  IEditorExtensionRegistry,
  IEditorLanguageRegistry,
} from "@jupyterlab/codemirror";
import { INotebookTracker, type NotebookPanel } from "@jupyterlab/notebook";
import { isLlamaCell, llamaCells } from "./cells";
import { insertCells } from "./insert";
import { showLive } from "./live";
import { acceptFinals } from "./outputs";

const PROSE = "text/x-ipythongfm";

const plugin: JupyterFrontEndPlugin<void> = {
  id: "llama-nb:cells",
  description: "Shows the messages in %%llama cells as prose, and live views beside what is saved of them.",
  autoStart: true,
  requires: [INotebookTracker, IEditorExtensionRegistry, IEditorLanguageRegistry],
  activate: (
    _app: JupyterFrontEnd,
    notebooks: INotebookTracker,
    editors: IEditorExtensionRegistry,
    languages: IEditorLanguageRegistry,
  ) => {
    editors.addExtension({
      name: "llama-nb:cells",
      factory: () => EditorExtensionRegistry.createImmutableExtension(llamaCells()),
    });
    const attend = (panel: NotebookPanel) => {
      colourAsProse(panel, languages);
      acceptFinals(panel);
      insertCells(panel);
      showLive(panel);
    };
    notebooks.widgetAdded.connect((_tracker, panel) => attend(panel));
    notebooks.forEach(attend);
  },
};

/** Give our cells Markdown's colours, as they are now and as they become; the notebook sets Python's again. */
function colourAsProse(panel: NotebookPanel, languages: IEditorLanguageRegistry): void {
  const known = new WeakSet<Cell>();
  const watch = (cell: Cell) => {
    if (known.has(cell) || cell.model.type !== "code") return;
    known.add(cell);
    let before = cell.model.mimeType;
    const ours = () => !cell.isDisposed && isLlamaCell(cell.model.sharedModel.getSource());
    const update = () => {
      const { mimeType } = cell.model;
      if (ours()) {
        if (mimeType === PROSE) return;
        before = mimeType;
        // An editor keeps the language that was loaded last, so ours waits until the notebook's is there.
        void Promise.allSettled([mimeType, PROSE].map((type) => languages.getLanguage(type))).then(() => {
          if (ours()) cell.model.mimeType = PROSE;
        });
      } else if (mimeType === PROSE) {
        cell.model.mimeType = before;
      }
    };
    cell.model.contentChanged.connect(update);
    cell.model.mimeTypeChanged.connect(update);
    update();
  };
  const watchAll = () => panel.content.widgets.forEach(watch);
  panel.content.modelContentChanged.connect(watchAll);
  void panel.context.ready.then(watchAll);
}

export default plugin;
