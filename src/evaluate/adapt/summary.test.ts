import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type AnswerRecord, type Arm, arms, type Scores } from './records.ts';
import { isBetter, summariseArms, summariseTimes } from './summary.ts';
import { describeDifference, formatSeconds } from './words.ts';

const record = (id: string, arm: Arm, scores: Scores, held: boolean | null = null): AnswerRecord => ({
  ...{ domain: 'd', id, arm, scores, answer: '', references: [], held },
  ...{ promptTokens: 10 * Number(id), tooLong: Object.keys(scores).length === 0 },
});

const records = [1, 2, 3, 4, 5, 6].flatMap((i) => [
  record(`${i}`, 'before', { nats: i, exact: 0 }),
  record(`${i}`, 'memory', { nats: i - 0.5, exact: i % 2 }, i > 1),
  record(`${i}`, 'tuned', { nats: i + (i % 2 === 0 ? 0.25 : -0.25), exact: 0 }),
  record(`${i}`, 'rag', i === 6 ? {} : { nats: i - 0.75, exact: 1 }, i > 1),
]);
const bytes = { before: 0, memory: 30, tuned: 20, rag: 10 };

describe('a summary', () => {
  const summary = summariseArms(records, bytes, 1);
  const quality = (arm: Arm, metric: string) =>
    summary.find((one) => one.arm === arm)?.qualities.find((one) => one.metric === metric);

  it('has means of the questions that were measured, and what was kept and recalled', () => {
    assert.deepEqual(
      summary.map(({ arm, bytes: kept, promptTokens, held, tooLong }) => [arm, kept, promptTokens, held, tooLong]),
      [
        ['before', 0, 35, null, 0],
        ['memory', 30, 35, 5, 0],
        ['tuned', 20, 35, null, 0],
        ['rag', 10, 35, 5, 1],
      ],
    );
    assert.deepEqual(
      arms.map((arm) => [quality(arm, 'nats')?.value, quality(arm, 'nats')?.items]),
      [
        [3.5, 6],
        [3, 6],
        [3.5, 6],
        [2.25, 5],
      ],
    );
    assert.deepEqual(
      summary[0]?.qualities.map(({ metric }) => metric),
      ['nats', 'exact'],
    );
  });

  it('compares in pairs: a constant difference has no width, one that changes its sign or is of few questions is noise', () => {
    const [toBefore, toRag] = quality('memory', 'nats')?.differences ?? [];
    assert.deepEqual(toBefore, { to: 'before', value: -0.5, low: -0.5, high: -0.5, items: 6, noise: false });
    assert.deepEqual(toRag, { to: 'rag', value: 0.25, low: 0.25, high: 0.25, items: 5, noise: true });
    const tuned = quality('tuned', 'nats')?.differences[0];
    assert.equal(tuned?.value, 0);
    assert.equal(tuned?.noise, true);
    assert.deepEqual(
      quality('rag', 'nats')?.differences.map(({ to }) => to),
      ['before'],
    );
    assert.deepEqual(
      [isBetter('nats', { value: -1, noise: false }), isBetter('f1', { value: -1, noise: false })],
      [true, false],
    );
    assert.deepEqual(
      [toBefore, toRag].map((one) => describeDifference('nats', one as NonNullable<typeof one>)),
      ['better than before: -0.500 (-0.500 to -0.500)', 'within noise of RAG: +0.250 (+0.250 to +0.250)'],
    );
  });
});

describe('times', () => {
  it('are sums of parts; what was not reported goes like the rest; the later answer of a question counts', () => {
    const answer = (id: string, seconds: number) => ({ kind: 'answer', domain: 'd', id, arm: 'rag', seconds }) as const;
    const times = summariseTimes(
      [
        { kind: 'index', domain: 'd', references: 10, seconds: 1 },
        { kind: 'write', domain: 'd', references: 16, seconds: 8 },
        { kind: 'write', domain: 'd', references: 4, seconds: 2 },
        { kind: 'merge', domain: 'd', seconds: 3 },
        ...[answer('1', 99), answer('1', 1), answer('2', 2), answer('3', 3), answer('4', 4)],
      ],
      20,
      50,
    );
    assert.deepEqual(
      times.map(({ arm, adapt }) => [arm, adapt]),
      [
        ['before', 0],
        ['memory', 2 + 10],
        ['tuned', 53],
        ['rag', 2],
      ],
    );
    assert.deepEqual(times[3]?.answer, { median: 2.5, ninetieth: 3.7, items: 4 });
    assert.equal(times[0]?.answer, null);
    assert.equal(summariseTimes([], 5, 1)[1]?.adapt, null);
  });

  it('read well', () => {
    assert.deepEqual([0, 0.25, 12.34, 119.7, null].map(formatSeconds), [
      '0 s',
      '250 ms',
      '12.3 s',
      '2 min 0 s',
      'not measured',
    ]);
  });
});
