/**
 * How fast multiple choice is scored, against the rate at which the engine reads a prompt.
 *
 * What counts are the tokens that have to be looked at: a prompt once and each of its choices. Everything that scoring them
 * takes is in the time: encoding the texts, the output head at every token of a choice, the context's arrays. The rate of
 * reading is that of `bench speed`: 128 tokens of a text in one run, logits after the last one. Rounds alternate between
 * the two, so that a noisy machine is noisy for both; reported are medians and their ratios.
 */
import { Memory3Error } from '../errors.ts';
import type { OpenedModel } from '../generate/workspace.ts';
import { ReadingContext } from '../memory/context.ts';
import { batchesOf, type EvaluationParts, type Measurement, measureBatch } from './eval/measure.ts';
import { parseMode } from './eval/modes.ts';
import { prefillRate, Times } from './speed.ts';
import { libraryTexts } from './speed-material.ts';
import { taskNamed } from './tasks/all.ts';
import { readMaterial, type Task } from './tasks/task.ts';

/** Rates are tokens per second. */
export interface LikelihoodSpeed {
  readonly tokensPerSecond: number;
  /** Of the engine's rate of reading. */
  readonly ratio: number;
  readonly items: number;
  readonly tokens: number;
}

export interface LikelihoodSpeedReport {
  /** The engine's rate of reading. */
  readonly prefill: number;
  readonly tasks: readonly (LikelihoodSpeed & { readonly task: string })[];
  /** Of all tasks together. */
  readonly all: LikelihoodSpeed;
  readonly rounds: number;
}

export interface LikelihoodSpeedOptions {
  /** Folder of the data sets. */
  readonly data: string;
  /** Names of tasks that are scored by likelihood. */
  readonly tasks: readonly string[];
  /** Items of each, drawn by `seed`. */
  readonly limit: number;
  readonly seed: number;
  /** That are counted; one more goes before them, in which graphs are compiled. */
  readonly rounds: number;
  readonly onNotice: (message: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * Measures scoring without references.
 * @throws Memory3Error "usage" for a task that is not scored by likelihood, "not-found" or "damaged" for data; the signal's reason.
 */
export async function measureLikelihoodSpeed(
  { model, tokenizer }: Pick<OpenedModel, 'model' | 'tokenizer'>,
  { data, tasks: names, limit, seed, rounds, onNotice, signal }: LikelihoodSpeedOptions,
): Promise<LikelihoodSpeedReport> {
  const measurements = names.map((name): Measurement => {
    const task = scoredTask(name);
    const material = readMaterial(task, data, { limit, seed, shots: 0 });
    return { task, material, mode: parseMode('none', 1), documentStart: true };
  });
  const text = tokenizer.encode(libraryTexts().join('\n\n'));
  const parts = { model, tokenizer, finder: null, memories: null };
  const times = new Times();
  const counts = new Map<string, Scored>();
  for (let round = 0; round <= rounds; round++) {
    if (round === 1) times.clear();
    onNotice(round === 0 ? 'Warming up ...' : `Round ${round} of ${rounds} ...`);
    for (const index of measurements.keys()) {
      const measurement = measurements[(index + round) % measurements.length] as Measurement;
      await using context = await ReadingContext.open(model, { memory: null });
      times.add(reading, await prefillRate(context, text));
      const started = performance.now();
      counts.set(measurement.task.name, await score(parts, measurement, signal));
      times.add(measurement.task.name, (performance.now() - started) / 1000);
    }
  }
  const prefill = times.median(reading);
  const speedOf = (some: readonly string[]): LikelihoodSpeed => {
    const sum = (value: (name: string) => number) => some.reduce((total, name) => total + value(name), 0);
    const tokens = sum((name) => counts.get(name)?.tokens ?? 0);
    const tokensPerSecond = tokens / sum((name) => times.median(name));
    return {
      tokensPerSecond,
      ratio: tokensPerSecond / prefill,
      items: sum((name) => counts.get(name)?.items ?? 0),
      tokens,
    };
  };
  return { prefill, tasks: names.map((task) => ({ task, ...speedOf([task]) })), all: speedOf(names), rounds };
}

/** No task's name. */
const reading = 'reading a prompt';

interface Scored {
  readonly items: number;
  readonly tokens: number;
}

async function score(parts: EvaluationParts, measurement: Measurement, signal?: AbortSignal): Promise<Scored> {
  let [items, tokens] = [0, 0];
  for (const batch of batchesOf(measurement, parts.tokenizer)) {
    signal?.throwIfAborted();
    const { records, tokens: read } = await measureBatch(parts, measurement, batch);
    items += records.filter(({ tooLong }) => tooLong === null).length;
    tokens += read;
  }
  return { items, tokens };
}

function scoredTask(name: string): Task {
  const task = taskNamed(name);
  if (task.kind === 'choice' || task.kind === 'continuation') return task;
  throw new Memory3Error('usage', `The task ${name} is not scored by the likelihoods of choices.`);
}
