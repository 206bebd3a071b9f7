/**
 * A training step (forward, backward, update) of this project against PyTorch's: the same shape with random weights, the
 * same tokens, f32, the same number of threads, in one run.
 *
 *   node bench/training.ts --python PYTHON [--shape smollm2|tiny] [--modes lora,full] [--threads 2] [--batch 8]
 *     [--length 192] [--rank 32] [--rounds 7] [--recompute]
 *
 * PYTHON has torch and transformers (`training.py`); the project depends on neither. After one step each that is not
 * counted, rounds of one step alternate, and every other round begins with the other side; while one computes, the other
 * waits. What is printed is JSON: medians of tokens per second, and their ratio, for low-rank companions of every projection
 * (`lora`) and for all weights (`full`). With `--recompute` this side computes each layer again for its gradient.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Weights } from '../src/model/weights.ts';
import { median } from '../src/quantile.ts';
import { Device } from '../src/runtime/device.ts';
import type { TrainingBatch } from '../src/train/batch.ts';
import { ModelTrainer } from '../src/train/model-trainer.ts';
import { initialWeights, type ModelShape, newModelConfig } from '../src/train/scratch/new-model.ts';

const shapes = {
  smollm2: {
    shape: { layers: 30, hiddenSize: 576, heads: 9, kvHeads: 3, headDim: 64, mlpSize: 1536, contextLength: 2048 },
    vocabularySize: 49_152,
  },
  tiny: {
    shape: { layers: 2, hiddenSize: 64, heads: 4, kvHeads: 2, headDim: 16, mlpSize: 128, contextLength: 512 },
    vocabularySize: 1000,
  },
} as const satisfies Record<string, { shape: ModelShape; vocabularySize: number }>;

const modes = ['lora', 'full'] as const;
type Mode = (typeof modes)[number];

interface Step {
  readonly seconds: number;
  readonly loss: number;
}

/** One side of the comparison. */
interface Side extends AsyncDisposable {
  readonly about: Readonly<Record<string, unknown>>;
  step(): Promise<Step>;
}

const { values: given } = parseArgs({
  options: {
    python: { type: 'string' },
    shape: { type: 'string', default: 'smollm2' },
    modes: { type: 'string', default: modes.join() },
    threads: { type: 'string', default: '2' },
    batch: { type: 'string', default: '8' },
    length: { type: 'string', default: '192' },
    rank: { type: 'string', default: '32' },
    rounds: { type: 'string', default: '7' },
    recompute: { type: 'boolean', default: false },
  },
});

const whole = (name: 'threads' | 'batch' | 'length' | 'rank' | 'rounds'): number => {
  const number = Number(given[name]);
  if (!Number.isInteger(number) || number < 1) throw new Error(`--${name} ${given[name]} is no positive whole number`);
  return number;
};
const [threads, batch, length, rank, rounds] = [
  whole('threads'),
  whole('batch'),
  whole('length'),
  whole('rank'),
  whole('rounds'),
];
const { python } = given;
if (python === undefined) throw new Error('--python names an interpreter that has torch and transformers');
if (!(given.shape in shapes)) throw new Error(`--shape is one of ${Object.keys(shapes).join(', ')}`);
const { shape, vocabularySize } = shapes[given.shape as keyof typeof shapes];
const chosenModes = given.modes.split(',').map((mode): Mode => {
  const known = modes.find((one) => one === mode);
  if (known === undefined) throw new Error(`--modes are among ${modes.join()}`);
  return known;
});

/** The last token of a sequence is only predicted. */
const ids = Array.from({ length: batch }, (_, sequence) =>
  Array.from({ length: length + 1 }, (__, i) => (sequence * 7919 + i * i * 31 + i * 104_729) % vocabularySize),
);
const rate = 1e-4;
const config = newModelConfig(shape, vocabularySize);

async function openOwn(mode: Mode): Promise<Side> {
  const tensors = initialWeights(config, 1);
  const weights: Weights = {
    names: [...tensors.keys()],
    has: (name) => tensors.has(name),
    get(name) {
      const tensor = tensors.get(name);
      if (tensor === undefined) throw new Error(`there is no ${name}`);
      return { kind: 'dense', shape: tensor.shape, data: tensor.data as Float32Array };
    },
  };
  const device = new Device({ threads });
  const lora = mode === 'lora' ? { rank, scale: 2 } : null;
  const trainer = await ModelTrainer.open({ config, weights }, device, {
    lora,
    beta2: 0.95,
    decay: 0.1,
    longest: length,
    recompute: given.recompute,
  });
  const sequences = ids.map((tokens) => ({ tokens, weights: tokens.map((_, i) => (i === 0 ? 0 : 1)), chunks: [] }));
  const training: TrainingBatch = { references: [], sequences };
  const { version } = await device.about();
  return {
    about: { node: process.versions.node, onnxruntime: version, trained: trainer.trainedCount },
    async step() {
      const started = performance.now();
      const { sum, weight } = await trainer.accumulate(training);
      await trainer.update(rate);
      return { seconds: (performance.now() - started) / 1000, loss: sum / weight };
    },
    async [Symbol.asyncDispose]() {
      await trainer[Symbol.asyncDispose]();
      await device[Symbol.asyncDispose]();
    },
  };
}

async function openPyTorch(mode: Mode): Promise<Side> {
  const script = fileURLToPath(new URL('training.py', import.meta.url));
  const options = { shape: { ...config, rope: undefined }, mode, rank, threads, rate, ids };
  const child = spawn(python as string, [script, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async () => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error('the Python process ended');
    return JSON.parse(value) as unknown;
  };
  return {
    about: (await answer()) as Record<string, unknown>,
    async step() {
      child.stdin.write('\n');
      return (await answer()) as Step;
    },
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.stdin.end();
      await ended;
    },
  };
}

async function compare(mode: Mode) {
  await using own = await openOwn(mode);
  await using other = await openPyTorch(mode);
  if (own.about.trained !== other.about.trained) {
    throw new Error(`${own.about.trained} numbers are trained here, ${other.about.trained} there`);
  }
  const sides = { memory3: own, pytorch: other };
  const names = ['memory3', 'pytorch'] as const;
  const steps: Record<(typeof names)[number], Step[]> = { memory3: [], pytorch: [] };
  for (const name of names) steps[name].push(await sides[name].step());
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) steps[name].push(await sides[name].step());
  }
  const report = (name: (typeof names)[number]) => {
    const counted = steps[name].slice(1);
    return {
      ...sides[name].about,
      tokensPerSecond: median(counted.map(({ seconds }) => (batch * length) / seconds)),
      seconds: counted.map(({ seconds }) => seconds),
      losses: steps[name].map(({ loss }) => loss),
    };
  };
  const [memory3, pytorch] = names.map(report) as [ReturnType<typeof report>, ReturnType<typeof report>];
  return { memory3, pytorch, ratio: memory3.tokensPerSecond / pytorch.tokensPerSecond };
}

const results: Partial<Record<Mode, Awaited<ReturnType<typeof compare>>>> = {};
for (const mode of chosenModes) results[mode] = await compare(mode);
const setting = {
  shape: given.shape,
  precision: 'f32',
  threads,
  batch,
  length,
  rank,
  rounds,
  recompute: given.recompute,
};
process.stdout.write(`${JSON.stringify({ ...setting, ...results }, undefined, 2)}\n`);
