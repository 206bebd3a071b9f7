import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TrainingContext } from './group.ts';
import { likeLengths, shareBeginnings } from './training.ts';

const contextOf = (given: readonly number[], target: readonly number[]): TrainingContext => ({
  kind: 'question',
  tokens: [...given, ...target],
  weights: [...given.map(() => 0), ...target.map(() => 1 / target.length)],
  references: [],
});

describe('contexts with references in the prompt', () => {
  const five = [1, 2, 3, 4, 5, 6, 7, 8];
  const contexts = [
    contextOf([...five, 20, 21], [30]),
    contextOf([1, 2, 40], [41, 42]),
    contextOf([...five, 22], [31, 32]),
    contextOf([50], [51]),
    contextOf([...five, 20, 21], [30]),
  ];

  it('that begin alike are read behind one beginning; nothing is lost', () => {
    const sequences = shareBeginnings(contexts);
    const together = sequences.find(({ shared }) => shared !== undefined);
    assert.deepEqual(together, {
      tokens: [...five, 20, 21, 30, 20, 21, 30, 22, 31, 32],
      weights: [...five.map(() => 0), 0, 0, 1, 0, 0, 1, 0, 0.5, 0.5],
      samples: [...five.map(() => 0), 0, 0, 0, 1, 1, 1, 2, 2, 2],
      chunks: [[]],
      shared: 8,
    });
    const alone = sequences.filter(({ shared }) => shared === undefined);
    assert.deepEqual(
      alone.map(({ tokens }) => tokens),
      [
        [1, 2, 40, 41, 42],
        [50, 51],
      ],
    );
  });

  it('never share what is to be predicted', () => {
    const [only] = shareBeginnings([contextOf(five, [9, 10]), contextOf(five, [9, 10])]);
    assert.deepEqual(only?.tokens, [...five, 9, 10, 9, 10]);
    assert.deepEqual(only?.weights.slice(8), [0.5, 0.5, 0.5, 0.5]);
  });
});

describe('sequences of one pass', () => {
  const sequences = [12, 100, 40, 90, 11, 76, 39, 74, 10].map((length) => ({
    tokens: new Array<number>(length).fill(1),
  }));
  const lengths = (passTokens: number) =>
    likeLengths(sequences, passTokens).map((pass) => pass.map(({ tokens }) => tokens.length));

  it('are of like lengths, so that little is padding', () => {
    assert.deepEqual(lengths(1000), [[100, 90, 76], [74], [40, 39], [12, 11, 10]]);
  });

  it('have no more tokens together than a pass takes, unless one alone has more', () => {
    assert.deepEqual(lengths(200), [
      [100, 90],
      [76, 74],
      [40, 39],
      [12, 11, 10],
    ]);
    assert.deepEqual(lengths(50), [[100], [90], [76], [74], [40], [39], [12, 11, 10]]);
  });
});
