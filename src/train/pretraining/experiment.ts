/**
 * The experiment of the paper's Fig. 11 at small scale: do memories have to wait for a warmup?
 *
 *   arm               parameters   stage 1             stage 2
 *   two-stages        1 x          without memories    with memories
 *   no-memories       1 x          without             without
 *   from-the-start    1 x          with memories       with memories
 *   double            2 x          without             without
 *
 * Every arm and seed reads the same tokens in the same order, those of one size under the same learning rates; a seed decides
 * about the first weights only. A stage that two arms share is trained once. Each model is measured without memories and with them.
 *
 * The runs lie in one folder, `seed-<n>/<size>-<plain|memory>` and behind it a second `-<plain|memory>`. What is finished is
 * not done again, what is interrupted is gone on with.
 */
import { join } from 'node:path';
import { z } from 'zod';
import type { ProfileChoice } from '../../memory/choose-profile.ts';
import type { DeviceOptions } from '../../runtime/device.ts';
import { courseOf, type RunEvent, readRunLog } from '../log.ts';
import type { ModelShape } from '../scratch/new-model.ts';
import { type ArmConditions, type ArmName, type ArmResult, armNames, arms, readArm, storeArm } from './arm-results.ts';
import { evaluatePretraining } from './evaluate.ts';
import { checkMeasurable, noKnowledge, openPrepared } from './prepared.ts';
import { lossNames, meanOf } from './pretraining.ts';
import { runStage, type StageSettings } from './stage.ts';

export interface ExperimentOptions {
  /** The runs. */
  readonly folder: string;
  /** What came of each arm, kept when its runs are gone (`arm-results.ts`). */
  readonly results: string;
  /** As `prepareTraining` makes it, with knowledge. */
  readonly corpus: string;
  readonly shapes: Readonly<Record<'small' | 'double', ModelShape>>;
  /** Of the arms of one size; the double model has the first only. */
  readonly seeds: readonly [number, ...number[]];
  /** Of both stages; those of the double model may have rates of their own, what suits a width need not suit another. */
  readonly stages: Readonly<Record<'small' | 'double', readonly [StageSettings, StageSettings]>>;
  readonly memory: ProfileChoice;
  /** Sequences that each finished model is measured on; default all of validation. */
  readonly evaluationSequences?: number;
  readonly device?: DeviceOptions;
  readonly signal?: AbortSignal;
  /** Told about each run's events. */
  readonly onEvent?: (run: string, event: RunEvent) => void;
}

export interface ExperimentResult {
  readonly arms: readonly ArmResult[];
  readonly summary: ExperimentSummary;
}

/**
 * Runs what is not finished yet.
 * @returns null if it was interrupted
 * @throws Memory3Error "usage", before anything is trained, if the corpus has no knowledge or nothing to measure on; what
 *   `runStage` and `evaluatePretraining` throw
 */
export async function runExperiment(options: ExperimentOptions): Promise<ExperimentResult | null> {
  const corpus = corpusConditions(options.corpus);
  const results: ArmResult[] = [];
  for (const [number, seed] of options.seeds.entries()) {
    for (const arm of armNames) {
      if (arm === 'double' && number > 0) continue;
      const result = await runArm(options, arm, seed, conditionsOf(options, arm, corpus));
      if (result === null) return null;
      results.push(result);
    }
  }
  return { arms: results, summary: summarise(results) };
}

async function runArm(
  options: ExperimentOptions,
  arm: ArmName,
  seed: number,
  conditions: ArmConditions,
): Promise<ArmResult | null> {
  const { folder, results, corpus, shapes, memory, device, signal, onEvent } = options;
  const { size, memories } = arms[arm];
  const stages = options.stages[size];
  const known = readArm(results, arm, seed, conditions);
  if (known !== null) return known;
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
  const sequences = await evaluated(options, stages[1], join(paths.at(-1) as string, 'model'));
  const courses = paths.map((path) => courseOf(readRunLog(join(path, 'log.jsonl'))));
  const result: ArmResult = {
    arm,
    seed,
    plain: meanOf(sequences.plain),
    memory: meanOf(sequences.memory),
    sequences,
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
  storeArm(results, result, conditions);
  return result;
}

/** What of a corpus decides what comes of an arm. @throws Memory3Error "usage" if it does not serve the experiment */
function corpusConditions(folder: string): ArmConditions[string] {
  using prepared = openPrepared(folder);
  checkMeasurable(prepared);
  const { corpus, references } = prepared;
  if (references === null) throw noKnowledge(folder);
  const { train, validation } = corpus;
  return {
    train: { checksum: train.checksum, references: references.train.fingerprint },
    validation: { checksum: validation.checksum, references: references.validation?.fingerprint ?? null },
  };
}

/** All that decides what comes of an arm, but for its seed. */
function conditionsOf(options: ExperimentOptions, arm: ArmName, corpus: ArmConditions[string]): ArmConditions {
  const { stages, memory, shapes, evaluationSequences = null } = options;
  const { size } = arms[arm];
  const conditions = { corpus, shape: shapes[size], stages: stages[size], memory, evaluationSequences };
  return z.record(z.string(), z.json()).parse(conditions);
}

/** Losses of a finished model, with memories and without. */
async function evaluated(
  options: ExperimentOptions,
  { passSequences }: StageSettings,
  model: string,
): Promise<ArmResult['sequences']> {
  const { corpus, memory, evaluationSequences, device, signal } = options;
  const { plain, memory: withMemories } = await evaluatePretraining({
    ...{ model, corpus, memory },
    ...(passSequences === undefined ? {} : { passSequences }),
    ...(evaluationSequences === undefined ? {} : { sequences: evaluationSequences }),
    ...(device === undefined ? {} : { device }),
    ...(signal === undefined ? {} : { signal }),
  });
  if (withMemories === null) throw noKnowledge(corpus);
  return { plain: [...plain.sequences], memory: [...withMemories.sequences] };
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
  /** The paper's measure: gain by memories / gain by doubling; null where doubling gained nothing. */
  readonly effectiveSize: { readonly 'two-stages': number | null; readonly 'from-the-start': number | null };
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
  const sizeOf = ({ mean }: Spread) => (gains.double.mean > 0 ? mean / gains.double.mean : null);
  return {
    losses,
    gains,
    effectiveSize: {
      'two-stages': sizeOf(gains['two-stages']),
      'from-the-start': sizeOf(gains['from-the-start']),
    },
  };
}

function spreadOf(values: readonly number[]): Spread {
  const mean = meanOf(values);
  if (values.length < 2) return { mean, deviation: null };
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / (values.length - 1)) };
}
