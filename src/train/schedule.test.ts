import assert from 'node:assert/strict';
import { test } from 'node:test';
import { learningRate, type ScheduleOptions, scheduleSchema } from './schedule.ts';

function ratesOf(options: ScheduleOptions, steps: number): number[] {
  const schedule = scheduleSchema.parse(options);
  return Array.from({ length: steps }, (_, index) => learningRate(schedule, index + 1, steps));
}

function assertClose(actual: readonly number[], expected: readonly number[]): void {
  assert.equal(actual.length, expected.length);
  for (const [index, value] of expected.entries()) {
    assert.ok(Math.abs((actual[index] as number) - value) < 1e-12, `step ${index + 1}: ${actual[index]}, not ${value}`);
  }
}

test('warmup-stable-decay rises in a line, stays, falls over its last tenth', () => {
  const flat = Array.from({ length: 14 }, () => 2);
  const rates = ratesOf({ kind: 'warmup-stable-decay', rate: 2, warmup: 4, decay: 3 }, 20);
  assertClose(rates, [0.5, 1, 1.5, 2, ...flat.slice(1), 1.5, 1, 0.5]);
  const defaults = ratesOf({ kind: 'warmup-stable-decay', rate: 1 }, 1000);
  assertClose(defaults.slice(0, 11), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1]);
  assert.equal(defaults.lastIndexOf(1), 899);
  assertClose(defaults.slice(-2), [2 / 101, 1 / 101]);
});

test('cosine: a tenth of warmup, half way down in the middle, its end in sight at the last step', () => {
  const rates = ratesOf({ kind: 'cosine', rate: 5e-5 }, 99);
  assert.equal(rates[9], 5e-5);
  assertClose([(rates[4] as number) / 5e-5, (rates[54] as number) / 5e-5], [0.5, 0.5]);
  assert.ok((rates[98] as number) > 0 && (rates[98] as number) < 5e-5 * 1e-3);
  for (let step = 10; step < 99; step++) assert.ok((rates[step] as number) < (rates[step - 1] as number));
});

test('linear falls to its end, constant does not fall, every rate of a short run is above zero', () => {
  assertClose(ratesOf({ kind: 'linear', rate: 1 }, 4), [0.8, 0.6, 0.4, 0.2]);
  assertClose(ratesOf({ kind: 'linear', rate: 1, end: 0.5 }, 1), [0.75]);
  assertClose(ratesOf({ kind: 'constant', rate: 3, warmup: 0.5 }, 4), [1.5, 3, 3, 3]);
  for (const kind of ['warmup-stable-decay', 'cosine', 'linear'] as const) {
    for (let steps = 1; steps < 30; steps++) {
      const rates = ratesOf({ kind, rate: 1, warmup: 5 }, steps);
      assert.ok(
        rates.every((rate) => rate > 0 && rate <= 1),
        `${kind}, ${steps} steps: ${rates}`,
      );
    }
  }
});

test('what is no schedule is refused', () => {
  for (const wrong of [
    { kind: 'cosine' },
    { kind: 'cosine', rate: 0 },
    { kind: 'constant', rate: 1, decay: 0.1 },
    {},
  ]) {
    assert.equal(scheduleSchema.safeParse(wrong).success, false, JSON.stringify(wrong));
  }
});
