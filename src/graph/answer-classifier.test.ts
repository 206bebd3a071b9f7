/** The network that weighs tokens by what answers need: its formulas, its gradient, its neighbourhoods. */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { plainAnswerProbabilities } from '../../test/support/plain-classifier.ts';
import { Device, type TensorData } from '../runtime/device.ts';
import {
  buildClassifierTraining,
  classifierNames,
  classifierParts,
  classifierSize,
  neighbourRows,
  splitClassifier,
} from './answer-classifier.ts';
import { writeOnnx } from './onnx.ts';

const width = 6;
/** Two bodies, one shorter than a neighbourhood. */
const bodies = [
  { start: 0, length: 7 },
  { start: 7, length: 2 },
];
const rows = 9;
const tokens = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(5 * i));
const isAnswer = [0, 1, 1, 0, 0, 0, 1, 0, 1];
const weights = isAnswer.map((_, i) => 0.1 + 0.05 * i);
const classifier = Float32Array.from({ length: classifierSize(width) }, (_, i) => 0.4 * Math.sin(3 * i + 1));

const device = new Device({ threads: 1 });
after(() => device[Symbol.asyncDispose]());

let session: Promise<number> | undefined;
async function run(data: Float32Array, outputs: readonly string[]): Promise<Record<string, Float32Array>> {
  session ??= device.session(writeOnnx(buildClassifierTraining(width)));
  const parts = splitClassifier(data, width);
  const names = classifierNames;
  const inputs: Record<string, TensorData> = {
    [names.tokens]: { type: 'float32', shape: [rows, width], data: tokens },
    [names.neighbours]: { type: 'int64', shape: [rows, 5], data: neighbourRows(rows, bodies) },
    [names.isAnswer]: { type: 'int64', shape: [rows], data: BigInt64Array.from(isAnswer, BigInt) },
    [names.weights]: { type: 'float32', shape: [rows], data: Float32Array.from(weights) },
  };
  for (const { name, shape } of classifierParts(width)) {
    inputs[name] = { type: 'float32', shape, data: parts[name].slice() };
  }
  const results = await device.run({ session: await session, inputs, outputs });
  return Object.fromEntries(outputs.map((name) => [name, results[name]?.data as Float32Array]));
}

/** Of each token, body after body. */
function plainProbabilities(data: Float32Array): number[] {
  return bodies.flatMap(({ start, length }) =>
    plainAnswerProbabilities(
      data,
      Array.from({ length }, (_, i) => [...tokens.subarray((start + i) * width, (start + i + 1) * width)]),
    ),
  );
}

function plainLoss(data: Float32Array): number {
  const losses = plainProbabilities(data).map((p, i) => -Math.log(isAnswer[i] === 1 ? p : 1 - p));
  return losses.reduce((sum, loss, i) => sum + loss * (weights[i] as number), 0);
}

describe('the classifier of answers', () => {
  it('computes what its formulas say, for each body alone', async () => {
    const { logits = new Float32Array(), loss } = await run(classifier, ['logits', 'loss']);
    for (const [token, expected] of plainProbabilities(classifier).entries()) {
      const [no, yes] = logits.subarray(2 * token) as unknown as [number, number];
      assert.ok(Math.abs(1 / (1 + Math.exp(no - yes)) - expected) < 1e-5, `token ${token}`);
    }
    assert.ok(Math.abs((loss?.[0] as number) - plainLoss(classifier)) < 1e-5);
  });

  it('has the gradient of its loss', async () => {
    let start = 0;
    for (const { name, shape } of classifierParts(width)) {
      const output = classifierNames.gradient(name);
      const gradient = (await run(classifier, [output]))[output] as Float32Array;
      assert.equal(
        gradient.length,
        shape.reduce((product, extent) => product * extent, 1),
      );
      for (let i = 0; i < gradient.length; i += Math.ceil(gradient.length / 40)) {
        const moved = (step: number) => plainLoss(classifier.with(start + i, (classifier[start + i] as number) + step));
        const expected = (moved(1e-2) - moved(-1e-2)) / 2e-2;
        const actual = gradient[i] as number;
        assert.ok(
          Math.abs(actual - expected) < 1e-3 * Math.max(0.1, Math.abs(expected)),
          `${name} ${i}: ${actual}, not ${expected}`,
        );
      }
      start += gradient.length;
    }
    assert.equal(start, classifier.length);
  });

  it('looks two tokens back and ahead, and not into another body', () => {
    const around = neighbourRows(rows, bodies);
    const of = (token: number) => Array.from(around.subarray(5 * token, 5 * token + 5), Number);
    assert.deepEqual(of(3), [1, 2, 3, 4, 5]);
    assert.deepEqual(of(0), [9, 9, 0, 1, 2]);
    assert.deepEqual(of(6), [4, 5, 6, 9, 9]);
    assert.deepEqual(of(7), [9, 9, 7, 8, 9]);
    assert.deepEqual(of(8), [9, 7, 8, 9, 9]);
  });
});
