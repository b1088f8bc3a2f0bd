/** Imports a module from its text, as anywidget does with a widget's own. */

export async function importText(text: string): Promise<{ default: unknown }> {
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  try {
    return await import(url);
  } finally {
    URL.revokeObjectURL(url);
  }
}
