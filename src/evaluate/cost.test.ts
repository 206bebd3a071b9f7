import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  answerFlops,
  type CheapestRange,
  type CostShape,
  cheapestFormats,
  type KnowledgeCosts,
  knowledgeCosts,
  memoryShape,
  paperModel,
  readingFlops,
} from './cost.ts';

/** Equal in the digits that are printed. */
function assertPrinted(value: number, printed: string): void {
  const digits = printed.replace('.', '').replace(/^0+/, '').length;
  assert.equal(Number(value.toPrecision(digits)), Number(printed));
}

test('the 2.4B model costs what the paper prints (Appendix A)', () => {
  const costs = knowledgeCosts(paperModel.shape, paperModel.memory);
  assertPrinted(costs.implicit.write / 1e12, '2.24');
  assert.equal(costs.implicit.read, 0);
  assertPrinted(costs.explicit.write / 1e12, '0.308');
  assertPrinted(costs.explicit.read / 1e12, '0.000144');
  assert.equal(costs.external.write, 0);
  assertPrinted(costs.external.read / 1e12, '0.624');

  const ranges = cheapestFormats(costs);
  assert.deepEqual(
    ranges.map(({ format }) => format),
    ['external', 'explicit', 'implicit'],
  );
  const { from, to } = ranges[1] as CheapestRange;
  assertPrinted(from, '0.494');
  assert.equal(Number(to?.toPrecision(3)), 13_400);
  assert.equal(ranges[0]?.to, ranges[1]?.from);
  assert.equal(ranges[2]?.to, null);
});

test('five memories of the 2.4B model are 0.228 % of the computation (Remark 8), with 128 tokens in and 128 out', () => {
  const { shape, memory } = paperModel;
  const without = readingFlops(shape, { tokens: 256, memory: null });
  const reading = readingFlops(shape, { tokens: 256, memory: { shape: memory, memories: 5 } });
  assertPrinted((reading / without - 1) * 100, '0.228');
});

/** Attention is narrower than the hidden vectors, the MLP wider, and memory layers are two of the upper ones. */
const shape: CostShape = {
  layers: 4,
  hiddenSize: 10,
  heads: 2,
  kvHeads: 1,
  headDim: 3,
  mlpSize: 7,
  vocabularySize: 11,
};
const header = [1, 2] as [number, number];

test('a model of another shape, by hand', () => {
  const memory = memoryShape({ layers: [1, 2], keptTokens: 5, scoring: 'received', header });
  const costs = knowledgeCosts(shape, memory, 200);
  const projections = 10 * 6 + 10 * 3 + 10 * 3 + 6 * 10;
  const mlp = 3 * 10 * 7;
  assert.equal(costs.implicit.write, 6 * (4 * (128 * (projections + mlp) + 2 * 128 * 100 * 6) + 128 * 11 * 10));
  // Layers 0 to 2 run, the MLP of the last of them does not.
  const forward = 3 * (128 * projections + 2 * 128 * 64 * 6) + 2 * 128 * mlp;
  assert.equal(costs.explicit.write, 2 * (forward + 2 * 128 * 128 * 6));
  assert.equal(costs.explicit.read, 2 * 2 * (2 * 64 * 5 * 6));
  assert.equal(costs.external.read, 2 * (4 * (128 * projections + 2 * 128 * 128 * 6) + 3 * 128 * mlp));
  for (const scoring of ['random', 'summary'] as const) {
    assert.equal(
      knowledgeCosts(shape, { ...memory, ...memoryShape({ ...memory, scoring, header }) }).explicit.write,
      2 * forward,
    );
  }
  const all = memoryShape({ layers: [1, 2], keptTokens: 'all', scoring: 'received', header });
  assert.equal(all.keptTokens, 126);
  assert.equal(knowledgeCosts(shape, all).explicit.write, 2 * forward);
  const twice = memoryShape({ layers: [1, 2], keptTokens: 5, scoring: 'reconstruction', header });
  assert.equal(
    knowledgeCosts(shape, twice).explicit.write,
    2 * (3 * (256 * projections + 2 * 256 * 128 * 6) + 2 * 256 * mlp),
  );
});

test('an answer reads its prompt and all but its last token, and has logits for each new one', () => {
  assert.equal(
    answerFlops(shape, { promptTokens: 5, newTokens: 3, memory: null }),
    readingFlops(shape, { tokens: 7, memory: null }) + 2 * 3 * 11 * 10,
  );
  const memory = memoryShape({ layers: [1, 2], keptTokens: 5, scoring: 'received', header });
  const more =
    readingFlops(shape, { tokens: 64, memory: { shape: memory, memories: 3 } }) -
    readingFlops(shape, { tokens: 64, memory: null });
  assert.equal(more, 3 * knowledgeCosts(shape, memory).explicit.read);
});

test('the cheapest formats are the lower envelope, with a format that never wins left out', () => {
  const costs = (explicit: number): KnowledgeCosts => ({
    implicit: { write: 100, read: 0 },
    explicit: { write: explicit, read: 1 },
    external: { write: 0, read: 10 },
  });
  assert.deepEqual(cheapestFormats(costs(9)), [
    { format: 'external', from: 0, to: 1 },
    { format: 'explicit', from: 1, to: 91 },
    { format: 'implicit', from: 91, to: null },
  ]);
  assert.deepEqual(cheapestFormats(costs(99)), [
    { format: 'external', from: 0, to: 10 },
    { format: 'implicit', from: 10, to: null },
  ]);
  // Where all three meet in one point the middle one is cheapest nowhere.
  assert.deepEqual(cheapestFormats(costs(90)), cheapestFormats(costs(99)));
  const { explicit, external } = costs(9);
  assert.deepEqual(cheapestFormats({ external, explicit }).at(-1), { format: 'explicit', from: 1, to: null });
  assert.deepEqual(cheapestFormats({ external, explicit: { write: 1, read: 11 } }), [
    { format: 'external', from: 0, to: null },
  ]);
});
