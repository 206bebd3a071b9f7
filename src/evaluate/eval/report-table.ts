/** Tables of a report: rows in groups with a heading each, so that a phone shows the mode and its score side by side. */
import { type Html, html } from '../../html.ts';

export interface TableGroup {
  readonly title: string;
  /** `<tr>`s with a cell for each column. */
  readonly rows: readonly Html[];
}

/** Its heading; of numbers, or of words. */
export type Column = string | { readonly words: string };

export function groupedTable(head: readonly Column[], groups: readonly TableGroup[]): Html {
  const columns = head.map((column) =>
    typeof column === 'string'
      ? html`<th scope="col">${column}</th>`
      : html`<th scope="col" class="words">${column.words}</th>`,
  );
  const bodies = groups.map(
    ({ title, rows }) => html`<tbody>
<tr class="group"><th scope="rowgroup" colspan="${head.length}"><span>${title}</span></th></tr>
${rows}</tbody>
`,
  );
  return html`<div class="scroll"><table>
<thead><tr>${columns}</tr></thead>
${bodies}</table></div>`;
}

/** Rows of the same title, in order. */
export function grouped<T>(all: readonly T[], titleOf: (one: T) => string, rowOf: (one: T) => Html): TableGroup[] {
  return [...Map.groupBy(all, titleOf)].map(([title, own]) => ({ title, rows: own.map(rowOf) }));
}
