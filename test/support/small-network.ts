/**
 * Something that really learns, for tests of training runs: a network with one hidden layer that tells two spirals apart,
 * by Adam on shuffled batches. All of it in single precision and deterministic, so that two runs can be compared bit for bit.
 */
import { join } from 'node:path';
import type { TensorToWrite } from '../../src/model/safetensors-writer.ts';
import { readRunLog } from '../../src/train/log.ts';
import type { StepResult, Trainable, TrainingState } from '../../src/train/trainable.ts';

const points = 256;
const batch = 16;
const inputs = 4;
const [beta1, beta2, epsilon] = [0.9, 0.999, 1e-8];

interface Data {
  readonly features: Float32Array;
  /** 1 or -1 */
  readonly labels: Float32Array;
}

/** @param hidden units */
export function smallNetwork({ seed = 1, hidden = 24 } = {}): Trainable {
  const random = randomNumbers(seed);
  const uniform = (length: number, scale: number) => Float32Array.from({ length }, () => (2 * random() - 1) * scale);
  const shapes = { w1: [hidden, inputs], b1: [hidden], w2: [hidden], b2: [1] };
  const weights = {
    w1: uniform(hidden * inputs, 1),
    b1: uniform(hidden, 1),
    w2: uniform(hidden, 0.3),
    b2: uniform(1, 0),
  };
  type Name = keyof typeof weights;
  const names = Object.keys(weights) as Name[];
  const zeros = () => Object.fromEntries(names.map((name) => [name, new Float32Array(weights[name].length)]));
  const first = zeros() as Record<Name, Float32Array>;
  const second = zeros() as Record<Name, Float32Array>;
  const tensors = new Map<string, TensorToWrite>(
    names.flatMap((name) => [
      [name, { shape: shapes[name], data: weights[name] }],
      [`${name}.first`, { shape: shapes[name], data: first[name] }],
      [`${name}.second`, { shape: shapes[name], data: second[name] }],
    ]),
  );
  const training = spirals(randomNumbers(100));
  const held = spirals(randomNumbers(200));
  let steps = 0;

  /** The mean loss of some points; adds their gradient if there is a place for it. */
  const lossOf = (data: Data, indices: readonly number[], gradient?: Record<Name, Float32Array>): number => {
    const activation = new Float32Array(hidden);
    let total = 0;
    for (const index of indices) {
      const x = data.features.subarray(index * inputs, (index + 1) * inputs);
      let score = weights.b2[0] as number;
      for (let unit = 0; unit < hidden; unit++) {
        let sum = weights.b1[unit] as number;
        for (let i = 0; i < inputs; i++) sum += (weights.w1[unit * inputs + i] as number) * (x[i] as number);
        activation[unit] = Math.tanh(sum);
        score += (weights.w2[unit] as number) * (activation[unit] as number);
      }
      const margin = score * (data.labels[index] as number);
      total += Math.max(0, -margin) + Math.log1p(Math.exp(-Math.abs(margin)));
      if (!gradient) continue;
      const slope = -(data.labels[index] as number) / (1 + Math.exp(margin)) / indices.length;
      (gradient.b2[0] as number) += slope;
      for (let unit = 0; unit < hidden; unit++) {
        const active = activation[unit] as number;
        (gradient.w2[unit] as number) += slope * active;
        const inner = slope * (weights.w2[unit] as number) * (1 - active * active);
        (gradient.b1[unit] as number) += inner;
        for (let i = 0; i < inputs; i++) (gradient.w1[unit * inputs + i] as number) += inner * (x[i] as number);
      }
    }
    return total / indices.length;
  };

  return {
    async step(rate): Promise<StepResult> {
      const perEpoch = points / batch;
      const order = shuffled(points, randomNumbers(seed * 1000 + Math.floor(steps / perEpoch)));
      const begin = (steps % perEpoch) * batch;
      const gradient = zeros() as Record<Name, Float32Array>;
      const loss = lossOf(training, order.slice(begin, begin + batch), gradient);
      steps += 1;
      let squares = 0;
      for (const name of names) {
        const [w, m, v] = [weights[name], first[name], second[name]];
        for (const [i, g] of gradient[name].entries()) {
          squares += g * g;
          m[i] = beta1 * (m[i] as number) + (1 - beta1) * g;
          v[i] = beta2 * (v[i] as number) + (1 - beta2) * g * g;
          const mean = (m[i] as number) / (1 - beta1 ** steps);
          const spread = Math.sqrt((v[i] as number) / (1 - beta2 ** steps));
          (w[i] as number) -= (rate * mean) / (spread + epsilon);
        }
      }
      return { loss, tokens: batch, gradientNorm: Math.sqrt(squares) };
    },
    async validate() {
      const all = Array.from({ length: points }, (_, index) => index);
      return { held: lossOf(held, all), training: lossOf(training, all) };
    },
    async state(): Promise<TrainingState> {
      return { tensors, values: { steps } };
    },
    async restore(state) {
      for (const [name, { data }] of tensors) data.set(state.tensors.get(name)?.data as Float32Array);
      steps = state.values.steps as number;
    },
  };
}

/** Points (x, y, x², y²) of two spirals that wind around each other. */
function spirals(random: () => number): Data {
  const features = new Float32Array(points * inputs);
  const labels = Float32Array.from({ length: points }, (_, index) => (index % 2 === 0 ? 1 : -1));
  for (const [index, label] of labels.entries()) {
    const angle = 4 * Math.sqrt(random());
    const [x, y] = [(label * angle * Math.cos(angle)) / 2, (label * angle * Math.sin(angle)) / 2];
    features.set([x, y, x * x, y * y], index * inputs);
  }
  return { features, labels };
}

function shuffled(length: number, random: () => number): number[] {
  const order = Array.from({ length }, (_, index) => index);
  for (let last = length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other] as number, order[last] as number];
  }
  return order;
}

/** A linear congruential generator (Numerical Recipes): numbers in [0, 1). */
function randomNumbers(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A run's log without what may differ between two runs that are the same: times, and that a process took over. */
export function comparableLog(folder: string): unknown[] {
  return readRunLog(join(folder, 'log.jsonl'))
    .filter(({ kind }) => kind !== 'resumed')
    .map((event) => ({ ...event, seconds: null, tokensPerSecond: null }));
}
