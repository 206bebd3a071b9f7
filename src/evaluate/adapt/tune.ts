/**
 * Adapting by training: the model as it is, its adapter included, learns the domain's texts by predicting every token of them (LoRA), and
 * the companions with the best validation are put beside the adapter's.
 *
 *   training     each document in pieces of at most `length` tokens behind the document-start token, several in a sequence
 *   validation   the same of documents that are not trained on, before the first step and a few times on the way
 *   result       an adapter of the file's model: the one beneath and what was learned, as one
 *
 * No question and no memory takes part.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { Memory3Error } from '../../errors.ts';
import { adapterFileName } from '../../memory/adapter.ts';
import type { TensorToWrite } from '../../model/safetensors-writer.ts';
import type { Tokenizer } from '../../model/tokenizer.ts';
import { Device, type DeviceOptions } from '../../runtime/device.ts';
import type { TrainingSample } from '../../train/fine-tuning/chat-examples.ts';
import { type FineTunedModelOptions, openFineTunedModel } from '../../train/fine-tuning/opened.ts';
import { saveResult } from '../../train/fine-tuning/result.ts';
import { loraSchema } from '../../train/fine-tuning/settings.ts';
import { packAll, SupervisedFineTuning } from '../../train/fine-tuning/sft.ts';
import { courseOf, type RunEvent, readRunLog } from '../../train/log.ts';
import { ModelTrainer } from '../../train/model-trainer.ts';
import { runTraining } from '../../train/run.ts';
import { readRunCheckpoint } from '../../train/run-folder.ts';

const positive = z.int().positive();

export const tuningSettingsSchema = z.strictObject({
  /** Updates; null: as many as the passes take. */
  steps: positive.nullable().default(null),
  /** Times that the texts are seen. */
  passes: z.number().positive().default(4),
  /** The largest learning rate. */
  rate: z.number().positive().default(2e-4),
  /** Tokens of a sequence. */
  length: z.int().min(64).max(8192).default(512),
  /** Sequences of a step. */
  batch: positive.default(4),
  /** Validations on the way, of which the best is taken. */
  validations: positive.default(8),
  /** Most sequences of held-out texts that one validation reads. */
  validationSequences: positive.default(16),
  lora: loraSchema.prefault({}),
});
export type TuningSettings = z.output<typeof tuningSettingsSchema>;

export interface TuneOptions extends FineTunedModelOptions {
  /** A run's; its result lies in `adapter`. */
  readonly folder: string;
  readonly texts: readonly string[];
  readonly validation: readonly string[];
  readonly settings: TuningSettings;
  readonly seed: number;
  /** For the adapter's card. */
  readonly source: string;
  readonly device: DeviceOptions;
  readonly signal?: AbortSignal;
  readonly onBegin?: (steps: number) => void;
  readonly onEvent?: (event: RunEvent) => void;
}

/** What a training came to. */
export interface Tuning {
  readonly steps: number;
  /** Tokens that went through the model. */
  readonly tokens: number;
  /** Nats per token of held-out texts. */
  readonly validation: { readonly before: number; readonly best: number; readonly last: number };
  /** The step of the best validation, whose weights are used. */
  readonly bestStep: number;
  /** Of the companions, in f32. */
  readonly bytes: number;
  /** Steps and validations, times between processes left out. */
  readonly seconds: number;
}

/** The validation loss of `SupervisedFineTuning`; here every token is an answer. */
const lossName = 'answers';
const weightsPrefix = 'weights:';

/** The adapter that a training leaves. */
export function tunedAdapter(folder: string): string {
  return join(folder, 'adapter');
}

/**
 * Trains, or goes on, unless it is done already.
 * @throws the signal's reason if it was interrupted; Memory3Error "usage" for texts too short to learn from; what
 *   `runTraining` and opening throw
 */
export async function tune(options: TuneOptions): Promise<Tuning> {
  const { folder, settings, seed, signal, onEvent, source, texts } = options;
  if (!existsSync(join(tunedAdapter(folder), adapterFileName))) await train();
  return readTuning(folder);

  async function train(): Promise<void> {
    using model = await openFineTunedModel(options);
    const { length, batch, lora, passes, rate, validations } = settings;
    if (length > model.base.config.contextLength) {
      throw new Memory3Error('usage', `Sequences of ${length} tokens are longer than the model can read.`);
    }
    const pack = (some: readonly string[]) =>
      packAll(
        some.flatMap((text) => samplesOf(text, model.tokenizer, length)),
        { length, memory: false },
      );
    const training = await pack(texts);
    const held = await pack(options.validation);
    const validation = { ...held, sequences: held.sequences.slice(0, settings.validationSequences) };
    if (training.sequences.length === 0 || validation.sequences.length === 0) {
      throw new Memory3Error('usage', 'The texts of the domain are too short to learn from.');
    }
    const steps = settings.steps ?? Math.max(1, Math.ceil((passes * training.sequences.length) / batch));
    const every = Math.max(1, Math.ceil(steps / validations));
    await using device = new Device(options.device);
    await using trainer = await ModelTrainer.open(model.source, device, {
      lora,
      decay: 0,
      recompute: true,
      seed,
      longest: length,
    });
    options.onBegin?.(steps);
    const result = await runTraining(
      new SupervisedFineTuning({ trainer, training, validation, memory: null, batch, seed }),
      {
        folder,
        config: {
          kind: 'texts',
          model: await model.base.fingerprint(),
          adapter: model.adapter?.fingerprint ?? null,
          texts: fingerprintOf(training.samples),
          validation: [fingerprintOf(validation.samples), validation.sequences.length],
          ...{ length, batch, lora, seed },
        },
        steps,
        schedule: { kind: 'cosine', rate },
        checkpointEvery: every,
        validateEvery: every,
        keepBest: lossName,
        ...(signal === undefined ? {} : { signal }),
        ...(onEvent === undefined ? {} : { onEvent }),
      },
    );
    if (!result.finished) signal?.throwIfAborted();
    await saveResult(
      folder,
      { ...model, loraScale: lora.scale, tensors: bestWeights(folder) },
      {
        licence: 'NOASSERTION',
        data: [{ name: source, licence: 'NOASSERTION', source, examples: texts.length }],
        training: 'memory3 eval adapt',
        results: [],
      },
    );
  }
}

/** What the training in a folder came to. @throws Memory3Error "not-found"; "damaged" */
function readTuning(folder: string): Tuning {
  const { steps, validations } = courseOf(readRunLog(join(folder, 'log.jsonl')));
  const losses = validations.map(({ losses: all }) => all[lossName] as number);
  const best = losses.indexOf(Math.min(...losses));
  const numbers = [...bestWeights(folder).values()].reduce((sum, { data }) => sum + data.length, 0);
  return {
    steps: steps.at(-1)?.step ?? 0,
    tokens: steps.at(-1)?.tokens ?? 0,
    validation: { before: losses[0] as number, best: losses[best] as number, last: losses.at(-1) as number },
    bestStep: validations[best]?.step as number,
    bytes: numbers * Float32Array.BYTES_PER_ELEMENT,
    seconds: Math.max(steps.at(-1)?.seconds ?? 0, validations.at(-1)?.seconds ?? 0),
  };
}

function bestWeights(folder: string): Map<string, TensorToWrite> {
  const { tensors } = readRunCheckpoint(folder, 'best').state;
  const weights = [...tensors].filter(([name]) => name.startsWith(weightsPrefix));
  return new Map(weights.map(([name, tensor]) => [name.slice(weightsPrefix.length), tensor]));
}

/** A text in pieces, every token of which has a loss, but for the document-start token. */
function samplesOf(text: string, tokenizer: Tokenizer, length: number): TrainingSample[] {
  const tokens = tokenizer.encode(text);
  const samples: TrainingSample[] = [];
  for (let start = 0; start < tokens.length; start += length - 1) {
    const piece = [tokenizer.bosTokenId, ...tokens.slice(start, start + length - 1)];
    samples.push({
      tokens: Int32Array.from(piece),
      weights: Float32Array.from(piece, (_, index) => (index === 0 ? 0 : 1)),
      content: new Uint8Array(piece.length).fill(1),
    });
  }
  return samples;
}

function fingerprintOf(samples: readonly TrainingSample[]): string {
  const hash = createHash('sha256');
  for (const { tokens } of samples) hash.update(`${tokens.length} `).update(tokens);
  return hash.digest('hex');
}
