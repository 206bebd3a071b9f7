import assert from 'node:assert/strict';
import { test } from 'node:test';
import { divergenceSchema, judge, noLosses } from './divergence.ts';

const rule = divergenceSchema.parse({ window: 4 });

/** @returns the fault of each loss. */
function faultsOf(losses: readonly number[]): (string | null)[] {
  let history = noLosses;
  return losses.map((loss) => {
    const judged = judge(history, { loss, gradientNorm: 1 }, rule);
    history = judged.history;
    return judged.fault;
  });
}

test('what is not finite is a fault at once', () => {
  assert.match(String(judge(noLosses, { loss: Number.NaN, gradientNorm: 1 }, rule).fault), /loss is NaN/);
  assert.match(
    String(judge(noLosses, { loss: 1, gradientNorm: Number.POSITIVE_INFINITY }, rule).fault),
    /gradient's norm is Infinity/,
  );
});

test('three losses in a row above twice the median and one are a fault, two are not', () => {
  assert.deepEqual(faultsOf([2, 2, 2, 9, 9, 2, 9, 9, 4.9, 5]), Array(10).fill(null));
  const faults = faultsOf([2, 2, 2, 9, 9, 9]);
  assert.deepEqual(faults.slice(0, 5), Array(5).fill(null));
  assert.equal(faults[5], 'the loss is 9.000 where its median was 2.000, for 3 steps');
});

test('the median follows the latest losses only', () => {
  const falling = [10, 10, 10, 10, 1, 1, 1, 1];
  assert.equal(faultsOf([...falling, 4, 4, 4]).at(-1), 'the loss is 4.000 where its median was 1.000, for 3 steps');
});
