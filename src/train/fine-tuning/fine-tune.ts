/**
 * A whole fine-tuning: data, model and references opened, a run in a folder, its result saved beside it. What
 * `memory3 train sft` and `memory3 train dpo` do.
 *
 * The run's configuration holds fingerprints of all that decides its numbers (model, adapter, samples, the bank's documents), so a run
 * that goes on with something else is refused by name.
 */
import { createHash } from 'node:crypto';
import { basename, join } from 'node:path';
import { checkOptions, Memory3Error } from '../../errors.ts';
import { type AdapterCard, adapterCardSchema } from '../../memory/adapter-card.ts';
import { profileIdentity } from '../../memory/choose-profile.ts';
import { chunkTokens, decidingScoring } from '../../memory/profile.ts';
import { Device, type DeviceOptions } from '../../runtime/device.ts';
import { roomFor } from '../batch.ts';
import type { ReferenceCounts } from '../data/references.ts';
import { courseOf, type RunEvent, readRunLog } from '../log.ts';
import { ModelTrainer } from '../model-trainer.ts';
import { checkRun, type RunResult, runTraining } from '../run.ts';
import type { Trainable } from '../trainable.ts';
import { encodeConversation, type TrainingSample } from './chat-examples.ts';
import { readConversations, readPreferences } from './conversations.ts';
import { DirectPreference, type FrozenPair, pairLikelihoods } from './dpo.ts';
import { frozenLikelihoods } from './frozen-likelihoods.ts';
import {
  type FineTunedModel,
  type FineTunedModelOptions,
  openFineTunedModel,
  openRecalledBank,
  type RecalledBank,
} from './opened.ts';
import { encodePreference, type PreferencePair } from './preferences.ts';
import { checkResult, checkResultPlace, type SavedResult, saveResult } from './result.ts';
import {
  defaultLength,
  type FineTuningSettings,
  type PreferenceSettings,
  preferenceSettingsSchema,
  type SupervisedSettings,
  supervisedSettingsSchema,
} from './settings.ts';
import { type PackedSamples, packAll, SupervisedFineTuning } from './sft.ts';

/** What both fine-tunings take beside their settings. */
export interface FineTuningOptions extends FineTunedModelOptions {
  /** The run's; one that is there is gone on with. */
  readonly folder: string;
  /** JSON Lines, plain or gzip. */
  readonly data: readonly string[];
  /** The same, to validate with. */
  readonly validation?: readonly string[];
  /** The bank that samples recall references from; null: they see none. */
  readonly bank: string | null;
  readonly embedder?: string;
  readonly device?: DeviceOptions;
  /** For the result's card. */
  readonly card?: {
    /** SPDX expressions of the result and of the data; default NOASSERTION. */
    readonly licence?: string;
    readonly dataLicence?: string;
    /** Authors and place of the data; default its files' names. */
    readonly dataSource?: string;
    /** The command that is run. */
    readonly training?: string;
  };
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: RunEvent) => void;
  /** What is worth saying once. */
  readonly onNotice?: (notice: string) => void;
  /** The run is about to begin, or to go on, to so many steps. */
  readonly onBegin?: (steps: number) => Promise<void>;
  /** The frozen model reads the preferences. */
  readonly onFrozen?: (done: number, total: number) => void;
}

export interface FineTuningResult extends RunResult {
  /** Null if it was interrupted. */
  readonly saved: SavedResult | null;
  /** Samples or preferences that were learned. */
  readonly examples: number;
  /** Of what this process recalled; null without references. */
  readonly references: ReferenceCounts | null;
}

/**
 * Learns answers (SFT), or goes on with it.
 * @throws Memory3Error "damaged" naming a file and line of the data; "usage" for wrong options, or nothing to learn or to
 *   validate with; what opening and `runTraining` throw.
 * @example
 * await fineTuneAnswers({ folder: 'runs/chat', data: ['chats.jsonl'], bank: 'notes' }, { epochs: 1 });
 */
export async function fineTuneAnswers(
  options: FineTuningOptions,
  settings: SupervisedSettings = {},
): Promise<FineTuningResult> {
  const checked = checkOptions(supervisedSettingsSchema, settings);
  return await fineTune(options, checked, 'sft', async ({ model, length, memory, trainer, noticeSet }) => {
    const read = async (files: readonly string[], what: string) => {
      const { rounds } = checked;
      const samples: TrainingSample[] = [];
      let cutRounds = 0;
      for await (const conversation of readConversations(files, { rounds })) {
        options.signal?.throwIfAborted();
        samples.push(encodeConversation(model, conversation.messages, { origin: conversation.origin }));
        if (conversation.cutRounds > 0) cutRounds++;
      }
      const packed = await packAll(samples, { length, memory: memory !== null });
      noticeSet(what, { total: samples.length, tooLong: packed.leftOut.length, cutRounds });
      return packed;
    };
    const training = await read(options.data, 'conversations');
    const validation =
      options.validation === undefined ? null : await read(options.validation, 'validation conversations');
    const { batch, seed, epochs } = checked;
    const setOf = ({ samples, leftOut }: PackedSamples): TaskSet => ({
      examples: samples.length - leftOut.length,
      fingerprint: fingerprintOf(samples),
    });
    return {
      training: setOf(training),
      validation: validation === null ? null : setOf(validation),
      epochSteps: (epochs * training.sequences.length) / batch,
      trainable: async () => new SupervisedFineTuning({ trainer, training, validation, memory, batch, seed }),
    };
  });
}

/**
 * Learns preferences (DPO), or goes on with it. The frozen model's likelihoods are kept in the run's folder.
 * @throws Memory3Error as `fineTuneAnswers`.
 */
export async function fineTunePreferences(
  options: FineTuningOptions,
  settings: PreferenceSettings = {},
): Promise<FineTuningResult> {
  const checked = checkOptions(preferenceSettingsSchema, settings);
  return await fineTune(options, checked, 'dpo', async (prepared) => {
    const { model, length, memory, trainer, notice, noticeSet, fingerprint } = prepared;
    const read = async (files: readonly string[], what: string) => {
      const { rounds } = checked;
      const pairs: PreferencePair[] = [];
      let [total, tooLong, identical, cutRounds] = [0, 0, 0, 0];
      for await (const preference of readPreferences(files, { rounds })) {
        options.signal?.throwIfAborted();
        total++;
        if (preference.cutRounds > 0) cutRounds++;
        const pair = encodePreference(model, preference);
        if (pair.identical) identical++;
        else if (Math.max(pair.chosen.tokens.length, pair.rejected.tokens.length) > length) tooLong++;
        else pairs.push(pair);
      }
      noticeSet(what, { total, tooLong, cutRounds });
      notice(`${identical} of ${total} ${what} prefer an answer to itself: left out.`, identical);
      return pairs;
    };
    const training = await read(options.data, 'preferences');
    const validation = await read(options.validation ?? [], 'validation preferences');
    const { batch, seed, epochs, beta } = checked;
    const setOf = (pairs: readonly PreferencePair[]): TaskSet => ({
      examples: pairs.length,
      fingerprint: fingerprintOf(pairs.flatMap(({ chosen, rejected }) => [chosen, rejected])),
    });
    const [trainingSet, validationSet] = [setOf(training), setOf(validation)];
    const frozen = async (
      pairs: readonly PreferencePair[],
      file: string,
      { fingerprint: own }: TaskSet,
      replace: boolean,
    ): Promise<FrozenPair[]> => {
      const likelihoods = await frozenLikelihoods(
        join(options.folder, file),
        createHash('sha256')
          .update(JSON.stringify([fingerprint, own]))
          .digest('hex'),
        pairs.length,
        (index) => pairLikelihoods(trainer, pairs[index] as PreferencePair, memory),
        {
          replace,
          ...(options.signal === undefined ? {} : { signal: options.signal }),
          ...(options.onFrozen === undefined ? {} : { onProgress: options.onFrozen }),
        },
      );
      return pairs.map((pair, index) => ({ pair, frozen: likelihoods[index] as FrozenPair['frozen'] }));
    };
    return {
      training: trainingSet,
      validation: options.validation === undefined ? null : validationSet,
      epochSteps: (epochs * training.length) / batch,
      beta,
      trainable: async () =>
        new DirectPreference({
          trainer,
          training: await frozen(training, 'frozen-likelihoods.jsonl', trainingSet, false),
          validation: await frozen(validation, 'frozen-likelihoods-validation.jsonl', validationSet, true),
          memory,
          beta,
          batch,
          seed,
        }),
    };
  });
}

/** What preparing the data is given. */
interface Prepared {
  readonly model: FineTunedModel;
  readonly length: number;
  readonly memory: RecalledBank['memory'] | null;
  readonly trainer: ModelTrainer;
  /** Of what the model computes from samples. */
  readonly fingerprint: Readonly<Record<string, unknown>>;
  /** Says something of a number that is not 0. */
  notice(text: string, count: number): void;
  /** Says what of a set was left out or cut. */
  noticeSet(
    what: string,
    counts: { readonly total: number; readonly tooLong: number; readonly cutRounds: number },
  ): void;
}

/** What is left of the files of one purpose. */
interface TaskSet {
  readonly examples: number;
  readonly fingerprint: string;
}

/** Data that is ready to be learned. */
interface Task {
  readonly training: TaskSet;
  readonly validation: TaskSet | null;
  /** Steps that all epochs take, not rounded. */
  readonly epochSteps: number;
  readonly beta?: number;
  trainable(): Promise<Trainable>;
}

async function fineTune(
  options: FineTuningOptions,
  settings: FineTuningSettings,
  kind: 'sft' | 'dpo',
  prepare: (prepared: Prepared) => Promise<Task>,
): Promise<FineTuningResult> {
  const { folder, onNotice, onEvent, signal, device: deviceOptions = {} } = options;
  const { lora, recompute, decay, references, maxOverlap, batch, seed, rate, warmup, rounds } = settings;
  using model = await openFineTunedModel(options);
  checkResult(model, lora === null);
  await using device = new Device(deviceOptions);
  await using bank =
    options.bank === null
      ? null
      : await openRecalledBank(model, device, { ...options, bank: options.bank, references, maxOverlap });
  const length = lengthOf(settings, model, bank !== null);
  await using trainer = await ModelTrainer.open(model.source, device, {
    lora,
    decay,
    recompute,
    seed,
    longest: length,
  });
  const computing = {
    model: await model.base.fingerprint(),
    adapter: model.adapter?.fingerprint ?? null,
    memory:
      bank === null
        ? null
        : { profile: model.profile, ...chosenBy(model), bank: bank.fingerprint, references, maxOverlap },
    length,
  };
  const notice = (text: string, count: number) => {
    if (count > 0) onNotice?.(text);
  };
  const task = await prepare({
    model,
    length,
    memory: bank?.memory ?? null,
    trainer,
    fingerprint: computing,
    notice,
    noticeSet(what, { total, tooLong, cutRounds }) {
      notice(`${tooLong} of ${total} ${what} are longer than ${length} tokens: left out.`, tooLong);
      notice(`${cutRounds} ${what} had more than ${rounds} rounds: the last ${rounds} are kept.`, cutRounds);
    },
  });
  const refuseEmpty = (set: TaskSet, files: readonly string[], use: string) => {
    if (set.examples > 0) return;
    throw new Memory3Error('usage', `Nothing in ${files.join(', ')} can be ${use}.`, {
      remedy: `Name files with something that fits into a sequence of ${length} tokens, or choose a larger --length.`,
    });
  };
  const { examples } = task.training;
  refuseEmpty(task.training, options.data, 'learned');
  if (task.validation !== null) refuseEmpty(task.validation, options.validation ?? [], 'validated with');
  const card = cardOf(options, kind, examples);
  const steps = settings.steps ?? Math.max(1, Math.ceil(task.epochSteps));
  const run = {
    folder,
    config: {
      kind,
      ...computing,
      names: { model: model.base.name, data: [...options.data] },
      data: task.training.fingerprint,
      validation: task.validation?.fingerprint ?? null,
      ...(task.beta === undefined ? {} : { beta: task.beta }),
      lora,
      decay,
      batch,
      seed,
      recompute,
      device: { ...deviceOptions },
    },
    mayChange: ['names', 'validation', 'device', 'recompute'],
    steps,
    schedule: { kind: 'cosine', rate, warmup },
    checkpointEvery: settings.checkpointEvery,
    validateEvery: task.validation === null ? null : settings.validateEvery,
  } as const;
  // The frozen model reads for long, and leaves its likelihoods in the folder.
  checkRun(run);
  checkResultPlace(folder, model, lora === null);
  const trainable = await task.trainable();
  await options.onBegin?.(steps);
  let saved: SavedResult | null = null;
  const result = await runTraining(trainable, {
    ...run,
    saveResult: async () => {
      const tuned = { ...model, loraScale: lora?.scale ?? null, tensors: await trainer.tensors() };
      saved = await saveResult(folder, tuned, { ...card, results: resultsOf(folder, onNotice) });
    },
    ...(signal === undefined ? {} : { signal }),
    ...(onEvent === undefined ? {} : { onEvent }),
  });
  return { ...result, saved, examples, references: bank?.recall.counts ?? null };
}

/** What is known of the result's card before anything is trained. @throws Memory3Error "usage" for what no card can say */
function cardOf({ data, card = {} }: FineTuningOptions, kind: 'sft' | 'dpo', examples: number) {
  const { licence = 'NOASSERTION', dataLicence = 'NOASSERTION', dataSource, training } = card;
  const files = data.map((file) => basename(file)).join(', ');
  return checkOptions(adapterCardSchema.pick({ licence: true, data: true, training: true }), {
    licence,
    data: [{ name: files, licence: dataLicence, source: dataSource ?? files, examples }],
    training: training ?? `memory3 train ${kind}`,
  });
}

/** Of the classifier of answers, where it decides which tokens are kept. */
function chosenBy({ profile, adapter }: FineTunedModel): { readonly chosenBy?: string } {
  if (decidingScoring(profile) !== 'answer-weighted') return {};
  return { chosenBy: profileIdentity(profile, { answerClassifier: adapter?.answerClassifier ?? null }).fingerprint };
}

/** A length that fits the model. @throws Memory3Error "usage" */
function lengthOf({ length }: FineTuningSettings, { base: { config } }: FineTunedModel, memory: boolean): number {
  const room = roomFor(config, memory);
  const alignment = memory ? chunkTokens : 1;
  const chosen = length ?? Math.floor(Math.min(defaultLength, room) / alignment) * alignment;
  if (chosen > room) {
    throw new Memory3Error(
      'usage',
      `Sequences of ${chosen} tokens are longer than the ${room} that the model can read.`,
    );
  }
  if (chosen % alignment !== 0) {
    throw new Memory3Error('usage', `A length of ${chosen} tokens is no whole number of chunks of ${alignment}.`, {
      remedy: `Choose a multiple of ${alignment}, or train with --no-memory.`,
    });
  }
  return chosen;
}

function fingerprintOf(samples: readonly TrainingSample[]): string {
  const hash = createHash('sha256');
  for (const { tokens, weights } of samples) hash.update(`${tokens.length} `).update(tokens).update(weights);
  return hash.digest('hex');
}

/** Losses of the run, for the card: of the first and the last step and validation. */
function resultsOf(folder: string, onNotice: FineTuningOptions['onNotice'] = () => {}): AdapterCard['results'] {
  const { steps, validations } = courseOf(readRunLog(join(folder, 'log.jsonl'), onNotice));
  return [
    ...ends(steps).map(({ step, loss }) => ({ step, 'training loss': loss })),
    ...ends(validations).map(({ step, losses }) => ({ step, ...losses })),
  ];
}

function ends<T>(all: readonly T[]): T[] {
  return all.length < 2 ? [...all] : [all[0] as T, all.at(-1) as T];
}
