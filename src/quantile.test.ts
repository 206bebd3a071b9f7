import assert from 'node:assert/strict';
import { it } from 'node:test';
import { median, quantile } from './quantile.ts';

it('quantiles lie between the nearest ranks; the median of an even number is the mean of the two in the middle', () => {
  assert.deepEqual([median([3, 1, 2]), median([4, 1, 3, 2]), median([7]), median([])], [2, 2.5, 7, Number.NaN]);
  const values = [10, 0, 30, 20];
  assert.deepEqual([quantile(values, 0), quantile(values, 1), quantile(values, 0.9)], [0, 30, 27]);
  assert.deepEqual(values, [10, 0, 30, 20]);
});
