/** Metrics and their intervals against small cases computed by hand. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { taskNamed } from '../tasks/all.ts';
import { answerScores, cellValue, choiceScores, extractedScores } from './metrics.ts';
import { mostRecalled, parseModes } from './modes.ts';
import type { ItemRecord } from './records.ts';
import { averagesOf, differenceOf, intervalOf, isBetter, summarise } from './summary.ts';

const near = (actual: number, expected: number) => assert.ok(Math.abs(actual - expected) < 1e-12, `${actual}`);
const ones = (scores: readonly number[]) => scores.map((score) => ({ score, weight: 1 }));

describe('scores of choices', () => {
  it('accuracy by likelihood, and by likelihood per character', () => {
    // "cd" -3 / 2 characters, "efghij" -6 / 6.
    const scores = choiceScores([-3, -6], [' cd', ' efghij'], [1]);
    assert.equal(scores.accuracy, 0);
    assert.equal(scores['normalised-accuracy'], 1);
    assert.equal(choiceScores([-3, -6], [' cd', ' efghij'], [0]).accuracy, 1);
    assert.equal(choiceScores([-1, -1], ['a', 'b'], [1]).accuracy, 0, 'of equals the first counts');
  });

  it("MC2: the true answers' share of the probability", () => {
    const log = Math.log;
    near(choiceScores([log(0.2), log(0.1), log(0.4), log(0.1)], ['a', 'b', 'c', 'd'], [0, 1]).mc2, 0.3 / 0.8);
    near(choiceScores([-2000, -2000 + log(3)], ['a', 'b'], [1]).mc2, 0.75);
    near(choiceScores([-5, -6], ['a', 'b'], [0, 1]).mc2, 1);
  });

  it('answers', () => {
    assert.deepEqual(answerScores('It is Ann Iron.', ['Ann Iron']), { exact: 0, f1: (2 * 2) / 6, contains: 1 });
  });

  it('numbers to the letter', () => {
    const scores = ['18', '1.8', '-18', ''].map((one) => extractedScores(one, ['18']).exact);
    assert.deepEqual(scores, [1, 0, 0, 0]);
  });
});

describe('cells', () => {
  it('mean, and perplexity weighted by tokens', () => {
    near(cellValue('accuracy', ones([1, 0, 0, 1])), 0.5);
    const texts = [
      { score: 1, weight: 1 },
      { score: 3, weight: 3 },
    ];
    near(cellValue('perplexity', texts), Math.exp(2.5));
  });

  it('paired: what is hard for both is no noise', () => {
    const own = ones([1, 2, 3, 9, 1, 2]);
    const better = own.map((one) => ({ ...one, score: one.score + 0.25 }));
    const difference = differenceOf('f1', [[better, own]], 1);
    for (const value of [difference.value, difference.low, difference.high]) near(value, 0.25);
    assert.equal(difference.noise, false);
    assert.ok(intervalOf('f1', own, 1).high - intervalOf('f1', own, 1).low > 1);
  });

  it('by hand: of two items one better, resamples give 0, 1/2 or 1, a quarter of them 0', () => {
    const pairs = [ones([1, 1]), ones([0, 1])];
    const expected = { value: 0.5, low: 0, high: 1, noise: true, items: 2 };
    assert.deepEqual(differenceOf('accuracy', [pairs], 1), expected);
    const few = differenceOf('accuracy', [[ones([1, 1, 1, 1, 1]), ones([0, 0, 0, 0, 0])]], 1);
    assert.deepEqual([few.low, few.noise], [1, true], 'five pairs tell nothing');
    assert.equal(isBetter('accuracy', { value: 0.5, noise: true }), null);
    assert.equal(isBetter('accuracy', { value: 0.5, noise: false }), true);
    assert.equal(isBetter('perplexity', { value: 0.5, noise: false }), false);
  });

  it('by hand: 90 of 100 items better by 1 and 10 worse: about 0.8 +- 1.96 * 0.06', () => {
    const own = Array.from({ length: 100 }, (_, index) => (index < 90 ? 1 : 0));
    const pairs = [ones(own), ones(own.map((score) => 1 - score))];
    const { value, low, high, noise } = differenceOf('accuracy', [pairs], 3);
    near(value, 0.8);
    assert.ok(Math.abs(low - (0.8 - 1.96 * 0.06)) < 0.03 && Math.abs(high - (0.8 + 1.96 * 0.06)) < 0.03);
    assert.equal(noise, false);
  });

  const record = (mode: string, id: string, exact: number | null, changes: Partial<ItemRecord> = {}): ItemRecord => ({
    task: 'gsm8k',
    mode,
    id,
    scores: exact === null ? {} : { exact },
    weight: 1,
    references: mode === 'none' ? [] : [1],
    leftOut: 0,
    held: null,
    tooLong: exact === null ? 2000 : null,
    ...changes,
  });

  it('compare over the items that both modes have', () => {
    const records = [
      record('none', 'a', 0),
      record('none', 'b', 1),
      record('none', 'c', 1),
      record('rag:2', 'a', 1, { leftOut: 2, held: true }),
      record('rag:2', 'b', 1, { references: [1, 2], held: false }),
      record('rag:2', 'c', null),
    ];
    const [none, rag] = summarise(records, [taskNamed('gsm8k')], parseModes('none,rag:2', 5), 0);
    assert.equal(none?.items, 3);
    near(none?.value ?? 0, 2 / 3);
    assert.deepEqual([rag?.value, rag?.items, rag?.tooLong, rag?.leftOut, rag?.short, rag?.held], [1, 2, 1, 2, 2, 1]);
    assert.deepEqual(
      rag?.differences.map(({ to, value, items, noise }) => [to, value, items, noise]),
      [['none', 0.5, 2, true]],
    );
  });

  it('by hand: each task counts the same in a mean, whatever its number of items', () => {
    const task = 'squad';
    const scored = (id: string, scores: ItemRecord['scores']) => [
      record('none', id, 0, { task, scores: { exact: 0, f1: 0 } }),
      record('rag:1', id, 0, { task, scores }),
    ];
    const records = [
      record('none', 'a', 0),
      record('none', 'b', 0),
      record('none', 'c', 0),
      record('rag:1', 'a', 1),
      record('rag:1', 'b', 1),
      record('rag:1', 'c', 1),
      ...scored('d', { exact: 0, f1: 0.5 }),
    ];
    const averages = averagesOf(records, ['gsm8k', 'squad'].map(taskNamed), parseModes('none,rag:1', 5), 0);
    assert.deepEqual(
      averages.map(({ metric, mode, value, low, high, items }) => [metric, mode, value, low, high, items]),
      [
        ['exact', 'none', 0, 0, 0, 4],
        ['exact', 'rag:1', 0.5, 0.5, 0.5, 4],
      ],
      'f1 and contains are of one task only',
    );
    assert.deepEqual(averages[1]?.tasks, ['gsm8k', 'squad']);
    assert.deepEqual(averages[1]?.differences, [
      { to: 'none', value: 0.5, low: 0.5, high: 0.5, noise: true, items: 4 },
    ]);
    assert.deepEqual(averagesOf(records, [taskNamed('gsm8k')], parseModes('none,rag:1', 5), 0), []);
    const unfinished = records.filter(({ id, mode }) => id !== 'd' || mode === 'none');
    assert.deepEqual(
      averagesOf(unfinished, ['gsm8k', 'squad'].map(taskNamed), parseModes('none,rag:1', 5), 0),
      [],
      'a task that a mode lacks is in no mean',
    );
  });
});

describe('modes', () => {
  it('by name, number of references and profile', () => {
    const modes = parseModes(
      'none, memory,rag:3,memory:2:kept=8:storage=f16,memory:kept=all,rag:gold,memory:gold:3',
      5,
    );
    assert.deepEqual(
      modes.map(({ name, references, profile }) => [name, references, profile]),
      [
        ['none', 0, {}],
        ['memory:5', 5, {}],
        ['rag:3', 3, {}],
        ['memory:2:kept=8:storage=f16', 2, { keptTokens: 8, storage: 'f16' }],
        ['memory:5:kept=all', 5, { keptTokens: 'all' }],
        ['rag:gold:5', 5, {}],
        ['memory:gold:3', 3, {}],
      ],
    );
    assert.deepEqual(
      modes.filter(({ gold }) => gold).map(({ name }) => name),
      ['rag:gold:5', 'memory:gold:3'],
    );
    assert.equal(mostRecalled(modes), 5);
    assert.equal(mostRecalled(parseModes('none,memory:gold:7,rag:2', 5)), 2);
    assert.equal(mostRecalled(parseModes('none,memory:gold', 5)), 0);
  });

  for (const wrong of [
    '',
    'none:1',
    'rags',
    'rag:0',
    'rag:x',
    'rag:3:kept=8',
    'memory:kept=0',
    'memory:storage=f8',
    'memory:kept=8:kept=16',
    'memory:storage=f16:storage=int8',
    'memory:kept=8=9',
    'none:gold',
    'rag:3:gold',
  ]) {
    it(`refuses "${wrong}"`, () => {
      assert.throws(() => parseModes(wrong, 5), { code: 'usage' });
    });
  }

  it('refuses one that is there twice', () => {
    assert.throws(() => parseModes('rag,rag:5', 5), { code: 'usage', message: /rag:5 is there twice/ });
  });
});
