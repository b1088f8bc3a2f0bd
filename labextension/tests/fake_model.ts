/** A widget's model without a kernel: it remembers what was sent and tells who listens what changed. */

type Listener = (...args: unknown[]) => void;

export class FakeModel<T> {
  sent: Record<string, unknown>[] = [];
  private readonly listeners = new Map<string, Set<Listener>>();
  constructor(private readonly state: T) {}

  get = <K extends keyof T>(name: K): T[K] => this.state[name];
  set = <K extends keyof T>(name: K, value: T[K]): void => {
    if (this.state[name] === value) return;
    this.state[name] = value;
    this.emit(`change:${String(name)}`);
    this.emit("change");
  };
  send = (content: unknown): void => {
    this.sent.push(content as Record<string, unknown>);
  };
  on = (event: string, callback: (...args: never[]) => void): void => {
    if (!this.listeners.has(event)) this.listeners.set(event, new Set());
    this.listeners.get(event)?.add(callback as Listener);
  };
  off = (event: string, callback: (...args: never[]) => void): void => {
    this.listeners.get(event)?.delete(callback as Listener);
  };
  emit(event: string, ...args: unknown[]): void {
    for (const listener of [...(this.listeners.get(event) ?? [])]) listener(...args);
  }
  /** A custom message from the kernel. */
  tell(kind: string, content: Record<string, unknown> = {}): void {
    this.emit("msg:custom", { kind, ...content });
  }
  get listening(): number {
    return [...this.listeners.values()].reduce((sum, set) => sum + set.size, 0);
  }
  said(kind: string): Record<string, unknown>[] {
    return this.sent.filter((message) => message.kind === kind);
  }
}
