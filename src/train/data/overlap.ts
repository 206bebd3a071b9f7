/**
 * The leakage guard (paper 4.1, Eq. 6): how much of a reference already stands in a training text.
 *
 *   overlap(t, r) = LCS / |r|,  LCS the longest common subsequence of text t and reference r whose matched span in t,
 *                               from its first to its last token, is at most 2 |r| long
 *
 * That is the greatest LCS(t[i, i + 2|r|), r) over all windows of t. Computing each window by itself would cost
 * |t| * 2|r| * |r|: 67 million cells for 2048 and 128 tokens. Instead all windows are answered by one pass over
 * |t| * |r| cells, with Tiskin's semi-local LCS by "seaweeds" (A. Tiskin, Semi-local string comparison, 2008): strands run
 * through the grid of t (columns) and r (rows), one from the left of each row and one from the top of each column.
 *
 *   in a cell two strands meet. They cross, unless the tokens are equal or the two have crossed before: then they turn.
 *   LCS(t[i, j), r) = (j - i) - number of strands that start at the top of a column >= i and leave below one < j
 *
 * The strands are numbered from the left's lowest row up and then along the top; two have crossed before exactly when the
 * one coming from the left has the greater number. The count for a window of fixed width slides along t in constant time.
 *
 * A cheap bound spares most of it: a window cannot hold more of r than the tokens that both have, counted with
 * repetition. `overlapExceeds` looks only at stretches of t where that bound exceeds the threshold; for a reference about
 * something else there are none.
 */
import { Memory3Error } from '../../errors.ts';

/** Token ids. */
export type Tokens = ArrayLike<number>;

/**
 * The overlap of a text with a reference, 0 to 1.
 * @throws Memory3Error "usage" if the reference has no token.
 * @example overlap([1, 2, 9, 3, 4], [1, 2, 3, 5]) // 3/4
 */
export function overlap(text: Tokens, reference: Tokens): number {
  checkReference(reference);
  return longestInWindow(text, 0, text.length, reference) / reference.length;
}

/**
 * Whether `overlap(text, reference) > threshold`, mostly without computing it.
 * @throws Memory3Error "usage" if the reference has no token.
 */
export function overlapExceeds(text: Tokens, reference: Tokens, threshold: number): boolean {
  checkReference(reference);
  const enough = (matched: number) => matched / reference.length > threshold;
  for (const [start, end] of promisingStretches(text, reference, enough)) {
    if (enough(longestInWindow(text, start, end, reference))) return true;
  }
  return false;
}

function checkReference(reference: Tokens): void {
  if (reference.length === 0)
    throw new Memory3Error('usage', 'The overlap with a reference without tokens is undefined.');
}

/** Greatest LCS of `reference` and a window, 2 |reference| wide, of `text[start, end)`. */
function longestInWindow(text: Tokens, start: number, end: number, reference: Tokens): number {
  const columns = end - start;
  const width = Math.min(columns, 2 * reference.length);
  const starts = strandStarts(text, start, end, reference);
  /** Where the strand from each column's top leaves below; beyond all columns if it leaves at the right. */
  const leaves = new Int32Array(columns).fill(columns);
  for (let column = 0; column < columns; column++) {
    const from = starts[column] as number;
    if (from >= 0) leaves[from] = column;
  }
  /** Strands that start and leave inside the window. */
  let inside = 0;
  for (let column = 0; column < width; column++) if ((starts[column] as number) >= 0) inside++;
  let fewest = inside;
  for (let first = 1; first + width <= columns; first++) {
    if ((leaves[first - 1] as number) < first - 1 + width) inside--;
    if ((starts[first + width - 1] as number) >= first) inside++;
    if (inside < fewest) fewest = inside;
  }
  return width - fewest;
}

/** For each column of `text[start, end)` the column at whose top the strand that leaves below it starts; negative: a row. */
function strandStarts(text: Tokens, start: number, end: number, reference: Tokens): Int32Array {
  const rows = reference.length;
  const columns = end - start;
  const tokens = Int32Array.from({ length: columns }, (_, column) => text[start + column] as number);
  const vertical = Int32Array.from({ length: columns }, (_, column) => rows + column);
  for (let row = 0; row < rows; row++) {
    const token = reference[row] as number;
    let horizontal = rows - 1 - row;
    for (let column = 0; column < columns; column++) {
      const other = vertical[column] as number;
      if (tokens[column] === token || horizontal > other) {
        vertical[column] = horizontal;
        horizontal = other;
      }
    }
  }
  for (let column = 0; column < columns; column++) vertical[column] = (vertical[column] as number) - rows;
  return vertical;
}

/**
 * Stretches `[start, end)` of the text that hold every window in which enough tokens of the reference occur, order aside.
 * Windows that overlap are joined.
 */
function* promisingStretches(
  text: Tokens,
  reference: Tokens,
  enough: (matched: number) => boolean,
): Generator<readonly [start: number, end: number], void> {
  const width = Math.min(text.length, 2 * reference.length);
  /** Occurrences in the reference less those in the window; tokens that the reference lacks are not in it. */
  const missing = new Map<number, number>();
  for (let i = 0; i < reference.length; i++) {
    const token = reference[i] as number;
    missing.set(token, (missing.get(token) ?? 0) + 1);
  }
  let shared = 0;
  let stretch: [start: number, end: number] | null = null;
  for (let end = 1; end <= text.length; end++) {
    const entering = text[end - 1] as number;
    const lacked = missing.get(entering);
    if (lacked !== undefined) {
      if (lacked > 0) shared++;
      missing.set(entering, lacked - 1);
    }
    if (end > width) {
      const leaving = text[end - width - 1] as number;
      const kept = missing.get(leaving);
      if (kept !== undefined) {
        if (kept >= 0) shared--;
        missing.set(leaving, kept + 1);
      }
    }
    if (end < width || !enough(shared)) continue;
    const first = end - width;
    if (stretch !== null && first <= stretch[1]) stretch[1] = end;
    else {
      if (stretch !== null) yield stretch;
      stretch = [first, end];
    }
  }
  if (stretch !== null) yield stretch;
}
