/**
 * One stage of pretraining as a run in a folder: a new model's, or the next one of a run that is finished.
 *
 * A stage that follows another begins with its weights, a fresh optimiser and a schedule of its own, on the sequences that
 * come next in the same order. When it is done the model lies in the run's folder under `model`.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { checkOptions, Memory3Error } from '../../errors.ts';
import { chooseProfile, type ProfileChoice, repeatPrompt } from '../../memory/choose-profile.ts';
import type { ModelSource } from '../../memory/model.ts';
import { memoryProfileSchema } from '../../memory/profile.ts';
import type { ModelConfig } from '../../model/config.ts';
import { openModelFile } from '../../model/open.ts';
import { openSafetensors } from '../../model/safetensors.ts';
import type { TensorToWrite } from '../../model/safetensors-writer.ts';
import { Device, type DeviceOptions } from '../../runtime/device.ts';
import { roomFor } from '../batch.ts';
import { sequenceOrder } from '../data/order.ts';
import type { RunEvent } from '../log.ts';
import { ModelTrainer } from '../model-trainer.ts';
import { checkRun, type RunResult, runTraining } from '../run.ts';
import { lastCheckpointStep, readRunConfig } from '../run-folder.ts';
import { initialWeights, type ModelShape, modelShapeSchema, newModelConfig } from '../scratch/new-model.ts';
import { checkModelFolder, saveModel, weightsFile } from '../scratch/save-model.ts';
import { noKnowledge, openPrepared, type PreparedTraining } from './prepared.ts';
import { Pretraining } from './pretraining.ts';
import type { SequenceSource } from './sequences.ts';

const positive = z.int().positive();

/** How a stage goes. */
export const stageSettingsSchema = z.strictObject({
  steps: positive,
  /** The largest learning rate. */
  rate: z.number().positive(),
  /** Steps, or a share of them below 1, in which the rate rises. */
  warmup: z.number().nonnegative().default(0.05),
  /** Steps, or a share of them below 1, in which it falls to zero. */
  decay: z.number().nonnegative().default(0.1),
  /** Sequences of a step, and of a pass through the model. */
  stepSequences: positive.default(4),
  passSequences: positive.default(4),
  /** Sequences that a validation measures, and steps between two of them. */
  validationSequences: positive.default(32),
  validateEvery: positive.default(64),
  checkpointEvery: positive.default(64),
});
export type StageSettings = z.input<typeof stageSettingsSchema>;

/** For models of a few million parameters. */
export const stageRates = { first: 1.5e-3, next: 1e-3 } as const;

/** The paper's choice (3.3), which suits a model that is trained for it. */
export const pretrainedProfile = { layers: 'first-half', keptTokens: 8, scoring: 'received', storage: 'int8' } as const;

export interface StageOptions extends StageSettings {
  /** The run's. */
  readonly folder: string;
  /** As `prepareTraining` makes it. */
  readonly corpus: string;
  /** A new model, or the folder of the run to go on from. */
  readonly model: { readonly shape: ModelShape; readonly seed: number } | { readonly from: string };
  /** What differs from `pretrainedProfile`; null: a stage without memories. */
  readonly memory: ProfileChoice | null;
  readonly device?: DeviceOptions;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: RunEvent) => void;
}

export interface StageResult extends RunResult {
  /** The model's folder; there if the stage is finished. */
  readonly model: string;
  /** How often the corpus was seen, by this stage and those before it. */
  readonly epochs: number;
}

/** What stands in the configuration of a stage's run. */
const stageConfigSchema = z.strictObject({
  kind: z.literal('pretraining'),
  corpus: z.strictObject({
    path: z.string(),
    checksum: z.int(),
    sequences: z.int(),
    sequenceLength: z.int(),
    /** What was found for the chunks; null without memories. */
    references: z.string().nullable(),
  }),
  model: z.union([
    z.strictObject({ shape: modelShapeSchema, seed: z.int() }),
    z.strictObject({ from: z.string(), fingerprint: z.string() }),
  ]),
  memory: memoryProfileSchema.nullable(),
  firstDraw: z.int().nonnegative(),
  stepSequences: positive,
  passSequences: positive,
  validationSequences: positive,
  device: z.looseObject({}),
});

/** Changed, the corpus is seen in another order. */
const orderSeed = 1;

/**
 * Runs a stage, or goes on with it; a finished one is left as it is.
 * @throws Memory3Error "usage" for wrong options, memories on a corpus without knowledge, sequences too long for the model, or
 *   something else in the place of the run's model;
 *   "not-found" if `from` is not finished; what `runTraining` throws.
 */
export async function runStage(options: StageOptions): Promise<StageResult> {
  const { folder, corpus: corpusFolder, model, memory, device: deviceOptions = {}, signal, onEvent, ...rest } = options;
  const settings = checkOptions(stageSettingsSchema, rest);
  using prepared = openPrepared(corpusFolder);
  await using begun = await beginModel(model, prepared);
  const profile =
    memory === null
      ? null
      : chooseProfile(begun.source.config, prepared.tokenizer, { ...pretrainedProfile, ...memory });
  if (profile?.scoring === 'summary' || profile?.scoring === 'answer-weighted') {
    const what = profile.scoring === 'summary' ? 'Summary tokens belong' : 'A classifier of answers belongs';
    throw new Memory3Error('usage', `${what} to an adapter; pretraining makes a model of its own.`, {
      remedy: 'Choose another --scoring.',
    });
  }
  const { sequenceLength } = prepared.corpus.train;
  checkRoom(begun.source.config, sequenceLength, profile !== null);
  const sources = sourcesOf(prepared);
  if (profile !== null && sources.train.references === null) throw noKnowledge(corpusFolder);
  const { train } = prepared.corpus;
  const config: z.output<typeof stageConfigSchema> = {
    kind: 'pretraining',
    corpus: {
      path: resolve(corpusFolder),
      checksum: train.checksum,
      sequences: train.count,
      sequenceLength: train.sequenceLength,
      references: profile === null ? null : (prepared.references?.train.fingerprint ?? null),
    },
    model: begun.described,
    memory: profile,
    firstDraw: begun.firstDraw,
    stepSequences: settings.stepSequences,
    passSequences: settings.passSequences,
    validationSequences: settings.validationSequences,
    device: { ...deviceOptions },
  };
  const { steps, rate, warmup, decay, validateEvery, checkpointEvery } = settings;
  const run = {
    folder,
    config,
    mayChange: ['corpus.path', 'device', 'model.from'],
    steps,
    schedule: { kind: 'warmup-stable-decay', rate, warmup, decay },
    validateEvery: sources.validation.tokens.count === 0 ? null : validateEvery,
    checkpointEvery,
  } as const;
  const place = join(folder, modelFolder);
  const described = { config: begun.source.config, tokenizer: prepared.tokenizerFiles };
  // Now and not when all steps are done; a run of something else is told first.
  checkRun(run);
  checkModelFolder(place, described);
  await using device = new Device(deviceOptions);
  await using trainer = await ModelTrainer.open(begun.source, device, {
    lora: null,
    longest: train.sequenceLength,
  });
  const training = new Pretraining({
    trainer,
    source: sources.train,
    validation: sources.validation,
    order: sequenceOrder(orderSeed, train.count),
    ...config,
    memory: profile === null ? null : { profile, repeatPrompt: repeatPrompt(prepared.tokenizer) },
  });
  const result = await runTraining(training, {
    ...run,
    saveResult: async ({ step }) => {
      saveModel(place, { ...described, metadata: { [stepName]: `${step}` } }, await trainer.tensors());
    },
    ...(signal === undefined ? {} : { signal }),
    ...(onEvent === undefined ? {} : { onEvent }),
  });
  return { ...result, model: place, epochs: (begun.firstDraw + result.step * settings.stepSequences) / train.count };
}

const modelFolder = 'model';
/** In the metadata of a model's weights: the step of the run that they are of. */
const stepName = 'step';

/** @throws Memory3Error "usage" for sequences that do not fit, behind memories if there are any. */
export function checkRoom(config: ModelConfig, sequenceLength: number, memory: boolean): void {
  const room = roomFor(config, memory);
  if (sequenceLength <= room) return;
  const behind = memory ? ' behind its memories' : '';
  throw new Memory3Error(
    'usage',
    `Sequences of ${sequenceLength} tokens are longer than the ${room} that the model can read${behind}.`,
    { remedy: 'Prepare the corpus with a smaller --length.' },
  );
}

/** The settings that a stage of a run had, for the next one. @throws Memory3Error "mismatch" if it was no pretraining. */
export function readStage(folder: string) {
  const { settings, config } = readRunConfig(folder);
  const parsed = stageConfigSchema.safeParse(config);
  if (!parsed.success) {
    throw new Memory3Error('mismatch', `${folder} is the run of something else than pretraining.`, {
      remedy: 'Name the folder of a run of `memory3 train warmup` or `memory3 train continual`.',
    });
  }
  return { settings, config: parsed.data, model: join(folder, modelFolder) };
}

/** The sequences of a prepared folder, with the references that their chunks found. */
export function sourcesOf({ corpus, references }: PreparedTraining): {
  readonly train: SequenceSource;
  readonly validation: SequenceSource;
} {
  return {
    train: { tokens: corpus.train, references: references?.train ?? null },
    validation: { tokens: corpus.validation, references: references?.validation ?? null },
  };
}

interface BegunModel extends AsyncDisposable {
  readonly source: ModelSource;
  readonly described: z.output<typeof stageConfigSchema>['model'];
  readonly firstDraw: number;
}

async function beginModel(model: StageOptions['model'], prepared: PreparedTraining): Promise<BegunModel> {
  if ('shape' in model) {
    const shape = checkOptions(modelShapeSchema, model.shape);
    const config = newModelConfig(shape, prepared.tokenizer.vocabularySize);
    const source = newModelSource(config, model.seed);
    return { source, described: { shape, seed: model.seed }, firstDraw: 0, [Symbol.asyncDispose]: async () => {} };
  }
  const { settings, config, model: path } = readStage(model.from);
  if (config.corpus.checksum !== prepared.corpus.train.checksum) {
    throw new Memory3Error('mismatch', `${model.from} was trained on another corpus than ${prepared.folder}.`, {
      remedy: 'Go on with the corpus of the run.',
    });
  }
  // A finished run that is gone on with to more steps has a model already. Without checkpoints only the result was kept.
  const done = lastCheckpointStep(model.from) ?? settings.steps;
  if (done < settings.steps) {
    throw new Memory3Error(
      'not-found',
      `The run ${model.from} is not finished: it has ${done} of ${settings.steps} steps.`,
      {
        remedy: 'Go on with it first, by the command that it was begun with.',
      },
    );
  }
  checkStep(model.from, path, done);
  const file = await openModelFile(path);
  return {
    source: file,
    described: { from: resolve(model.from), fingerprint: await file.fingerprint() },
    firstDraw: config.firstDraw + done * config.stepSequences,
    [Symbol.asyncDispose]: async () => file[Symbol.dispose](),
  };
}

/** A run that was killed between its last checkpoint and its model has the model of an earlier end, or none. */
function checkStep(run: string, model: string, done: number): void {
  const weights = join(model, weightsFile);
  using file = existsSync(weights) ? openSafetensors(weights) : null;
  // Models of before it was written down do not say.
  const step = file === null ? 'missing' : (file.metadata.get(stepName) ?? `${done}`);
  if (step === `${done}`) return;
  const fault = step === 'missing' ? 'its model is missing' : `its model is that of step ${step}`;
  throw new Memory3Error('not-found', `The run ${run} has done ${done} steps, but ${fault}.`, {
    remedy: 'Give the command that it was begun with once more: it writes the model.',
  });
}

/** A model of random numbers, in memory. */
export function newModelSource(config: ModelConfig, seed: number): ModelSource {
  const tensors = initialWeights(config, seed);
  const get = (name: string) => {
    const { shape, data } = tensors.get(name) as TensorToWrite;
    return { kind: 'dense', shape, data } as const;
  };
  return { config, weights: { names: [...tensors.keys()], has: (name) => tensors.has(name), get } };
}
