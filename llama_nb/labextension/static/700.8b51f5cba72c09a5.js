"use strict";(self.rspackChunkllama_nb=self.rspackChunkllama_nb||[]).push([[700],{33(e,a,n){var r=n(601),l=n.n(r),o=n(314),t=(n.n(o))()(l());t.push([e.id,`/* %%llama cells: the body is a message to a model, so it reads like prose. */

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
`,""]),n.d(a,{},{A:t})},646(e,a,n){var r=n(601),l=n.n(r),o=n(314),t=n.n(o),i=n(854),s=n(783),d=n(33),p=t()(l());p.i(i.A),p.i(s.A),p.i(d.A),p.push([e.id,`
`,""]),n.d(a,{},{A:p})},783(e,a,n){var r=n(601),l=n.n(r),o=n(314),t=(n.n(o))()(l());t.push([e.id,`/* A finished reply: an answer that is not whole. */

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
  color: var(--ln-accent);
}
`,""]),n.d(a,{},{A:t})},854(e,a,n){var r=n(601),l=n.n(r),o=n(314),t=n.n(o),i=n(309),s=t()(l());s.i(i.A),s.push([e.id,`/* A reply, live and saved. */

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
  color: var(--ln-accent);
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
`,""]),n.d(a,{},{A:s})},309(e,a,n){var r=n(601),l=n.n(r),o=n(314),t=(n.n(o))()(l());t.push([e.id,`/* Colours and fonts of everything of ours. Jupyter's variables first, then VS Code's, then values for Colab and the rest. */

:is(.llama-nb-reply, .llama-nb-view) {
  --ln-text: var(--jp-content-font-color1, var(--vscode-editor-foreground, #20252b));
  --ln-muted: var(--jp-content-font-color2, var(--vscode-descriptionForeground, #626b76));
  --ln-paper: var(--jp-layout-color0, var(--vscode-editor-background, #ffffff));
  --ln-line: var(--jp-border-color2, var(--vscode-panel-border, #d9dde2));
  --ln-code-font: var(--jp-code-font-family, var(--vscode-editor-font-family, ui-monospace, monospace));
  --ln-accent: #c65d2e;
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
`,""]),n.d(a,{},{A:t})},314(e){e.exports=function(e){var a=[];return a.toString=function(){return this.map(function(a){var n="",r=void 0!==a[5];return a[4]&&(n+="@supports (".concat(a[4],") {")),a[2]&&(n+="@media ".concat(a[2]," {")),r&&(n+="@layer".concat(a[5].length>0?" ".concat(a[5]):""," {")),n+=e(a),r&&(n+="}"),a[2]&&(n+="}"),a[4]&&(n+="}"),n}).join("")},a.i=function(e,n,r,l,o){"string"==typeof e&&(e=[[null,e,void 0]]);var t={};if(r)for(var i=0;i<this.length;i++){var s=this[i][0];null!=s&&(t[s]=!0)}for(var d=0;d<e.length;d++){var p=[].concat(e[d]);r&&t[p[0]]||(void 0!==o&&(void 0===p[5]||(p[1]="@layer".concat(p[5].length>0?" ".concat(p[5]):""," {").concat(p[1],"}")),p[5]=o),n&&(p[2]&&(p[1]="@media ".concat(p[2]," {").concat(p[1],"}")),p[2]=n),l&&(p[4]?(p[1]="@supports (".concat(p[4],") {").concat(p[1],"}"),p[4]=l):p[4]="".concat(l)),a.push(p))}},a}},601(e){e.exports=function(e){return e[1]}},72(e){var a=[];function n(e){for(var n=-1,r=0;r<a.length;r++)if(a[r].identifier===e){n=r;break}return n}function r(e,r){for(var l={},o=[],t=0;t<e.length;t++){var i=e[t],s=r.base?i[0]+r.base:i[0],d=l[s]||0,p="".concat(s," ").concat(d);l[s]=d+1;var c=n(p),m={css:i[1],media:i[2],sourceMap:i[3],supports:i[4],layer:i[5]};if(-1!==c)a[c].references++,a[c].updater(m);else{var b=function(e,a){var n=a.domAPI(a);return n.update(e),function(a){a?(a.css!==e.css||a.media!==e.media||a.sourceMap!==e.sourceMap||a.supports!==e.supports||a.layer!==e.layer)&&n.update(e=a):n.remove()}}(m,r);r.byIndex=t,a.splice(t,0,{identifier:p,updater:b,references:1})}o.push(p)}return o}e.exports=function(e,l){var o=r(e=e||[],l=l||{});return function(e){e=e||[];for(var t=0;t<o.length;t++){var i=n(o[t]);a[i].references--}for(var s=r(e,l),d=0;d<o.length;d++){var p=n(o[d]);0===a[p].references&&(a[p].updater(),a.splice(p,1))}o=s}}},659(e){var a={};e.exports=function(e,n){var r=function(e){if(void 0===a[e]){var n=document.querySelector(e);if(window.HTMLIFrameElement&&n instanceof window.HTMLIFrameElement)try{n=n.contentDocument.head}catch(e){n=null}a[e]=n}return a[e]}(e);if(!r)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");r.appendChild(n)}},540(e){e.exports=function(e){var a=document.createElement("style");return e.setAttributes(a,e.attributes),e.insert(a,e.options),a}},56(e,a,n){e.exports=function(e){var a=n.nc;a&&e.setAttribute("nonce",a)}},825(e){e.exports=function(e){if("u"<typeof document)return{update:function(){},remove:function(){}};var a=e.insertStyleElement(e);return{update:function(n){var r,l,o;r="",n.supports&&(r+="@supports (".concat(n.supports,") {")),n.media&&(r+="@media ".concat(n.media," {")),(l=void 0!==n.layer)&&(r+="@layer".concat(n.layer.length>0?" ".concat(n.layer):""," {")),r+=n.css,l&&(r+="}"),n.media&&(r+="}"),n.supports&&(r+="}"),(o=n.sourceMap)&&"u">typeof btoa&&(r+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(o))))," */")),e.styleTagTransform(r,a,e.options)},remove:function(){var e;null===(e=a).parentNode||e.parentNode.removeChild(e)}}}},113(e){e.exports=function(e,a){if(a.styleSheet)a.styleSheet.cssText=e;else{for(;a.firstChild;)a.removeChild(a.firstChild);a.appendChild(document.createTextNode(e))}}},959(e,a,n){var r=n(72),l=n.n(r),o=n(825),t=n.n(o),i=n(659),s=n.n(i),d=n(56),p=n.n(d),c=n(540),m=n.n(c),b=n(113),f=n.n(b),u=n(646),h={};h.styleTagTransform=f(),h.setAttributes=p(),h.insert=s().bind(null,"head"),h.domAPI=t(),h.insertStyleElement=m(),l()(u.A,h),u.A&&u.A.locals&&u.A.locals}}]);