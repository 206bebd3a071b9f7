/**
 * Tables as text: one line for each row, its cells whole and separated by " | ". Laid out in columns, lines of
 * neighbouring cells would mix, and a reference that begins within them would read nonsense.
 */

export interface TableCell {
  readonly text: string;
  /** Whether its lines say something, as those of a table within it: a row with such a cell arranges a page rather than data. */
  readonly isBlock: boolean;
}

export function tableText(rows: readonly (readonly TableCell[])[]): string {
  return joinRows(rows.map(rowText));
}

function rowText(cells: readonly TableCell[]): string {
  const filled = cells.filter(({ text }) => text.trim() !== '');
  if (filled.length < 2) return filled[0]?.text ?? '';
  if (cells.some(({ text, isBlock }) => isBlock && text.includes('\n'))) {
    return filled.map(({ text }) => text).join('\n\n');
  }
  // Empty cells stay: what stands behind them would move into their column.
  return cells
    .map(({ text }) => onOneRow(text))
    .join(' | ')
    .trim();
}

function onOneRow(text: string): string {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '').join(' ');
}

/** Rows of one line follow each other, others stand apart. */
function joinRows(rows: readonly string[]): string {
  let text = '';
  let before = '';
  for (const row of rows.filter((row) => row.trim() !== '')) {
    if (before !== '') text += before.includes('\n') || row.includes('\n') ? '\n\n' : '\n';
    text += row;
    before = row;
  }
  return text;
}
