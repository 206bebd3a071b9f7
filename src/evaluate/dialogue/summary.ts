/**
 * What the scores of dialogues come to: for each category and all together, the first turn, the second, and both (a
 * question's mean), in each mode: the mean with its 95 % interval, and the difference to every mode before it, over the
 * questions that both have, drawn again in pairs (bootstrap over questions).
 */
import { seededRandom } from '../../generate/sampling.ts';
import type { Difference } from '../eval/summary.ts';
import { bootstrap, type Interval, pairedDifference } from '../share.ts';
import type { Turn } from './judge-prompt.ts';
import { type Category, categories, type DialogueQuestion } from './questions.ts';
import type { AnswerRecord, JudgementRecord, TurnRecord } from './records.ts';

export const turns = [1, 2, 'both'] as const;

export interface DialogueCell extends Interval {
  readonly category: Category | 'all';
  readonly turn: (typeof turns)[number];
  readonly mode: string;
  /** Questions that have a score. */
  readonly items: number;
  /** Answers that were not measured because the dialogue had become too long. */
  readonly tooLong: number;
  /** Answers that were cut off at the limit of tokens. */
  readonly cut: number;
  /** References that were left out because they overlap their question. */
  readonly leftOut: number;
  readonly differences: readonly Difference[];
}

/** Cells in the order of categories (all of them first), turns and modes. */
export function summariseDialogues(
  questions: readonly DialogueQuestion[],
  modes: readonly string[],
  answers: readonly AnswerRecord[],
  judgements: readonly JudgementRecord[],
): DialogueCell[] {
  const scores = new Map(judgements.map(({ mode, id, turn, score }) => [keyOf(mode, id, turn), score]));
  const given = new Map(answers.map(({ mode, id, turns: ofQuestion }) => [keyOf(mode, id), ofQuestion]));
  const present = categories.filter((one) => questions.some(({ category }) => category === one));
  return (['all', ...present] as const).flatMap((category) => {
    const ids = questions.filter((one) => category === 'all' || one.category === category).map(({ id }) => id);
    return turns.flatMap((turn) => {
      const scoresIn = (mode: string) => scoresOf(ids, turn, (id, one) => scores.get(keyOf(mode, id, one)));
      return modes.map((mode, index): DialogueCell => {
        const own = scoresIn(mode);
        const ofMode = ids.flatMap((id) => turnsOf(given.get(keyOf(mode, id)), turn));
        return {
          category,
          turn,
          mode,
          ...meanOf([...own.values()]),
          items: own.size,
          tooLong: ofMode.filter(({ answer }) => answer === null).length,
          cut: ofMode.filter(({ cut }) => cut).length,
          leftOut: ofMode.reduce((sum, { leftOut }) => sum + leftOut, 0),
          differences: modes.slice(0, index).map((to) => ({
            to,
            ...pairedDifference(own, scoresIn(to), seededRandom(0)),
          })),
        };
      });
    });
  });
}

function keyOf(...parts: readonly (string | number)[]): string {
  return parts.join(' ');
}

/** Of the questions that have scores in all the turns that count. */
function scoresOf(
  ids: readonly string[],
  turn: DialogueCell['turn'],
  score: (id: string, turn: Turn) => number | undefined,
): Map<string, number> {
  const counted: readonly Turn[] = turn === 'both' ? [1, 2] : [turn];
  return new Map(
    ids.flatMap((id) => {
      const own = counted.map((one) => score(id, one)).filter((one) => one !== undefined);
      return own.length < counted.length ? [] : [[id, mean(own)] as const];
    }),
  );
}

function turnsOf(given: AnswerRecord['turns'] | undefined, turn: DialogueCell['turn']): readonly TurnRecord[] {
  if (given === undefined) return [];
  return turn === 'both' ? given : [given[turn - 1] as TurnRecord];
}

function meanOf(scores: readonly number[]): Interval {
  const of = (indices: readonly number[]) => mean(indices.map((index) => scores[index] as number));
  return { value: mean(scores), ...bootstrap(scores.length, of, seededRandom(0)) };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, one) => sum + one, 0) / values.length;
}
