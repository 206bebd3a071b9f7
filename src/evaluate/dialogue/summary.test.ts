/** Means and differences of a few scores, by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Difference } from '../eval/summary.ts';
import type { DialogueQuestion } from './questions.ts';
import type { AnswerRecord, JudgementRecord, TurnRecord } from './records.ts';
import { type DialogueCell, summariseDialogues } from './summary.ts';
import { describeDifference } from './words.ts';

const question = (id: string, category: DialogueQuestion['category']): DialogueQuestion => ({
  id,
  category,
  turns: [{ text: `${id}?` }, { text: `${id} again?` }],
});
const questions = [...'abcdef'].map((id, index) => question(id, index < 2 ? 'stem' : 'writing'));
const answered: TurnRecord = { answer: 'x', references: [], leftOut: 1, cut: true };
const missing: TurnRecord = { answer: null, references: [], leftOut: 0, cut: false };

/** Two scores for each question; null: it did not fit. */
function recordsOf(mode: string, scores: readonly (readonly [number, number | null])[]) {
  const answers = scores.map(
    ([, second], index): AnswerRecord => ({
      mode,
      id: questions[index]?.id as string,
      turns: [answered, second === null ? missing : answered],
    }),
  );
  const judgements = scores.flatMap(([first, second], index): JudgementRecord[] => {
    const one = { mode, id: questions[index]?.id as string, reply: '', model: null };
    return [
      { ...one, turn: 1, score: first },
      ...(second === null ? [] : [{ ...one, turn: 2 as const, score: second }]),
    ];
  });
  return { answers, judgements };
}

const none = recordsOf('none', [
  [1, 3],
  [3, 5],
  [2, 2],
  [4, 4],
  [6, 2],
  [2, 8],
]);
const memory = recordsOf('memory:5', [
  [3, 5],
  [5, 7],
  [4, 5],
  [6, 6],
  [8, null],
  [4, 9],
]);
const cells = summariseDialogues(
  questions,
  ['none', 'memory:5'],
  [...none.answers, ...memory.answers],
  [...none.judgements, ...memory.judgements],
);
const cell = (category: DialogueCell['category'], turn: DialogueCell['turn'], mode: string) =>
  cells.find((one) => one.category === category && one.turn === turn && one.mode === mode) as DialogueCell;

test('a cell for everything and each category that has questions, in their order', () => {
  assert.deepEqual([...new Set(cells.map(({ category }) => category))], ['all', 'writing', 'stem']);
  assert.equal(cells.length, 3 * 3 * 2);
});

test('turns are scored by themselves, both as the mean of a question', () => {
  assert.equal(cell('all', 1, 'none').value, 18 / 6);
  assert.equal(cell('all', 2, 'none').value, 24 / 6);
  assert.equal(cell('all', 'both', 'none').value, 42 / 12);
  assert.equal(cell('stem', 1, 'memory:5').value, 4);
  assert.equal(cell('writing', 2, 'memory:5').value, 20 / 3);
  const { low, value, high } = cell('all', 1, 'none');
  assert.ok(low < value && value < high && low >= 1 && high <= 6);
});

test('a turn that did not fit is counted, and its question has no mean of both', () => {
  const both = cell('all', 'both', 'memory:5');
  assert.deepEqual([both.items, both.tooLong, both.cut, both.leftOut], [5, 1, 11, 11]);
  assert.equal(both.value, (4 + 6 + 4.5 + 6 + 6.5) / 5);
  assert.deepEqual([cell('all', 1, 'memory:5').items, cell('all', 2, 'memory:5').items], [6, 5]);
});

test('differences are of the questions that both have; few of them are never more than noise', () => {
  const [difference] = cell('all', 1, 'memory:5').differences;
  assert.deepEqual(difference, { to: 'none', value: 2, low: 2, high: 2, items: 6, noise: false });
  const [second] = cell('all', 2, 'memory:5').differences;
  assert.equal(second?.value, (2 + 2 + 3 + 2 + 1) / 5);
  assert.deepEqual([second?.items, second?.noise], [5, true]);
  assert.equal(cell('stem', 1, 'memory:5').differences[0]?.noise, true);
  assert.deepEqual(cell('all', 1, 'none').differences, []);
});

test('a difference of no question is none, in words too', () => {
  const both = summariseDialogues(questions, ['none', 'memory:5'], none.answers, none.judgements).at(-1);
  assert.deepEqual(both?.differences.map(describeDifference), ['no question in common with none']);
  assert.match(
    describeDifference(cell('all', 1, 'memory:5').differences[0] as Difference),
    /^better than none: \+2\.00/,
  );
});
