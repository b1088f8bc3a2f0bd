/** Takes drawings out of the page: with the page's styles written into them, as a PNG, to the browser's downloads. */

const LOOK = [
  "fill",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "stroke-linecap",
  "stroke-linejoin",
  "stroke-opacity",
  "fill-opacity",
  "opacity",
  "paint-order",
];
const FONT = ["font-family", "font-size", "font-weight"];
const SCALE = 2;
const KEPT_MS = 10_000;

/** Copies of what a drawing consists of, which look the same without the page's stylesheet. */
export function inlined(drawing: Element): Element[] {
  return [...drawing.children].map(inline);
}

function inline(part: Element): Element {
  const copy = part.cloneNode(false) as Element;
  const style = getComputedStyle(part);
  copy.removeAttribute("class");
  for (const property of part.tagName === "text" ? [...LOOK, ...FONT] : LOOK) {
    const value = style.getPropertyValue(property);
    if (value) copy.setAttribute(property, value);
  }
  copy.append(
    ...[...part.childNodes].map((node) => (node instanceof Element ? inline(node) : node.cloneNode())),
  );
  return copy;
}

/** A drawing as text, such as an SVG file holds. */
export function textOf(drawing: SVGSVGElement): string {
  return new XMLSerializer().serializeToString(drawing);
}

/** A drawing as PNG, two pixels for each of its own; its styles must stand in it. */
export async function raster(drawing: SVGSVGElement): Promise<Blob> {
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(textOf(drawing))}`;
  await picture.decode();
  const canvas = document.createElement("canvas");
  canvas.width = SCALE * Number(drawing.getAttribute("width"));
  canvas.height = SCALE * Number(drawing.getAttribute("height"));
  canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no picture"))), "image/png"),
  );
}

/** Hand a file to the browser's downloads. */
export function save(content: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}
