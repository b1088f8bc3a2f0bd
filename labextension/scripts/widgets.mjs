// Bundles each widget into one minified module with its stylesheet: widgets/NAME.ts -> llama_nb/widgets/static.

import { build } from "esbuild";

const WIDGETS = [
  "reply",
  "loader",
  "plan",
  "status_bars",
  "chat",
  "sampling",
  "compare",
  "anatomy",
  "attention",
  "lens",
  "routing",
  "training",
];
// Code that a widget asks the kernel for when it is needed; it has no stylesheet of its own.
const PARTS = [
  "chat_side",
  "anatomy_more",
  "attention_more",
  "routing_more",
  "routing_further",
  "training_more",
];
const LIMIT = 30_000; // bytes: the text sits in the state of every instance
const target = new URL("../../llama_nb/widgets/static/", import.meta.url).pathname;

for (const name of [...WIDGETS, ...PARTS]) {
  const { metafile } = await build({
    entryPoints: [`widgets/${name}.ts`, ...(PARTS.includes(name) ? [] : [`widgets/${name}.css`])],
    outdir: target,
    entryNames: "[name]",
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    legalComments: "none",
    metafile: true,
  });
  for (const [file, { bytes }] of Object.entries(metafile.outputs)) {
    if (bytes >= LIMIT) throw new Error(`${file} is ${bytes} bytes; a bundle must stay below ${LIMIT}`);
    process.stdout.write(`${file.split("/").pop()} ${bytes} bytes\n`);
  }
}
