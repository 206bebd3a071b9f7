/**
 * The experiment of the paper's Fig. 11 at small scale: do memories have to wait for a warmup?
 *
 *   arm               parameters   stage 1             stage 2
 *   two-stages        1 x          without memories    with memories
 *   no-memories       1 x          without             without
 *   from-the-start    1 x          with memories       with memories
 *   double            2 x          without             without
 *
 * Every arm and seed reads the same tokens in the same order under the same learning rates; a seed decides about the first
 * weights only. A stage that two arms share is trained once. Each model is measured without memories and with them.
 *
 * The runs lie in one folder, `seed-<n>/<size>-<plain|memory>` and behind it a second `-<plain|memory>`. What is finished is
 * not done again, what is interrupted is gone on with.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { Memory3Error } from '../../errors.ts';
import type { ProfileChoice } from '../../memory/choose-profile.ts';
import type { DeviceOptions } from '../../runtime/device.ts';
import { courseOf, type RunEvent, readRunLog, type StepEvent } from '../log.ts';
import type { ModelShape } from '../scratch/new-model.ts';
import { evaluatePretraining } from './evaluate.ts';
import { lossNames, meanOf } from './pretraining.ts';
import { runStage, type StageSettings } from './stage.ts';

/** The arms, and whether their stages have memories. */
export const arms = {
  'two-stages': { size: 'small', memories: [false, true] },
  'no-memories': { size: 'small', memories: [false, false] },
  'from-the-start': { size: 'small', memories: [true, true] },
  double: { size: 'double', memories: [false, false] },
} as const;
export type ArmName = keyof typeof arms;
const armNames = Object.keys(arms) as ArmName[];

export interface ExperimentOptions {
  readonly folder: string;
  /** As `prepareTraining` makes it, with knowledge. */
  readonly corpus: string;
  readonly shapes: Readonly<Record<'small' | 'double', ModelShape>>;
  /** Of the arms of one size; the double model has the first only. */
  readonly seeds: readonly [number, ...number[]];
  /** Of both stages. */
  readonly stages: readonly [StageSettings, StageSettings];
  readonly memory: ProfileChoice;
  /** Sequences that each finished model is measured on; default all of validation. */
  readonly evaluationSequences?: number;
  readonly device?: DeviceOptions;
  readonly signal?: AbortSignal;
  /** Told about each run's events. */
  readonly onEvent?: (run: string, event: RunEvent) => void;
}

/** A model's validation: the losses that it was trained with say whether memories count. */
export interface ValidationPoint {
  /** Of both stages together. */
  readonly step: number;
  readonly loss: number;
}

export interface ArmResult {
  readonly arm: ArmName;
  readonly seed: number;
  /** Nats per token of the finished model. */
  readonly plain: number;
  readonly memory: number;
  /** Of all validation sequences, for comparison in pairs. */
  readonly sequences: { readonly plain: readonly number[]; readonly memory: readonly number[] };
  /** Validation losses as it was trained: with memories where the stage had them. */
  readonly validation: readonly ValidationPoint[];
  /** Steps of each stage. */
  readonly steps: readonly (readonly Pick<StepEvent, 'step' | 'loss' | 'rate'>[])[];
  /** Seconds and tokens of each stage, references included. */
  readonly cost: readonly { readonly seconds: number; readonly tokens: number }[];
}

export interface ExperimentResult {
  readonly arms: readonly ArmResult[];
  readonly summary: ExperimentSummary;
}

/**
 * Runs what is not finished yet.
 * @returns null if it was interrupted
 * @throws Memory3Error of `runStage` and `evaluatePretraining`
 */
export async function runExperiment(options: ExperimentOptions): Promise<ExperimentResult | null> {
  const results: ArmResult[] = [];
  for (const [number, seed] of options.seeds.entries()) {
    for (const arm of armNames) {
      if (arm === 'double' && number > 0) continue;
      const result = await runArm(options, arm, seed);
      if (result === null) return null;
      results.push(result);
    }
  }
  return { arms: results, summary: summarise(results) };
}

async function runArm(options: ExperimentOptions, arm: ArmName, seed: number): Promise<ArmResult | null> {
  const { folder, corpus, shapes, stages, memory, device, signal, onEvent } = options;
  const { size, memories } = arms[arm];
  const common = { corpus, ...(device === undefined ? {} : { device }), ...(signal === undefined ? {} : { signal }) };
  const runs: string[] = [];
  for (const [stage, settings] of stages.entries()) {
    const before = runs.at(-1);
    const mode = memories[stage] ? 'memory' : 'plain';
    const run = before === undefined ? `seed-${seed}/${size}-${mode}` : `${before}-${mode}`;
    const result = await runStage({
      ...common,
      ...settings,
      folder: join(folder, run),
      model: before === undefined ? { shape: shapes[size], seed } : { from: join(folder, before) },
      memory: memories[stage] ? memory : null,
      onEvent: (event) => onEvent?.(run, event),
    });
    if (!result.finished) return null;
    runs.push(run);
  }
  const paths = runs.map((run) => join(folder, run));
  const { plain, memory: withMemories } = await evaluated(options, paths.at(-1) as string);
  const courses = paths.map((path) => courseOf(readRunLog(join(path, 'log.jsonl'))));
  return {
    arm,
    seed,
    plain: meanOf(plain),
    memory: meanOf(withMemories),
    sequences: { plain, memory: withMemories },
    validation: courses.flatMap(({ validations }, stage) => {
      const name = memories[stage] ? lossNames.memory : lossNames.plain;
      const offset = stage === 0 ? 0 : stages[0].steps;
      // The beginning of the second stage is the end of the first.
      const own = validations.filter(({ step }) => stage === 0 || step > 0);
      return own.map(({ step, losses }) => ({ step: offset + step, loss: losses[name] as number }));
    }),
    steps: courses.map(({ steps }) => steps.map(({ step, loss, rate }) => ({ step, loss, rate }))),
    cost: courses.map(({ steps }) => ({ seconds: steps.at(-1)?.seconds ?? 0, tokens: steps.at(-1)?.tokens ?? 0 })),
  };
}

const evaluationSchema = z.strictObject({
  /** What was measured; another is measured again. */
  sequences: z.number().nullable(),
  steps: z.int(),
  plain: z.array(z.number()),
  memory: z.array(z.number()),
});

/** Losses of a finished run's model, measured once. */
async function evaluated(options: ExperimentOptions, run: string): Promise<z.output<typeof evaluationSchema>> {
  const { corpus, memory, stages, evaluationSequences, device, signal } = options;
  const path = join(run, 'evaluation.json');
  const measured = { sequences: evaluationSequences ?? null, steps: stages[1].steps };
  if (existsSync(path)) {
    const parsed = evaluationSchema.safeParse(JSON.parse(readFileSync(path, 'utf8')));
    if (!parsed.success) throw new Memory3Error('damaged', `${path} is no evaluation.`, { remedy: 'Delete it.' });
    const { sequences, steps } = parsed.data;
    if (sequences === measured.sequences && steps === measured.steps) return parsed.data;
  }
  const evaluation = await evaluatePretraining({
    model: join(run, 'model'),
    corpus,
    memory,
    ...(evaluationSequences === undefined ? {} : { sequences: evaluationSequences }),
    ...(device === undefined ? {} : { device }),
    ...(signal === undefined ? {} : { signal }),
  });
  if (evaluation.memory === null) {
    throw new Memory3Error('usage', `${corpus} has no knowledge to make memories of.`, {
      remedy: 'Prepare it again with --knowledge or --knowledge-share.',
    });
  }
  const result = {
    ...measured,
    plain: [...evaluation.plain.sequences],
    memory: [...evaluation.memory.sequences],
  };
  writeFileSync(`${path}.unfinished`, `${JSON.stringify(result)}\n`);
  renameSync(`${path}.unfinished`, path);
  return result;
}

/** A mean over seeds, with the spread between them. */
export interface Spread {
  readonly mean: number;
  /** Standard deviation; null of one seed. */
  readonly deviation: number | null;
}

export interface ExperimentSummary {
  /** Final losses, nats per token. */
  readonly losses: Readonly<Record<ArmName, { readonly plain: Spread; readonly memory: Spread }>>;
  /** What each arm gains on "no-memories" of the same seed, as it was trained. */
  readonly gains: Readonly<Record<Exclude<ArmName, 'no-memories'>, Spread>>;
  /** The paper's measure: gain by memories / gain by doubling. */
  readonly effectiveSize: { readonly 'two-stages': number; readonly 'from-the-start': number };
}

/** @param results all arms, each with at least one seed */
export function summarise(results: readonly ArmResult[]): ExperimentSummary {
  const of = (arm: ArmName) => results.filter((result) => result.arm === arm);
  const losses = Object.fromEntries(
    armNames.map((arm) => [
      arm,
      { plain: spreadOf(of(arm).map(({ plain }) => plain)), memory: spreadOf(of(arm).map(({ memory }) => memory)) },
    ]),
  ) as ExperimentSummary['losses'];
  const gain = (arm: ArmName) =>
    spreadOf(
      of(arm).map((result) => {
        const base = of('no-memories').find(({ seed }) => seed === result.seed) as ArmResult;
        return base.plain - (arms[arm].memories[1] ? result.memory : result.plain);
      }),
    );
  const gains = {
    'two-stages': gain('two-stages'),
    'from-the-start': gain('from-the-start'),
    double: gain('double'),
  };
  return {
    losses,
    gains,
    effectiveSize: {
      'two-stages': gains['two-stages'].mean / gains.double.mean,
      'from-the-start': gains['from-the-start'].mean / gains.double.mean,
    },
  };
}

function spreadOf(values: readonly number[]): Spread {
  const mean = meanOf(values);
  if (values.length < 2) return { mean, deviation: null };
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / (values.length - 1)) };
}
