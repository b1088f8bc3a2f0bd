/** Asks whoever knows the notebook for a new cell below, with the event's detail as its text; cancelled when done. */
export const INSERT_EVENT = "llama-nb-insert";
