/**
 * Questions that a text asks by itself: a sentence of it with a gap where a name or a number stood, which is the answer
 * (salient spans, as REALM masks them, arXiv 2002.08909). So every text has questions, and more of them than people asked;
 * a model that keeps few tokens of a text learns from them to keep what would be asked for.
 */

export interface Gap {
  /** The sentence, with "___" in the gap. */
  readonly sentence: string;
  readonly answer: string;
}

/** Words of a sentence around a gap, at most; more would not fit into a context. */
const wordsAround = 18;
const leastWords = 6;
const longestAnswer = 40;

const name = String.raw`\p{Lu}[\p{L}\p{M}\p{N}’'&-]*\p{L}`;
/** Names of several words, and whole numbers, not that of "1980s" or "28th"; an abbreviation's point stays outside. */
const salient = new RegExp(
  String.raw`${name}(?:\s+(?:(?:of|the|and|de|von|van|du)\s+)?${name})*|(?<![\p{L}\p{N}])\p{N}+(?:[.,:]\p{N}+)*(?![\p{L}\p{N}])(?:\s?%)?`,
  'gu',
);

/**
 * Every gap of a text, sentence by sentence.
 * @example gapsOf('It was built in 1887 by the brothers Lee, of stone.')
 * // [{ sentence: 'It was built in ___ by the brothers Lee, of stone.', answer: '1887' }, ...]
 */
export function gapsOf(text: string): Gap[] {
  const segmenter = new Intl.Segmenter('en', { granularity: 'sentence' });
  // Lines end anywhere.
  const flowing = text.trim().replaceAll(/\s+/g, ' ');
  return [...segmenter.segment(flowing)].flatMap(({ segment }) => gapsOfSentence(segment.trim()));
}

function gapsOfSentence(sentence: string): Gap[] {
  if (sentence.split(' ').length < leastWords) return [];
  return [...sentence.matchAll(salient)].flatMap(({ 0: matched, index }) => {
    const answer = matched.trimEnd();
    // A sentence begins with a capital letter, whatever it begins with.
    if (index === 0 || answer.length > longestAnswer) return [];
    const [before, after] = [sentence.slice(0, index), sentence.slice(index + answer.length)];
    // What stands elsewhere in the sentence gives itself away.
    if (before.includes(answer) || after.includes(answer)) return [];
    return [{ sentence: shorten(before, after), answer }];
  });
}

/** The words that stand nearest to the gap. */
function shorten(before: string, after: string): string {
  const left = before
    .split(' ')
    .slice(-wordsAround - 1)
    .join(' ');
  const right = after
    .split(' ')
    .slice(0, wordsAround + 1)
    .join(' ');
  return `${left}___${right}`;
}
