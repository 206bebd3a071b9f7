/**
 * Trains a network of `graph/answer-classifier.ts` on references that were read: cross-entropy of each token, in an
 * answer or not, by AdamW over batches of references in an order drawn anew for each pass.
 *
 * Values differ in size from layer to layer, so each of their numbers is divided by its root mean square; the result takes
 * values as they are, since the first matrix is divided instead.
 */
import type { Random } from '../../generate/sampling.ts';
import {
  buildClassifierTraining,
  type ClassifierPart,
  classifierNames,
  classifierParts,
  classifierSize,
  neighbourhood,
  neighbourRows,
  splitClassifier,
} from '../../graph/answer-classifier.ts';
import { writeOnnx } from '../../graph/onnx.ts';
import type { Device, StateArray, TensorData } from '../../runtime/device.ts';
import { shuffle } from '../draw.ts';
import { Optimiser } from '../optimiser.ts';
import { learningRate } from '../schedule.ts';

/** The body of one reference. */
export interface ReadReference {
  /** Of each token the values in all memory layers, `[tokens, width]`. */
  readonly values: Float16Array;
  /** For each token whether an answer contains it. */
  readonly isAnswer: readonly boolean[];
}

export interface TrainedClassifier {
  /** All its numbers, as an adapter has them. */
  readonly data: Float32Array;
  /** log p / (1 - p) of each token of the others, one reference behind the other. */
  readonly logOdds: readonly number[];
}

export interface ClassifierTraining {
  /** Values of a token. */
  readonly width: number;
  readonly random: Random;
  /** Measured in the end. */
  readonly others: readonly ReadReference[];
  readonly signal?: AbortSignal;
}

const referencesAtOnce = 16;
/** Chosen by the area under the curve on references that took no part; few references are seen more often. */
const passes = 4;
const leastSteps = 200;
const rates = { kind: 'linear', rate: 1.5e-3, warmup: 20, end: 0 } as const;
const adam = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 1, decayVectors: true, clip: 1 } as const;

/** The same references and random numbers give the same classifier. @throws what the signal says if it is aborted */
export async function trainClassifier(
  device: Device,
  references: readonly ReadReference[],
  { width, random, others, signal }: ClassifierTraining,
): Promise<TrainedClassifier> {
  const scales = inverseSizes(references, width);
  const parts = classifierParts(width);
  await using optimiser = await Optimiser.open(device, newParts(width, random), adam);
  const session = await device.session(writeOnnx(buildClassifierTraining(width)));
  const names = classifierNames;
  try {
    const perPass = Math.ceil(references.length / referencesAtOnce);
    const steps = Math.max(leastSteps, passes * perPass);
    let order: ReadReference[] = [];
    for (let step = 1; step <= steps; step++) {
      signal?.throwIfAborted();
      if (order.length === 0) order = shuffle(references, random);
      await device.run({
        session,
        inputs: batchInputs(order.splice(0, referencesAtOnce), scales),
        states: [optimiser.weights],
        outputs: [],
        keep: {
          state: optimiser.gradients,
          arrays: Object.fromEntries(parts.map(({ name }) => [names.gradient(name), name])),
        },
      });
      await optimiser.update(learningRate(rates, step, steps), 1);
    }
    const logOdds: number[] = [];
    for (const reference of others) {
      const inputs = batchInputs([reference], scales);
      const outputs = await device.run({ session, inputs, states: [optimiser.weights], outputs: [names.logits] });
      const logits = outputs[names.logits]?.data as Float32Array;
      for (const token of reference.isAnswer.keys()) {
        logOdds.push((logits[2 * token + 1] as number) - (logits[2 * token] as number));
      }
    }
    const data = new Float32Array(classifierSize(width));
    const own = splitClassifier(data, width);
    for (const [name, { data: weights }] of await optimiser.read('weights')) own[name as ClassifierPart].set(weights);
    const perValue = own.values.length / width;
    for (let i = 0; i < own.values.length; i++) {
      own.values[i] = (own.values[i] as number) * (scales[Math.floor(i / perValue)] as number);
    }
    return { data, logOdds };
  } finally {
    await device.release(session);
  }
}

/** Each matrix and the bias behind it uniform in ±1 / sqrt(rows of the matrix). */
function newParts(width: number, random: Random): Required<StateArray>[] {
  let rows = width;
  return classifierParts(width).map(({ name, shape }) => {
    const [extent, columns = 1] = shape as [number, number?];
    if (shape.length === 2) rows = extent;
    const bound = 1 / Math.sqrt(rows);
    return { name, shape, data: Float32Array.from({ length: extent * columns }, () => (2 * random() - 1) * bound) };
  });
}

/** Bodies one behind the other; every token weighs the same, all together 1. */
function batchInputs(references: readonly ReadReference[], scales: Float32Array): Record<string, TensorData> {
  const width = scales.length;
  const rows = references.reduce((sum, { isAnswer }) => sum + isAnswer.length, 0);
  const tokens = new Float32Array(rows * width);
  const answers = new BigInt64Array(rows);
  const bodies: { start: number; length: number }[] = [];
  let start = 0;
  for (const { values, isAnswer } of references) {
    for (let i = 0; i < values.length; i++) {
      tokens[start * width + i] = (values[i] as number) * (scales[i % width] as number);
    }
    for (const [token, answer] of isAnswer.entries()) answers[start + token] = answer ? 1n : 0n;
    bodies.push({ start, length: isAnswer.length });
    start += isAnswer.length;
  }
  const names = classifierNames;
  return {
    [names.tokens]: { type: 'float32', shape: [rows, width], data: tokens },
    [names.neighbours]: { type: 'int64', shape: [rows, neighbourhood], data: neighbourRows(rows, bodies) },
    [names.isAnswer]: { type: 'int64', shape: [rows], data: answers },
    [names.weights]: { type: 'float32', shape: [rows], data: new Float32Array(rows).fill(1 / rows) },
  };
}

/** One divided by the root mean square of each of a token's numbers. */
function inverseSizes(references: readonly ReadReference[], width: number): Float32Array {
  const squares = new Float64Array(width);
  let tokens = 0;
  for (const { values, isAnswer } of references) {
    tokens += isAnswer.length;
    for (let i = 0; i < values.length; i++) {
      const place = i % width;
      squares[place] = (squares[place] as number) + (values[i] as number) ** 2;
    }
  }
  return Float32Array.from(squares, (sum) => 1 / (Math.sqrt(sum / tokens) + 1e-6));
}
