/**
 * Words for the full-text index.
 *
 * FTS5's own tokenizer cuts at spaces and punctuation, so a Chinese sentence would be one word. Text and query are cut by
 * `Intl.Segmenter` instead and handed to FTS5 with spaces between the words; FTS5 then folds case and diacritics.
 *
 * The cost of a BM25 query is the number of rows that its words are in. Very common words cost most and say least, so a
 * query keeps its rarest words, as long as they are in at most `rowBudget` rows together.
 */

const segmenter = new Intl.Segmenter('und', { granularity: 'word' });

/** Rows that one query may touch: 1 to 2 µs each (docs/durability.md). */
export const rowBudget = 1500;

/** The words of a text in their order, as they stand. */
export function wordsOf(text: string): string[] {
  return Array.from(segmenter.segment(text))
    .filter((part) => part.isWordLike)
    .map((part) => part.segment);
}

/** A word as an FTS5 string: nothing in it is taken for an operator. */
export function quoted(word: string): string {
  return `"${word.replaceAll('"', '""')}"`;
}

/**
 * Chooses a query's words.
 * @param query any text
 * @param references number of references in the bank
 * @param rowsWith number of references that a word is in; may stop counting beyond `rowBudget`
 * @returns an FTS5 expression, or undefined if no word is left to search for
 */
export function wordQuery(query: string, references: number, rowsWith: (word: string) => number): string | undefined {
  const counted = [...new Set(wordsOf(query.toWellFormed().toLowerCase()))]
    .map((word) => ({ word, rows: rowsWith(word) }))
    .filter(({ rows }) => rows > 0)
    .sort((a, b) => a.rows - b.rows);
  const telling = counted.filter(({ rows }) => rows * 2 <= references);
  const kept: string[] = [];
  let rows = 0;
  for (const entry of telling.length > 0 ? telling : counted) {
    rows += entry.rows;
    if (rows > rowBudget) break;
    kept.push(quoted(entry.word));
  }
  return kept.length > 0 ? kept.join(' OR ') : undefined;
}
