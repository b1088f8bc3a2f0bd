/** The part of anywidget's model that the widgets use, and the name of the page that they stand in. */

export interface Model<T> {
  get<K extends keyof T>(name: K): T[K];
  set<K extends keyof T>(name: K, value: T[K]): void;
  send(content: unknown): void;
  on(event: string, callback: (...args: never[]) => void): void;
  off(event: string, callback: (...args: never[]) => void): void;
}

/** One name per loaded page, however often this module is loaded in it. */
export function pageName(): string {
  const page = globalThis as { llamaNbPage?: string };
  page.llamaNbPage ??= Math.random().toString(36).slice(2);
  return page.llamaNbPage;
}
