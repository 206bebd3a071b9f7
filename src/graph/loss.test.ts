/** Cross-entropy and its seed against the formulas in f64. */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Device, type TensorData } from '../runtime/device.ts';
import { GraphBuilder } from './graph.ts';
import { crossEntropy, weightedSum } from './loss.ts';
import { writeOnnx } from './onnx.ts';

const device = new Device({ threads: 1 });
after(() => device[Symbol.asyncDispose]());

let session: Promise<number> | undefined;

/** @param logits rows */
async function run(logits: readonly (readonly number[])[], targets: readonly number[], weights: readonly number[]) {
  session ??= compile();
  const width = logits[0]?.length ?? 4;
  const inputs: Record<string, TensorData> = {
    logits: { type: 'float32', shape: [logits.length, width], data: Float32Array.from(logits.flat()) },
    targets: { type: 'int64', shape: [targets.length], data: BigInt64Array.from(targets, BigInt) },
    weights: { type: 'float32', shape: [weights.length], data: Float32Array.from(weights) },
  };
  const outputs = await device.run({ session: await session, inputs, outputs: ['nll', 'loss', 'gradient'] });
  const of = (name: string) => [...(outputs[name] as TensorData).data].map(Number);
  return { nll: of('nll'), loss: of('loss'), gradient: of('gradient') };
}

function compile(): Promise<number> {
  const builder = new GraphBuilder('loss');
  const logits = builder.input('logits', 'float32', ['n', 'vocabulary']);
  const targets = builder.input('targets', 'int64', ['n']);
  const weights = builder.input('weights', 'float32', ['n']);
  const { nll, gradient } = crossEntropy(builder, logits, targets);
  builder.output(nll, 'nll', 'float32', ['n']);
  builder.output(weightedSum(builder, nll, weights), 'loss', 'float32', [1]);
  builder.output(gradient(weights), 'gradient', 'float32', ['n', 'vocabulary']);
  return device.session(writeOnnx(builder.finish()));
}

function probabilities(row: readonly number[]): number[] {
  const largest = Math.max(...row);
  const exponentials = row.map((logit) => Math.exp(logit - largest));
  const sum = exponentials.reduce((a, b) => a + b);
  return exponentials.map((value) => value / sum);
}

function closeTo(actual: readonly number[], expected: readonly number[], tolerance = 1e-6): void {
  assert.equal(actual.length, expected.length);
  for (const [i, value] of actual.entries()) {
    assert.ok(Math.abs(value - (expected[i] as number)) <= tolerance, `${i}: ${value}, not ${expected[i]}`);
  }
}

describe('cross-entropy', () => {
  it('is the weighted sum of -log softmax, with its gradient by the logits', async () => {
    const logits = [
      [1, -0.5, 0.25, 2],
      [0, 0, 0, 0],
      [-3, 5, 1, 1],
    ];
    const [targets, weights] = [
      [3, 0, 0],
      [1, 0.5, -2],
    ];
    const { nll, loss, gradient } = await run(logits, targets, weights);
    const expected = logits.map((row, i) => -Math.log(probabilities(row)[targets[i] as number] as number));
    closeTo(nll, expected);
    closeTo(loss, [expected.reduce((sum, value, i) => sum + value * (weights[i] as number), 0)], 1e-5);
    const seeds = logits.map((row, i) =>
      probabilities(row).map((p, token) => (weights[i] as number) * (p - (token === targets[i] ? 1 : 0))),
    );
    closeTo(gradient, seeds.flat());
  });

  it('counts rows of weight 0 for nothing', async () => {
    const logits = [
      [4, -1, 2],
      [1, 2, 3],
    ];
    const { loss, gradient } = await run(logits, [0, 1], [0, 1]);
    const [alone] = [await run([[1, 2, 3]], [1], [1])];
    assert.deepEqual(loss, alone.loss);
    assert.deepEqual(gradient.map(Math.abs), [0, 0, 0, ...alone.gradient.map(Math.abs)]);
  });

  it('does not overflow, and its gradient vanishes where the model is certain and right', async () => {
    const { nll, gradient } = await run(
      [
        [1e4, -1e4, 0],
        [1e4, -1e4, 0],
      ],
      [0, 1],
      [1, 1],
    );
    closeTo(nll, [0, 2e4]);
    closeTo(gradient, [0, 0, 0, 1, -1, 0]);
  });

  it('of no rows is zero', async () => {
    const { nll, loss, gradient } = await run([], [], []);
    assert.deepEqual([nll, loss, gradient], [[], [0], []]);
  });
});
