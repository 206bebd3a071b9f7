/**
 * Questions whose passage is one reference: what training draws from and what quality is measured on.
 *
 * The reference of a question is the chunk of its passage that holds the first answer; a question whose answer is cut by a
 * chunk's end is left out and counted. An answer that stands nowhere ("yes") needs a passage that is one chunk as a whole.
 */
import type { Tokenizer } from '../../model/tokenizer.ts';
import { type Chunk, cutIntoChunks } from '../../retrieval/chunks.ts';
import { isHeldOut } from './held-out.ts';
import { guardAgainst, type LeakageGuard } from './leakage.ts';
import { type PassageQuestion, type QuestionSetName, readQuestionSet } from './question-sets.ts';

export interface PassageExample {
  readonly set: QuestionSetName;
  /** Article or site, '' where there is none. */
  readonly title: string;
  /** The chunk that holds the first answer. */
  readonly reference: Chunk;
  readonly question: string;
  /** All right answers; the first is the target. */
  readonly answers: readonly [string, ...string[]];
}

/** Either what is trained on or what is measured on; never both. */
export type Split = 'training' | 'held-out';

export interface ExampleOptions {
  /** Longest body of a reference: 128 less the header's tokens. */
  readonly maxTokens: number;
  readonly split: Split;
  /** Passages that leak are left out and counted. */
  readonly guard?: LeakageGuard;
}

/** Examples of one data set, and how many questions were left out, by reason. */
export interface ExampleSet {
  readonly examples: readonly PassageExample[];
  /** The first answer does not lie in one chunk. */
  readonly cut: number;
  /** There is no answer, or (twice in cmrc2018) no question. */
  readonly unanswerable: number;
  /** The passage occurs in what is held out. */
  readonly leaking: number;
  /** What the form of the data set does not let be used, of both splits (`question-sets.ts`). */
  readonly others: Readonly<Record<string, number>>;
}

/**
 * Reads one data set of a folder of data sets.
 * @throws Memory3Error "not-found" or "damaged", naming file and line.
 * @example readExamples('data', 'squad-v1.1', tokenizer, { maxTokens: 124, split: 'held-out' }).examples
 */
export function readExamples(
  folder: string,
  set: QuestionSetName,
  tokenizer: Tokenizer,
  options: ExampleOptions,
): ExampleSet {
  const examples: PassageExample[] = [];
  const { questions, left: unusable } = readQuestionSet(folder, set);
  const { unanswerable = 0, ...others } = unusable;
  const left = { cut: 0, unanswerable, leaking: 0 };
  const passages = new Map<string, Passage>();
  const passageOf = (text: string): Passage => {
    const known = passages.get(text);
    if (known !== undefined) return known;
    const leaks = options.guard?.leaks(text) ?? false;
    const passage = { leaks, chunks: new Chunks(cutIntoChunks(text, tokenizer, options)) };
    passages.set(text, passage);
    return passage;
  };
  for (const row of questions) {
    if (isHeldOut(row) !== (options.split === 'held-out')) continue;
    const [target, ...alternatives] = row.answers;
    if (target === undefined || target === '' || row.question.trim() === '') {
      left.unanswerable++;
      continue;
    }
    if (row.start === null && row.passage.length > options.maxTokens * charactersPerToken) {
      left.cut++;
      continue;
    }
    const passage = passageOf(row.passage);
    const reference = passage.leaks ? undefined : chunkOf(passage.chunks, row);
    if (passage.leaks) left.leaking++;
    else if (reference === undefined) left.cut++;
    else {
      const { title, question } = row;
      examples.push({ set, title, question, answers: [target, ...alternatives], reference });
    }
  }
  return { examples, ...left, others };
}

/** No passage with more characters for a token is worth cutting to see whether it is one chunk. */
const charactersPerToken = 8;

interface Passage {
  readonly leaks: boolean;
  readonly chunks: Chunks;
}

/** Chunks that are cut only as far as somebody looks. */
class Chunks {
  readonly #source: Iterator<Chunk>;
  readonly #cut: Chunk[] = [];

  constructor(source: Iterator<Chunk>) {
    this.#source = source;
  }

  at(index: number): Chunk | undefined {
    while (this.#cut.length <= index) {
      const { done, value } = this.#source.next();
      if (done === true) return undefined;
      this.#cut.push(value);
    }
    return this.#cut[index];
  }
}

/** The chunk in which the first answer lies as a whole. */
function chunkOf(chunks: Chunks, { answers, start }: PassageQuestion): Chunk | undefined {
  if (start === null) return chunks.at(1) === undefined ? chunks.at(0) : undefined;
  const end = start + (answers[0] ?? '').length;
  for (let index = 0; ; index++) {
    const chunk = chunks.at(index);
    if (chunk === undefined || chunk.start > start) return undefined;
    if (end <= chunk.end) return chunk;
  }
}

/** The data sets of which a part is held out. */
export const heldOutSets = ['squad-v1.1', 'squad-v2.0', 'xquad-en', 'policyqa', 'nq_openbook_short'] as const;

/** A guard against every passage that is held out. */
export function heldOutGuard(folder: string): LeakageGuard {
  const rows = heldOutSets.flatMap((set) => readQuestionSet(folder, set).questions.filter(isHeldOut));
  return guardAgainst(new Set(rows.map(({ passage }) => passage)));
}
