/** Questions of the data sets that took no part in training (`train/conversion/held-out.ts`), with distractors. */
import { Memory3Error } from '../errors.ts';
import type { Random } from '../generate/sampling.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { type PassageExample, readExamples, type Split } from '../train/conversion/examples.ts';
import type { QuestionSetName } from '../train/conversion/question-sets.ts';
import { shuffle } from '../train/draw.ts';
import { qualityBatch } from './quality.ts';
import type { QuestionOptions, QuestionSet } from './questions.ts';

/**
 * Reads questions of one data set in an order of its own.
 *
 * Distractors are references of the questions that are read in the same batch, as long as those are of enough passages:
 * each is then written once for the whole batch.
 *
 * @param folder where the data sets' folders are
 * @throws Memory3Error "usage" if there are fewer passages than references; "not-found" or "damaged", naming file and line.
 */
export function readSplitQuestions(
  folder: string,
  set: QuestionSetName,
  split: Split,
  tokenizer: Tokenizer,
  options: QuestionOptions,
): QuestionSet {
  const { limit, distractors, random, maxTokens } = options;
  const read = readExamples(folder, set, tokenizer, { maxTokens, split });
  const chosen = shuffle(read.examples, random).slice(0, limit);
  const items = chosen.map((example, index) => {
    const start = index - (index % qualityBatch);
    const near = chosen.slice(start, start + qualityBatch);
    const others = otherReferences(near, example, distractors, random);
    const enough = others.length < distractors ? otherReferences(read.examples, example, distractors, random) : others;
    if (enough.length < distractors) {
      throw new Memory3Error(
        'usage',
        `${set} has only ${enough.length + 1} passages, not one and ${distractors} more.`,
      );
    }
    return { question: example.question, answers: example.answers, references: [example.reference, ...enough] };
  });
  return { items, cut: read.cut, unanswerable: read.unanswerable };
}

/** Up to `count` distinct references that are not the example's own. */
function otherReferences(from: readonly PassageExample[], own: PassageExample, count: number, random: Random) {
  const others = new Map(from.map(({ reference }) => [reference.text, reference]));
  others.delete(own.reference.text);
  return shuffle([...others.values()], random).slice(0, count);
}
