"use strict";(self.rspackChunkllama_nb=self.rspackChunkllama_nb||[]).push([[700],{33(a,e,n){var l=n(601),r=n.n(l),t=n(314),o=(n.n(t))()(r());o.push([a.id,`/* %%llama cells: the body is a message to a model, so it reads like prose. */

.cm-content .llama-nb-magic {
  color: var(--jp-content-font-color2, #626b76);
}

.cm-content .llama-nb-body {
  box-shadow: inset 2px 0 0 #c65d2e;
  padding-left: 10px;
  font-family: var(--jp-content-font-family, system-ui, sans-serif);
}

[data-jp-theme-light="false"] .cm-content .llama-nb-body {
  box-shadow: inset 2px 0 0 #f0946a;
}

.cm-content .llama-nb-expression {
  border-radius: 3px;
  background: rgb(100 116 139 / 18%);
  font-family: var(--jp-code-font-family, monospace);
}
`,""]),n.d(e,{},{A:o})},646(a,e,n){var l=n(601),r=n.n(l),t=n(314),o=n.n(t),i=n(854),s=n(53),d=n(783),p=n(33),m=o()(r());m.i(i.A),m.i(s.A),m.i(d.A),m.i(p.A),m.push([a.id,`
`,""]),n.d(e,{},{A:m})},783(a,e,n){var l=n(601),r=n.n(l),t=n(314),o=(n.n(t))()(r());o.push([a.id,`/* A finished reply: an answer that is not whole. */

.llama-nb-mark {
  color: var(--ln-muted);
  font-size: 0.9em;
  font-weight: 600;
}

/* The tokens of a reply: one warm tint, deeper and then underlined the less the token was expected. */

.llama-nb-tokens {
  padding: 2px 12px;
  border-left: 3px solid var(--ln-accent);
  font-family: var(--ln-code-font);
  font-size: 0.92em;
  line-height: 1.5;
}

.llama-nb-token {
  display: inline-block;
  max-width: 100%;
  margin-right: 1px;
  border-bottom: 2px solid var(--ln-line);
  border-radius: 2px;
  background: color-mix(in srgb, var(--ln-accent) calc(var(--ln-share) * 1%), transparent);
  white-space: pre-wrap;

  --ln-share: 0;
}

.llama-nb-token[data-surprise="1"] {
  --ln-share: 12;
}

.llama-nb-token[data-surprise="2"] {
  --ln-share: 24;
}

.llama-nb-token[data-surprise="3"] {
  --ln-share: 36;

  border-bottom-color: var(--ln-accent);
}

.llama-nb-token[data-surprise="4"] {
  --ln-share: 48;

  border-bottom: 2px dashed var(--ln-text);
}

.llama-nb-reply .llama-nb-legend {
  margin: 8px 0 2px;
  color: var(--ln-muted);
  font-family: var(--jp-content-font-family, system-ui, sans-serif);
}

.llama-nb-toggle[aria-pressed="true"] {
  border-color: var(--ln-accent);
  color: var(--ln-accent-text);
}
`,""]),n.d(e,{},{A:o})},611(a,e,n){var l=n(601),r=n.n(l),t=n(314),o=(n.n(t))()(r());o.push([a.id,`/*
 * The stacked bar. The colours are Okabe and Ito's, as in the static twins (llama_nb/render/bars.py): they stay apart
 * under the common kinds of colour blindness. A pattern each, so that they also stay apart without colours.
 */

.llama-nb-memory {
  --ln-ink: rgb(255 255 255 / 55%);

  margin: 2px 0 6px;
  font-variant-numeric: tabular-nums;
}

.llama-nb-memory-head {
  display: flex;
  flex-wrap: wrap;
  justify-content: space-between;
  gap: 0 12px;
  margin-bottom: 5px;
  color: var(--ln-muted);
  font-size: 0.92em;
}

.llama-nb-bar {
  position: relative;
  height: 20px;
  border-radius: 3px;
  background: var(--ln-wash);
  box-shadow: inset 0 0 0 1px var(--ln-line);
}

.llama-nb-bar-stack {
  display: flex;
  width: 100%;
  height: 100%;
  overflow: hidden;
  border-radius: 3px;
}

.llama-nb-part {
  box-sizing: border-box;
  flex: none;
  min-width: 2px;
  height: 100%;
  background-color: var(--ln-hue);
  background-image: var(--ln-pattern, none);
  background-size: var(--ln-tile, auto);
  transition: width var(--ln-glide, 160ms) ease-out;
}

.llama-nb-bar-stack > .llama-nb-part + .llama-nb-part {
  border-left: 1px solid var(--ln-paper);
}

/* Where the memory ends. */
.llama-nb-bar-limit {
  position: absolute;
  top: -4px;
  bottom: -4px;
  width: 2px;
  margin-left: -2px;
  border-radius: 1px;
  background: var(--ln-text);
  transition: left var(--ln-glide, 160ms) ease-out;
}

.llama-nb-bar-over {
  box-sizing: border-box;
  background-image: repeating-linear-gradient(45deg, var(--ln-error) 0 2px, transparent 2px 6px);
}

.llama-nb-bar > .llama-nb-bar-over {
  position: absolute;
  top: 0;
  height: 100%;
  border: 2px solid var(--ln-error);
  border-left: 0;
  border-radius: 0 3px 3px 0;
  background-color: color-mix(in srgb, var(--ln-paper) 45%, transparent);
  transition:
    left var(--ln-glide, 160ms) ease-out,
    width var(--ln-glide, 160ms) ease-out;
}

/* Figures under the bar. */
.llama-nb-view .llama-nb-legend {
  display: flex;
  flex-wrap: wrap;
  gap: 2px 12px;
  margin: 7px 0 0;
  padding: 0;
  list-style: none;
  font-size: 0.92em;
}

.llama-nb-legend > li {
  margin: 0;
  white-space: nowrap;
}

.llama-nb-figure {
  color: var(--ln-muted);
}

.llama-nb-swatch {
  display: inline-block;
  width: 12px;
  height: 12px;
  border-radius: 2px;
  vertical-align: -1px;
}

.llama-nb-swatch.llama-nb-bar-rest {
  background: var(--ln-wash);
  box-shadow: inset 0 0 0 1px var(--ln-line);
}

.llama-nb-swatch.llama-nb-bar-over {
  border: 2px solid var(--ln-error);
}

.llama-nb-too-much,
.llama-nb-too-much > .llama-nb-figure {
  color: var(--ln-error);
  font-weight: 600;
}

/* What memory is for. */
.llama-nb-look-weights {
  --ln-hue: #0072b2;
}

.llama-nb-look-kv_cache {
  --ln-hue: #e69f00;
  --ln-pattern: repeating-linear-gradient(45deg, var(--ln-ink) 0 2px, transparent 2px 7px);
}

.llama-nb-look-activations {
  --ln-hue: #009e73;
  --ln-pattern: radial-gradient(circle at 50% 50%, var(--ln-ink) 1.4px, transparent 1.8px);
  --ln-tile: 6px 6px;
}

.llama-nb-look-overhead {
  --ln-hue: #cc79a7;
  --ln-pattern: repeating-linear-gradient(0deg, var(--ln-ink) 0 1px, transparent 1px 5px);
}

.llama-nb-look-adapter {
  --ln-hue: #56b4e9;
  --ln-pattern: repeating-linear-gradient(90deg, var(--ln-ink) 0 1px, transparent 1px 5px);
}

.llama-nb-look-gradients {
  --ln-hue: #d55e00;
  --ln-pattern: repeating-linear-gradient(-45deg, var(--ln-ink) 0 2px, transparent 2px 7px);
}

.llama-nb-look-optimizer {
  --ln-hue: #999999;
  --ln-pattern:
    repeating-linear-gradient(0deg, var(--ln-ink) 0 1px, transparent 1px 6px),
    repeating-linear-gradient(90deg, var(--ln-ink) 0 1px, transparent 1px 6px);
}

.llama-nb-look-other {
  --ln-hue: color-mix(in srgb, var(--ln-slate) 55%, var(--ln-paper));
  --ln-pattern: repeating-linear-gradient(-60deg, var(--ln-ink) 0 1px, transparent 1px 9px);
}

[data-jp-theme-light="false"] .llama-nb-memory,
.vscode-dark .llama-nb-memory,
html[theme="dark"] .llama-nb-memory {
  --ln-ink: rgb(0 0 0 / 45%);
}

@media (prefers-reduced-motion: reduce) {
  .llama-nb-memory {
    --ln-glide: 0s;
  }
}

/* Forced colours leave no hue: the patterns stay, in the colour of text. */
@media (forced-colors: active) {
  .llama-nb-memory {
    --ln-ink: CanvasText;
  }

  .llama-nb-bar,
  .llama-nb-swatch {
    border: 1px solid CanvasText;
  }

  .llama-nb-part {
    border: 1px solid CanvasText;
    background-color: Canvas;
    forced-color-adjust: none;
  }

  .llama-nb-look-weights {
    background-color: CanvasText;
  }

  .llama-nb-bar-limit {
    background: Highlight;
    forced-color-adjust: none;
  }
}
`,""]),n.d(e,{},{A:o})},53(a,e,n){var l=n(601),r=n.n(l),t=n(314),o=n.n(t),i=n(911),s=n(611),d=o()(r());d.i(i.A),d.i(s.A),d.push([a.id,`/* A plan: the verdict, one bar, a slider, and tables that scroll. */

/* The sentence above says the same. */
.llama-nb-plan .llama-nb-memory-head {
  display: none;
}

.llama-nb-plan-head {
  display: grid;
  grid-template-columns: 1fr auto;
  gap: 0 16px;
  align-items: baseline;
  margin-bottom: 9px;
}

.llama-nb-plan-sentence {
  grid-column: 1 / -1;
}

.llama-nb-plan-quant {
  margin-left: 2px;
  padding: 0 6px;
  border: 1px solid var(--ln-line);
  border-radius: 9px;
  color: var(--ln-muted);
  font-size: 0.92em;
}

.llama-nb-context {
  display: grid;
  grid-template-columns: auto 1fr 9.5em;
  gap: 12px;
  align-items: center;
  margin: 10px 0 6px;
  font-variant-numeric: tabular-nums;
}

.llama-nb-context > input {
  width: 100%;
  margin: 0;
}

.llama-nb-context-value {
  text-align: right;
}

/* Read aloud, not seen: the verdict stands above. */
.llama-nb-said {
  position: absolute;
  width: 1px;
  height: 1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}

.llama-nb-more {
  margin-top: 6px;
  padding-top: 5px;
  border-top: 1px solid var(--ln-line);
}

.llama-nb-more > summary {
  font-size: 0.95em;
}

.llama-nb-more > :not(summary) {
  margin-top: 4px;
}

/* Opens small and grows by its handle, as far as there is something to see. */
.llama-nb-scroll {
  height: 136px;
  max-height: max-content;
  overflow: auto;
  resize: vertical;
}

.llama-nb-view .llama-nb-quants thead th {
  position: sticky;
  z-index: 1;
  top: 0;
  background: var(--ln-paper);
}

.llama-nb-quants tbody tr {
  cursor: pointer;
}

.llama-nb-view .llama-nb-quants tbody tr:hover {
  background: var(--ln-wash);
}

.llama-nb-view .llama-nb-quants tbody tr.llama-nb-chosen {
  background: var(--ln-slate-wash);
  box-shadow: inset 3px 0 var(--ln-accent);
}

.llama-nb-view .llama-nb-quants .llama-nb-row-button {
  padding: 0 0 0 8px;
  border: 0;
  background: none;
  font-weight: 400;
  text-align: left;
}

.llama-nb-view .llama-nb-chosen .llama-nb-row-button {
  font-weight: 600;
}

.llama-nb-quants .llama-nb-verdict {
  font-size: 0.95em;
  font-weight: 500;
}

.llama-nb-options {
  list-style: none;
}

.llama-nb-options > li {
  display: grid;
  grid-template-columns: 1fr auto;
  gap: 0 12px;
  margin-bottom: 4px;
}

.llama-nb-options > li > .llama-nb-command {
  grid-column: 1 / -1;
}

.llama-nb-command {
  display: flex;
  gap: 4px;
  align-items: baseline;
  min-width: 0;
}

.llama-nb-view .llama-nb-command > code {
  min-width: 0;
  font-size: 0.88em;
  white-space: pre-wrap;
}

.llama-nb-word {
  display: inline-block;
}

.llama-nb-lines {
  list-style: none;
  font-size: 0.95em;
}

.llama-nb-lines > li {
  margin-bottom: 3px;
}

.llama-nb-plan-foot {
  position: relative;
}

.llama-nb-plan-actions {
  position: absolute;
  top: 5px;
  right: 0;
}

@media (forced-colors: active) {
  .llama-nb-view .llama-nb-quants tbody tr.llama-nb-chosen {
    outline: 1px solid Highlight;
  }
}
`,""]),n.d(e,{},{A:d})},854(a,e,n){var l=n(601),r=n.n(l),t=n(314),o=n.n(t),i=n(309),s=o()(r());s.i(i.A),s.push([a.id,`/* A reply, live and saved. */

.llama-nb-reply {
  box-sizing: border-box;
  max-width: 76ch;
  padding: 4px 0 6px;
  color: var(--ln-text);
  font-family: var(--jp-content-font-family, var(--vscode-font-family, system-ui, sans-serif));
  font-size: var(--jp-content-font-size1, var(--vscode-font-size, 14px));
  line-height: 1.55;
  overflow-wrap: break-word;
}

.llama-nb-reply [hidden] {
  display: none;
}

.llama-nb-reply ::selection {
  background: color-mix(in srgb, var(--ln-accent) 28%, transparent);
}

/* Who speaks: slate for the user, one warm bar for the model. */
.llama-nb-user,
.llama-nb-system {
  margin: 0 0 8px;
  padding: 5px 12px;
  border-left: 3px solid var(--ln-slate);
  border-radius: 0 4px 4px 0;
  background: var(--ln-slate-wash);
}

.llama-nb-system {
  color: var(--ln-muted);
  border-left-style: dotted;
  font-size: 0.92em;
  white-space: pre-wrap;
}

.llama-nb-system > summary {
  cursor: pointer;
}

.llama-nb-answer {
  padding: 1px 12px;
  border-left: 3px solid var(--ln-accent);
  overflow-x: auto;
}

.llama-nb-user > :first-child,
.llama-nb-answer > :first-child {
  margin-top: 0;
}

.llama-nb-user > :last-child,
.llama-nb-answer > :last-child {
  margin-bottom: 0;
}

/* Text. */
.llama-nb-reply :is(p, ul, ol, pre, blockquote, table) {
  margin: 0 0 0.65em;
}

.llama-nb-reply :is(h1, h2, h3, h4, h5, h6) {
  margin: 1em 0 0.4em;
  color: inherit;
  font-family: inherit;
  font-weight: 600;
  line-height: 1.3;
}

.llama-nb-reply h1 {
  font-size: 1.35em;
}

.llama-nb-reply h2 {
  font-size: 1.2em;
}

.llama-nb-reply h3 {
  font-size: 1.08em;
}

.llama-nb-reply :is(h4, h5, h6) {
  font-size: 1em;
}

.llama-nb-reply :is(ul, ol) {
  padding-left: 1.6em;
}

.llama-nb-reply li > :is(ul, ol, p) {
  margin-bottom: 0.2em;
}

.llama-nb-reply blockquote {
  padding-left: 12px;
  border-left: 2px solid var(--ln-line);
  color: var(--ln-muted);
}

.llama-nb-reply hr {
  border: 0;
  border-top: 1px solid var(--ln-line);
  margin: 1em 0;
}

.llama-nb-reply a {
  color: var(--ln-link);
  text-decoration: underline;
  text-underline-offset: 2px;
}

.llama-nb-reply table {
  width: auto;
  border-collapse: collapse;
  font-size: 0.95em;
  font-variant-numeric: tabular-nums;
}

.llama-nb-reply :is(th, td) {
  padding: 3px 12px 3px 0;
  border: 0;
  border-bottom: 1px solid var(--ln-line);
  text-align: left;
  vertical-align: top;
}

.llama-nb-reply th {
  font-weight: 600;
}

.llama-nb-reply code {
  padding: 1px 4px;
  border-radius: 3px;
  background: var(--ln-wash);
  color: inherit;
  font-family: var(--ln-code-font);
  font-size: 0.92em;
}

.llama-nb-reply pre {
  position: relative;
  padding: 0;
  border: 0;
  border-radius: 4px;
  background: var(--ln-wash);
  white-space: pre;
}

.llama-nb-reply pre > code {
  display: block;
  overflow-x: auto;
  padding: 8px 12px;
  background: none;
  line-height: 1.45;
  tab-size: 4;
  white-space: pre;
}

/* The classes of code that render/nodes.py allows. */
.llama-nb-reply .ln-k {
  color: var(--ln-keyword);
  font-weight: 600;
}

.llama-nb-reply .ln-s {
  color: var(--ln-string);
}

.llama-nb-reply .ln-m {
  color: var(--ln-number);
}

.llama-nb-reply .ln-c {
  color: var(--ln-comment);
  font-style: italic;
}

.llama-nb-reply :is(.ln-nf, .ln-nc, .ln-nt) {
  color: var(--ln-name);
}

.llama-nb-reply :is(.ln-nb, .ln-na) {
  color: var(--ln-builtin);
}

.llama-nb-reply .ln-nd {
  color: var(--ln-operator);
}

.llama-nb-reply .ln-gd {
  color: var(--ln-string);
  text-decoration: line-through;
}

.llama-nb-reply .ln-gi {
  color: var(--ln-keyword);
  text-decoration: underline;
}

.llama-nb-reply :is(.ln-gh, .ln-gp) {
  color: var(--ln-muted);
}

/* Around the answer. */
.llama-nb-reply > .llama-nb-notes {
  list-style: none;
  margin: 6px 0 0;
  padding: 0 0 0 15px;
  color: var(--ln-muted);
  font-size: 0.9em;
}

.llama-nb-error {
  margin: 6px 0 0;
  padding: 5px 12px;
  border-left: 3px double var(--ln-error);
  color: var(--ln-error);
  white-space: pre-wrap;
}

.llama-nb-foot {
  display: flex;
  align-items: baseline;
  gap: 10px;
  min-height: 22px;
  margin-top: 4px;
  padding-left: 15px;
  color: var(--ln-muted);
  font-size: 0.84em;
  font-variant-numeric: tabular-nums;
}

.llama-nb-status > span {
  white-space: nowrap;
}

.llama-nb-hint:not(:empty) {
  margin-left: -6px;
}

.llama-nb-hint:not(:empty)::before {
  content: "\xb7 ";
}

.llama-nb-actions {
  display: flex;
  gap: 2px;
  margin-left: auto;
}

.llama-nb-reply button {
  padding: 1px 7px;
  border: 1px solid transparent;
  border-radius: 4px;
  background: none;
  color: var(--ln-muted);
  cursor: pointer;
  font: inherit;
  line-height: 1.4;
}

.llama-nb-reply button:hover:not(:disabled) {
  background: var(--ln-wash);
  color: var(--ln-text);
}

.llama-nb-reply :is(button, a, summary):focus-visible {
  outline: 2px solid var(--ln-accent);
  outline-offset: 1px;
}

.llama-nb-reply .llama-nb-stop {
  border-color: var(--ln-accent);
  color: var(--ln-accent-text);
  font-weight: 600;
}

.llama-nb-reply .llama-nb-stop:disabled {
  cursor: default;
  opacity: 0.6;
}

.llama-nb-reply pre > .llama-nb-copy {
  position: absolute;
  top: 4px;
  right: 4px;
  background: var(--ln-paper);
  font-family: var(--jp-ui-font-family, var(--vscode-font-family, system-ui, sans-serif));
  font-size: 0.84em;
  opacity: var(--ln-quiet);
  user-select: none;
}

.llama-nb-reply pre:hover > .llama-nb-copy,
.llama-nb-reply pre > .llama-nb-copy:focus-visible {
  opacity: 1;
}

.llama-nb-running .llama-nb-actions > .llama-nb-copy {
  display: none;
}

/* While it is written: three grey lines, then a soft caret behind the last block. */
.llama-nb-skeleton {
  height: 0.7em;
  margin: 0.45em 0 0.7em;
  border-radius: 3px;
  background: var(--ln-wash);
  animation: var(--ln-breathe) 1.6s ease-in-out infinite;
}

.llama-nb-running:not(.llama-nb-waiting) .llama-nb-answer > :is(p, h1, h2, h3, h4, h5, h6):last-child::after,
.llama-nb-running
  .llama-nb-answer
  > :is(ul, ol):last-child
  > li:last-child:not(:has(> :is(p, ul, ol)))::after,
.llama-nb-running .llama-nb-answer > :is(ul, ol):last-child > li:last-child > p:last-child::after,
.llama-nb-running .llama-nb-answer > pre:last-child > code::after {
  content: "";
  display: inline-block;
  width: 0.5em;
  height: 1.05em;
  margin-left: 2px;
  border-radius: 1px;
  background: var(--ln-accent);
  vertical-align: -0.18em;
  animation: var(--ln-breathe) 1.1s ease-in-out infinite;
}

@keyframes llama-nb-breathe {
  50% {
    opacity: 0.35;
  }
}

@media (forced-colors: active) {
  .llama-nb-user,
  .llama-nb-system {
    border-left-color: GrayText;
  }

  .llama-nb-answer {
    border-left-color: Highlight;
  }

  .llama-nb-skeleton {
    border: 1px solid GrayText;
  }

  .llama-nb-running .llama-nb-answer > *:last-child::after {
    background: CanvasText;
    forced-color-adjust: none;
  }

  .llama-nb-reply {
    --ln-quiet: 1;
  }
}

@media print {
  .llama-nb-actions,
  .llama-nb-reply pre > .llama-nb-copy {
    display: none;
  }
}
`,""]),n.d(e,{},{A:s})},309(a,e,n){var l=n(601),r=n.n(l),t=n(314),o=(n.n(t))()(r());o.push([a.id,`/* Colours and fonts of everything of ours. Jupyter's variables first, then VS Code's, then values for Colab and the rest. */

:is(.llama-nb-reply, .llama-nb-view) {
  --ln-text: var(--jp-content-font-color1, var(--vscode-editor-foreground, #20252b));
  --ln-muted: var(--jp-content-font-color2, var(--vscode-descriptionForeground, #626b76));
  --ln-paper: var(--jp-layout-color0, var(--vscode-editor-background, #ffffff));
  --ln-line: var(--jp-border-color2, var(--vscode-panel-border, #d9dde2));
  --ln-code-font: var(--jp-code-font-family, var(--vscode-editor-font-family, ui-monospace, monospace));
  --ln-accent: #c65d2e;
  --ln-accent-text: #a94b1f; /* 5.7 to 1 on white; the accent itself has 4.2 */
  --ln-slate: #64748b;
  --ln-slate-wash: rgb(100 116 139 / 9%);
  --ln-wash: rgb(100 116 139 / 8%);
  --ln-error: var(--jp-error-color1, var(--vscode-errorForeground, #c62828));
  --ln-link: var(--jp-content-link-color, var(--vscode-textLink-foreground, #1565c0));
  --ln-keyword: var(--jp-mirror-editor-keyword-color, #00733b);
  --ln-string: var(--jp-mirror-editor-string-color, #a31515);
  --ln-number: var(--jp-mirror-editor-number-color, #0b6b6b);
  --ln-comment: var(--jp-mirror-editor-comment-color, #4f7a7a);
  --ln-name: var(--jp-mirror-editor-def-color, #1f4fd8);
  --ln-builtin: var(--jp-mirror-editor-builtin-color, #00733b);
  --ln-operator: var(--jp-mirror-editor-operator-color, #8a2be2);
  --ln-breathe: llama-nb-breathe;
  --ln-quiet: 0;
  --ln-ui-font: var(--jp-ui-font-family, var(--vscode-font-family, system-ui, sans-serif));
  --ln-hover: rgb(100 116 139 / 14%);
  --ln-good: #2f7d4f;
  --ln-warn: #9a6700;
}

[data-jp-theme-light="false"] :is(.llama-nb-reply, .llama-nb-view),
.vscode-dark :is(.llama-nb-reply, .llama-nb-view),
html[theme="dark"] :is(.llama-nb-reply, .llama-nb-view) {
  --ln-accent: #f0946a;
  --ln-accent-text: #f0946a;
  --ln-slate: #94a3b8;
  --ln-slate-wash: rgb(148 163 184 / 12%);
  --ln-wash: rgb(148 163 184 / 11%);
  --ln-hover: rgb(148 163 184 / 18%);
  --ln-good: #6fce93;
  --ln-warn: #e3b341;
}

.vscode-dark :is(.llama-nb-reply, .llama-nb-view),
html[theme="dark"] :is(.llama-nb-reply, .llama-nb-view) {
  --ln-text: var(--vscode-editor-foreground, #e3e6ea);
  --ln-muted: var(--vscode-descriptionForeground, #9aa4b0);
  --ln-line: var(--vscode-panel-border, #3b424b);
  --ln-keyword: #7fd1a0;
  --ln-string: #f2a07b;
  --ln-number: #7fd6d6;
  --ln-comment: #8fa9a9;
  --ln-name: #9db8ff;
  --ln-builtin: #7fd1a0;
  --ln-operator: #d3a6ff;
}

@media (prefers-reduced-motion: reduce) {
  :is(.llama-nb-reply, .llama-nb-view) {
    --ln-breathe: none;
  }
}
`,""]),n.d(e,{},{A:o})},911(a,e,n){var l=n(601),r=n.n(l),t=n(314),o=n.n(t),i=n(309),s=o()(r());s.i(i.A),s.push([a.id,`/* The ground of every interactive view: type, buttons, fields, tables, disclosure. Import it before the view's own. */

/* It weighs nothing: a view that is opened later brings it once more, behind the others' own styles. */
:where(.llama-nb-view) {
  box-sizing: border-box;
  max-width: 600px;
  padding: 6px 2px 8px;
  color: var(--ln-text);
  font-family: var(--ln-ui-font);
  font-size: var(--jp-ui-font-size1, var(--vscode-font-size, 13px));
  line-height: 1.45;
  overflow-wrap: break-word;
}

.llama-nb-view [hidden] {
  display: none;
}

.llama-nb-view :is(button, .llama-nb-button) {
  padding: 2px 9px;
  border: 1px solid var(--ln-line);
  border-radius: 4px;
  background: none;
  color: var(--ln-text);
  cursor: pointer;
  font: inherit;
  font-size: 0.95em;
  line-height: 1.45;
}

.llama-nb-view button:hover:not(:disabled) {
  background: var(--ln-hover);
}

.llama-nb-view button:disabled {
  color: var(--ln-muted);
  cursor: default;
  opacity: 0.6;
}

/* One button may be the warm one: what the view is for. */
.llama-nb-view .llama-nb-primary {
  border-color: var(--ln-accent);
  color: var(--ln-accent-text);
  font-weight: 600;
}

.llama-nb-view .llama-nb-copy {
  padding: 0 7px;
  border-color: transparent;
  color: var(--ln-muted);
  font-size: 0.9em;
}

.llama-nb-view :is(button, a, summary, input, select, tr, [tabindex]):focus-visible {
  outline: 2px solid var(--ln-accent);
  outline-offset: 1px;
}

.llama-nb-view :is(input[type="text"], input[type="search"], input[type="number"], select) {
  box-sizing: border-box;
  padding: 3px 7px;
  border: 1px solid var(--ln-line);
  border-radius: 4px;
  background: var(--ln-paper);
  color: var(--ln-text);
  font: inherit;
}

.llama-nb-view input[type="range"] {
  accent-color: var(--ln-accent);
  cursor: pointer;
}

.llama-nb-view table {
  width: 100%;
  margin: 0;
  border: 0;
  border-collapse: collapse;
  color: inherit;
  font-size: 0.95em;
  font-variant-numeric: tabular-nums;
  table-layout: auto;
}

.llama-nb-view :is(th, td) {
  padding: 3px 10px 3px 0;
  border: 0;
  border-bottom: 1px solid var(--ln-line);
  background: none;
  text-align: left;
  vertical-align: baseline;
  white-space: normal;
}

.llama-nb-view th {
  color: var(--ln-muted);
  font-weight: 500;
}

.llama-nb-view :is(th, td).llama-nb-number {
  text-align: right;
  white-space: nowrap;
}

.llama-nb-view tbody tr {
  background: none;
}

.llama-nb-view code {
  padding: 1px 4px;
  border-radius: 3px;
  background: var(--ln-wash);
  color: inherit;
  font-family: var(--ln-code-font);
  font-size: 0.92em;
}

.llama-nb-view summary {
  width: fit-content;
  color: var(--ln-muted);
  cursor: pointer;
}

.llama-nb-view :is(p, ul, dl, dd) {
  margin: 0;
  padding: 0;
}

.llama-nb-view a {
  color: var(--ln-link);
}

.llama-nb-view .llama-nb-error {
  margin: 6px 0 0;
  padding: 5px 12px;
  border-left: 3px double var(--ln-error);
  color: var(--ln-error);
  white-space: pre-wrap;
}

.llama-nb-view .llama-nb-title {
  font-size: 1.08em;
  font-weight: 600;
}

.llama-nb-view .llama-nb-muted {
  color: var(--ln-muted);
}

/* fits, tight, does not fit: an icon and the words, the colour only underlines them. */
.llama-nb-verdict {
  font-weight: 600;
  white-space: nowrap;
}

.llama-nb-verdict[data-verdict="fits"] {
  color: var(--ln-good);
}

.llama-nb-verdict[data-verdict="tight"] {
  color: var(--ln-warn);
}

.llama-nb-verdict[data-verdict="does not fit"] {
  color: var(--ln-error);
}

@media (forced-colors: active) {
  .llama-nb-view :is(button, input, select):focus-visible {
    outline-color: Highlight;
  }
}
`,""]),n.d(e,{},{A:s})},314(a){a.exports=function(a){var e=[];return e.toString=function(){return this.map(function(e){var n="",l=void 0!==e[5];return e[4]&&(n+="@supports (".concat(e[4],") {")),e[2]&&(n+="@media ".concat(e[2]," {")),l&&(n+="@layer".concat(e[5].length>0?" ".concat(e[5]):""," {")),n+=a(e),l&&(n+="}"),e[2]&&(n+="}"),e[4]&&(n+="}"),n}).join("")},e.i=function(a,n,l,r,t){"string"==typeof a&&(a=[[null,a,void 0]]);var o={};if(l)for(var i=0;i<this.length;i++){var s=this[i][0];null!=s&&(o[s]=!0)}for(var d=0;d<a.length;d++){var p=[].concat(a[d]);l&&o[p[0]]||(void 0!==t&&(void 0===p[5]||(p[1]="@layer".concat(p[5].length>0?" ".concat(p[5]):""," {").concat(p[1],"}")),p[5]=t),n&&(p[2]&&(p[1]="@media ".concat(p[2]," {").concat(p[1],"}")),p[2]=n),r&&(p[4]?(p[1]="@supports (".concat(p[4],") {").concat(p[1],"}"),p[4]=r):p[4]="".concat(r)),e.push(p))}},e}},601(a){a.exports=function(a){return a[1]}},72(a){var e=[];function n(a){for(var n=-1,l=0;l<e.length;l++)if(e[l].identifier===a){n=l;break}return n}function l(a,l){for(var r={},t=[],o=0;o<a.length;o++){var i=a[o],s=l.base?i[0]+l.base:i[0],d=r[s]||0,p="".concat(s," ").concat(d);r[s]=d+1;var m=n(p),b={css:i[1],media:i[2],sourceMap:i[3],supports:i[4],layer:i[5]};if(-1!==m)e[m].references++,e[m].updater(b);else{var c=function(a,e){var n=e.domAPI(e);return n.update(a),function(e){e?(e.css!==a.css||e.media!==a.media||e.sourceMap!==a.sourceMap||e.supports!==a.supports||e.layer!==a.layer)&&n.update(a=e):n.remove()}}(b,l);l.byIndex=o,e.splice(o,0,{identifier:p,updater:c,references:1})}t.push(p)}return t}a.exports=function(a,r){var t=l(a=a||[],r=r||{});return function(a){a=a||[];for(var o=0;o<t.length;o++){var i=n(t[o]);e[i].references--}for(var s=l(a,r),d=0;d<t.length;d++){var p=n(t[d]);0===e[p].references&&(e[p].updater(),e.splice(p,1))}t=s}}},659(a){var e={};a.exports=function(a,n){var l=function(a){if(void 0===e[a]){var n=document.querySelector(a);if(window.HTMLIFrameElement&&n instanceof window.HTMLIFrameElement)try{n=n.contentDocument.head}catch(a){n=null}e[a]=n}return e[a]}(a);if(!l)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");l.appendChild(n)}},540(a){a.exports=function(a){var e=document.createElement("style");return a.setAttributes(e,a.attributes),a.insert(e,a.options),e}},56(a,e,n){a.exports=function(a){var e=n.nc;e&&a.setAttribute("nonce",e)}},825(a){a.exports=function(a){if("u"<typeof document)return{update:function(){},remove:function(){}};var e=a.insertStyleElement(a);return{update:function(n){var l,r,t;l="",n.supports&&(l+="@supports (".concat(n.supports,") {")),n.media&&(l+="@media ".concat(n.media," {")),(r=void 0!==n.layer)&&(l+="@layer".concat(n.layer.length>0?" ".concat(n.layer):""," {")),l+=n.css,r&&(l+="}"),n.media&&(l+="}"),n.supports&&(l+="}"),(t=n.sourceMap)&&"u">typeof btoa&&(l+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(t))))," */")),a.styleTagTransform(l,e,a.options)},remove:function(){var a;null===(a=e).parentNode||a.parentNode.removeChild(a)}}}},113(a){a.exports=function(a,e){if(e.styleSheet)e.styleSheet.cssText=a;else{for(;e.firstChild;)e.removeChild(e.firstChild);e.appendChild(document.createTextNode(a))}}},959(a,e,n){var l=n(72),r=n.n(l),t=n(825),o=n.n(t),i=n(659),s=n.n(i),d=n(56),p=n.n(d),m=n(540),b=n.n(m),c=n(113),u=n.n(c),h=n(646),v={};v.styleTagTransform=u(),v.setAttributes=p(),v.insert=s().bind(null,"head"),v.domAPI=o(),v.insertStyleElement=b(),r()(h.A,v),h.A&&h.A.locals&&h.A.locals}}]);