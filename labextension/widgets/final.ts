/** Asks whoever knows the notebook to put the event's detail in the widget's place; cancelled when that was done. */
export const FINAL_EVENT = "llama-nb-final";
