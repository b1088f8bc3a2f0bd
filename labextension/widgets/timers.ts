/** Named timers, each of which a newer one replaces; all end with a signal. */

export type Later = (name: string, milliseconds: number, act: () => void) => void;

export function timers(signal: AbortSignal): Later {
  const running = new Map<string, number>();
  signal.addEventListener("abort", () => {
    for (const timer of running.values()) window.clearTimeout(timer);
  });
  return (name, milliseconds, act) => {
    window.clearTimeout(running.get(name));
    running.set(name, window.setTimeout(act, milliseconds));
  };
}
