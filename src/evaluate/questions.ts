/**
 * Questions with a passage each, as SQuAD has them, turned into questions with one reference each.
 *
 * Files are JSON Lines, plain or gzip: contexts {context_id, title, text}, questions {id, question, context_id, answers[],
 * answer_starts[]}. The reference of a question is the chunk of its passage that holds the first answer; a question whose
 * answer is cut by a chunk's end is left out and counted, as is one without an answer. Starts are in UTF-16 units.
 */
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import { readJsonLines } from '../json-lines.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { type Chunk, cutIntoChunks } from '../retrieval/chunks.ts';
import { pick, shuffle } from '../train/draw.ts';

const contextSchema = z.object({ context_id: z.union([z.string(), z.number()]), text: z.string().min(1) });
const questionSchema = z.object({
  id: z.union([z.string(), z.number()]),
  question: z.string().min(1),
  context_id: z.union([z.string(), z.number()]),
  answers: z.array(z.string()),
  answer_starts: z.array(z.int().nonnegative()),
});

export interface QuestionItem {
  readonly question: string;
  /** All right answers; the first is the target of the likelihood. */
  readonly answers: readonly [string, ...string[]];
  /** The chunk that holds the first answer, then the distractors. */
  readonly references: readonly Chunk[];
}

export interface QuestionSet {
  readonly items: readonly QuestionItem[];
  /** Questions left out because their first answer does not lie in one chunk. */
  readonly cut: number;
  /** Questions left out because they have no answer. */
  readonly unanswerable: number;
}

export interface QuestionOptions {
  readonly limit: number;
  /** Chunks of other passages that are recalled beside the right one. */
  readonly distractors: number;
  /** Orders questions and draws distractors. */
  readonly random: () => number;
  /** Longest body of a reference, in tokens. */
  readonly maxTokens: number;
}

/**
 * Reads questions and cuts their references.
 * @throws Memory3Error "not-found" or "damaged", naming file and line or question; "usage" if there are too few other
 *   references.
 */
export function readQuestions(
  contextsFile: string,
  questionsFile: string,
  tokenizer: Tokenizer,
  options: QuestionOptions,
): QuestionSet {
  const contexts = new Map(
    readJsonLines(contextsFile, contextSchema).map(({ context_id, text }) => [context_id, text]),
  );
  const questions = shuffle(readJsonLines(questionsFile, questionSchema), options.random);
  const chunksOf = new Map<string | number, Chunk[]>();
  const cutContext = (id: string | number) => {
    const text = contexts.get(id);
    if (text === undefined) {
      throw new Memory3Error('damaged', `${questionsFile} asks about context ${id}, which ${contextsFile} lacks.`);
    }
    const chunks = chunksOf.get(id) ?? [...cutIntoChunks(text, tokenizer, options)];
    chunksOf.set(id, chunks);
    return chunks;
  };
  const contextIds = [...contexts.keys()];
  const items: QuestionItem[] = [];
  let cut = 0;
  let unanswerable = 0;
  for (const { id, question, context_id, answers, answer_starts } of questions) {
    if (items.length === options.limit) break;
    const [answer, start] = [answers[0], answer_starts[0]];
    if (answer === undefined || start === undefined) {
      unanswerable++;
      continue;
    }
    const chunks = cutContext(context_id);
    if (contexts.get(context_id)?.startsWith(answer, start) !== true) {
      throw new Memory3Error(
        'damaged',
        `${questionsFile}: the first answer of question ${id} does not stand at ${start} in context ${context_id}.`,
        { remedy: 'Starts are counted in UTF-16 units.' },
      );
    }
    const holder = chunks.find((chunk) => chunk.start <= start && start + answer.length <= chunk.end);
    if (holder === undefined) {
      cut++;
      continue;
    }
    const others = contextIds.filter((other) => other !== context_id);
    const references = [holder, ...drawDistractors(holder, others, cutContext, options)];
    if (references.length <= options.distractors) {
      throw new Memory3Error(
        'usage',
        `${contextsFile} has only ${references.length - 1} references of other passages, not ${options.distractors}.`,
        { remedy: 'Give it more passages, or ask for fewer distractors.' },
      );
    }
    items.push({ question, answers: answers as [string, ...string[]], references });
  }
  return { items, cut, unanswerable };
}

/** Up to `distractors` chunks of other texts than each other's and `own`; one of each passage before a second of any. */
function drawDistractors<Id>(
  own: Chunk,
  passages: readonly Id[],
  chunksOf: (id: Id) => readonly Chunk[],
  { distractors, random }: QuestionOptions,
): Chunk[] {
  if (distractors === 0) return [];
  const drawn = new Map<string, Chunk>();
  // A passage that had nothing new will have nothing new.
  let passagesLeft = shuffle(passages, random);
  while (passagesLeft.length > 0) {
    const drawnFrom: Id[] = [];
    for (const id of passagesLeft) {
      if (drawn.size === distractors) return [...drawn.values()];
      const left = chunksOf(id).filter(({ text }) => text !== own.text && !drawn.has(text));
      if (left.length === 0) continue;
      const chunk = pick(left, random);
      drawn.set(chunk.text, chunk);
      drawnFrom.push(id);
    }
    passagesLeft = drawnFrom;
  }
  return [...drawn.values()];
}
