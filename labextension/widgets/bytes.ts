/** Sizes as people read them, as llama_nb/magics/units.py writes them: three significant digits, powers of 1000. */

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** "812 B", "12.6 MB", "2.35 GB". */
export function bytesText(count: number): string {
  let value = Math.max(0, count);
  let power = 0;
  while (value >= 999.5 && power < UNITS.length - 1) {
    value /= 1000;
    power += 1;
  }
  const digits = power === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[power]}`;
}
