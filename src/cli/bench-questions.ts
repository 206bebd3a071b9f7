/** Flags that say which questions are measured with, for the commands that measure quality. */
import { basename } from 'node:path';
import { type Command, Option } from 'commander';
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import { readSplitQuestions } from '../evaluate/held-out-questions.ts';
import type { QualitySet } from '../evaluate/quality.ts';
import { type QuestionOptions, type QuestionSet, readQuestions } from '../evaluate/questions.ts';
import { seededRandom } from '../generate/sampling.ts';
import type { OpenedModel } from '../generate/workspace.ts';
import { longestBody } from '../memory/profile.ts';
import { heldOutSets } from '../train/conversion/examples.ts';
import { type QuestionSetName, questionSets } from '../train/conversion/question-sets.ts';
import { number } from './options.ts';
import type { Terminal } from './terminal.ts';

export interface QuestionFlags {
  readonly contexts?: string;
  readonly questions?: string;
  readonly data?: string;
  readonly heldOut?: boolean;
  readonly sets: string;
  readonly limit: number;
  readonly seed: number;
}

/** Flags that name questions otherwise than --data does. */
const files = ['contexts', 'questions'];

export function addQuestionFlags(command: Command): Command {
  return command
    .option('--contexts <file>', 'JSON Lines with context_id and text, plain or gzip')
    .option('--questions <file>', 'JSON Lines with context_id, question, answers and answer_starts')
    .option('--data <folder>', 'data sets of the conversion, instead of two files')
    .addOption(
      new Option('--held-out', 'of --data, only what took no part in training (without it, only what did)').conflicts(
        files,
      ),
    )
    .addOption(
      new Option('--sets <names>', `of --data, with spaces between them: ${questionSets.join(' ')}`)
        .default(heldOutSets.join(' '))
        .conflicts(files),
    )
    .addOption(number('--limit <n>', 'questions of each set', z.int().min(1)).default(100))
    .addOption(number('--seed <n>', 'orders the questions', z.int().min(0).max(0xffff_ffff)).default(0));
}

/**
 * The questions that the flags name; says how many were left out.
 * @param distractors other references beside each question's own
 */
export function readQuestionSets(
  flags: QuestionFlags,
  { tokenizer, profile }: OpenedModel,
  distractors: number,
  terminal: Terminal,
): QualitySet[] {
  const options = (): QuestionOptions => ({
    limit: flags.limit,
    distractors,
    random: seededRandom(flags.seed),
    maxTokens: longestBody(profile),
  });
  const named = (name: string, { items, cut, unanswerable }: QuestionSet): QualitySet => {
    terminal.notice(
      `${name}: ${items.length} questions; left out: ${cut} whose answer is cut, ${unanswerable} without an answer`,
    );
    return { name, items };
  };
  const { contexts, questions, data } = flags;
  if (data !== undefined && contexts === undefined && questions === undefined) {
    const split = flags.heldOut === true ? 'held-out' : 'training';
    return wordsOf(flags.sets).map((set) =>
      named(set, readSplitQuestions(data, knownSet(set), split, tokenizer, options())),
    );
  }
  if (data === undefined && contexts !== undefined && questions !== undefined) {
    return [named(basename(questions), readQuestions(contexts, questions, tokenizer, options()))];
  }
  throw new Memory3Error('usage', 'Questions come from either --data or both --contexts and --questions.');
}

/** Words of a flag that takes several. */
export function wordsOf(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

function knownSet(name: string): QuestionSetName {
  const set = questionSets.find((one) => one === name);
  if (set !== undefined) return set;
  throw new Memory3Error('usage', `There is no data set "${name}"; there are ${questionSets.join(', ')}.`);
}
