/**
 * A page that stands alone: no script, no font, nothing from elsewhere. One column that fits a phone and a sheet of paper,
 * light or dark as its reader likes it; what is wider scrolls in a box of its own (`.scroll`).
 */
import { type Html, html } from './html.ts';

export interface Page {
  readonly title: string;
  /** What the page adds to the style of every page. */
  readonly style: Html;
  /** Stands in `<main>`. */
  readonly body: Html;
}

/** The whole page. */
export function pageOf({ title, style, body }: Page): string {
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${title}</title>
<style>${commonStyle}${style}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`;
  return page.markup;
}

/** Constant, and without the characters that would end it. */
const commonStyle: Html = {
  markup: `
:root { color-scheme: light dark; --line: rgb(128 128 128 / .35); --for: #2a7d4f; --against: #b3372f; --share: #d66024; }
* { box-sizing: border-box; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: .5rem 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0 0 .25rem; }
.note, caption { opacity: .75; font-size: .875rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child { text-align: left; font-weight: normal; }
caption { caption-side: bottom; text-align: left; padding-top: .5rem; }
.scroll { overflow-x: auto; }
ul, ol { padding: 0; list-style: none; }
dl { margin: .5rem 0; font-size: .875rem; }
dl div { display: flex; gap: .5rem; }
dt { flex: 0 0 5rem; opacity: .75; }
dd { margin: 0; flex: 1; }
blockquote { margin: .5rem 0 0; padding-left: .75rem; border-left: 2px solid var(--line); font-size: .875rem; white-space: pre-wrap; }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .75rem; margin: .75rem 0; break-inside: avoid; }
.id { opacity: .6; }
@media print { body { font-size: 11pt; } main { max-width: none; padding: 0; } .scroll { overflow: visible; } }
`,
};
