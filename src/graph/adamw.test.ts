/** AdamW as a graph against a plain loop in f64. */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Device, type TensorData } from '../runtime/device.ts';
import { type AdamOptions, adamNames, adamNumbers, buildAdamW } from './adamw.ts';
import { writeOnnx } from './onnx.ts';

const device = new Device({ threads: 1 });
after(() => device[Symbol.asyncDispose]());

/** Magnitude of the gradients by weight `i`. */
const sizeOf = (i: number) => 10 ** ((i % 5) - 3);

/** Gradients of step `t`: some zero, some that change their sign. */
const gradientOf = (i: number, t: number) => (i % 7 === 0 ? 0 : Math.sin(i * 12.9898 + t) * sizeOf(i));

const options: AdamOptions = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8 };

describe('AdamW', () => {
  for (const { decay, scale } of [
    { decay: 0, scale: 1 },
    { decay: 0.1, scale: 0.37 },
  ]) {
    it(`does what its formulas say, decay ${decay}, gradients times ${scale}`, async () => {
      const count = 50;
      const session = await device.session(writeOnnx(buildAdamW(options)));
      let state: Record<string, Float32Array> = {
        [adamNames.weights]: Float32Array.from({ length: count }, (_, i) => Math.cos(i)),
        [adamNames.mean]: new Float32Array(count),
        [adamNames.square]: new Float32Array(count),
      };
      const weights = Array.from(state[adamNames.weights] as Float32Array);
      const mean = weights.map(() => 0);
      const square = weights.map(() => 0);
      for (let t = 1; t <= 12; t++) {
        const rate = 1e-2 / t;
        const gradients = Float32Array.from({ length: count }, (_, i) => gradientOf(i, t));
        const arrays = Object.entries({ ...state, [adamNames.gradients]: gradients });
        const numbers = Object.entries(adamNumbers(options, { t, rate, decay, scale }));
        const inputs = [
          ...arrays.map(([name, data]): [string, TensorData] => [name, { type: 'float32', shape: [count], data }]),
          ...numbers.map(([name, value]): [string, TensorData] => [
            name,
            { type: 'float32', shape: [1], data: Float32Array.of(value) },
          ]),
        ];
        const outputs = await device.run({
          session,
          inputs: Object.fromEntries(inputs),
          outputs: [adamNames.newWeights, adamNames.newMean, adamNames.newSquare],
        });
        const of = (name: string) => (outputs[name] as TensorData).data as Float32Array;
        state = {
          [adamNames.weights]: of(adamNames.newWeights),
          [adamNames.mean]: of(adamNames.newMean),
          [adamNames.square]: of(adamNames.newSquare),
        };
        for (let i = 0; i < count; i++) {
          const g = scale * (gradients[i] as number);
          const m = options.beta1 * (mean[i] as number) + (1 - options.beta1) * g;
          const v = options.beta2 * (square[i] as number) + (1 - options.beta2) * g * g;
          const [corrected, spread] = [m / (1 - options.beta1 ** t), Math.sqrt(v / (1 - options.beta2 ** t))];
          const w = (weights[i] as number) * (1 - rate * decay) - (rate * corrected) / (spread + options.epsilon);
          [mean[i], square[i], weights[i]] = [m, v, w];
          const size = sizeOf(i);
          const off = (name: string, expected: number) => Math.abs((state[name]?.[i] as number) - expected);
          assert.ok(off(adamNames.mean, m) < 1e-6 * size, `mean ${i} at ${t}`);
          assert.ok(off(adamNames.square, v) < 1e-6 * size ** 2, `square ${i} at ${t}`);
          assert.ok(off(adamNames.weights, w) < 2e-6, `weight ${i} at ${t}`);
        }
      }
      await device.release(session);
    });
  }

  it('moves every weight by the rate in its first step, whatever the size of its gradient', () => {
    const numbers = adamNumbers(options, { t: 1, rate: 0.5, decay: 0.1, scale: 1 });
    const { step, correction, shrink } = numbers as Record<'step' | 'correction' | 'shrink', number>;
    for (const g of [1e-6, 1, 1e6]) {
      const [m, v] = [(1 - options.beta1) * g, (1 - options.beta2) * g * g];
      assert.ok(Math.abs((step * m) / (Math.sqrt(v) * correction) - 0.5) < 1e-9);
    }
    assert.equal(shrink, 0.95);
  });
});
