/**
 * The conversion of a model (`memory3 convert`): low-rank companions are trained until the model writes and reads memories
 * well, and become an adapter.
 *
 * The same training without references, or with references as text, makes the models that a conversion is measured
 * against: they see the same questions in the same order for the same number of steps.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { checkOptions } from '../../errors.ts';
import type { OpenedModel } from '../../generate/workspace.ts';
import { answerClassifierName, checkAdapterFolder, openAdapter, writeAdapter } from '../../memory/adapter.ts';
import { type AdapterCard, adapterCardSchema } from '../../memory/adapter-card.ts';
import { classifierFor } from '../../memory/answer-classifier.ts';
import { profileIdentity } from '../../memory/choose-profile.ts';
import { longestBody, type MemoryProfile, memoryProfileSchema } from '../../memory/profile.ts';
import { adapterState, adapterTensors } from '../adapter-tensors.ts';
import { courseOf, readRunLog } from '../log.ts';
import type { LoraOptions } from '../lora.ts';
import { ModelTrainer } from '../model-trainer.ts';
import { type RunOptions, type RunResult, runTraining } from '../run.ts';
import { scheduleSchema } from '../schedule.ts';
import { referenceModes } from './group.ts';
import { type Material, materialFingerprint, readMaterial } from './material.ts';
import { checkGroup, openMixture } from './mixture.ts';
import { textTokens } from './plan.ts';
import { attributions } from './sources.ts';
import { ConversionTraining } from './training.ts';

const count = z.int().positive();

/** What decides a conversion; the defaults are those of the adapter that ships. */
export const conversionSchema = z.strictObject({
  /** How references reach the contexts: as memories, or not at all or as text for the models to compare with. */
  mode: z.enum(referenceModes).default('memory'),
  /** Numbers of kept tokens, learned in turn. */
  learn: z.array(memoryProfileSchema.shape.keptTokens).nonempty().default([8, 32, 8, 'all']),
  steps: count.default(520),
  schedule: scheduleSchema.default({ kind: 'warmup-stable-decay', rate: 8e-4, warmup: 20, decay: 0.3, end: 0 }),
  rank: count.default(32),
  /** Factor on B A. */
  scale: z.number().positive().default(2),
  /** References and contexts of a step. */
  references: count.default(6),
  contexts: count.default(20),
  /** Longest context. */
  contextTokens: count.default(64),
  /** Summary tokens appended to each reference; 0 for none. */
  summaryTokens: z.int().nonnegative().default(0),
  seed: z.int().min(0).max(0xffff_ffff).default(1),
});
export type ConversionOptions = z.input<typeof conversionSchema>;
type Conversion = z.output<typeof conversionSchema>;

export interface ConvertRequest {
  /** The base model, without an adapter. */
  readonly opened: OpenedModel;
  readonly profile: MemoryProfile;
  /** Folder of the data sets (docs/training.md says how it is laid out). */
  readonly data: string;
  /** Folder of the run; one that was interrupted is gone on with. */
  readonly run: string;
  /** Folder of the adapter. */
  readonly out: string;
  readonly name: string;
  /** An adapter of the same model that training goes on from, and whose classifier of answers may choose; by default it begins anew. */
  readonly from?: string;
  readonly options: ConversionOptions;
  /** Command and results, for the card. */
  readonly card: Pick<AdapterCard, 'training' | 'results'>;
  /** Takes less memory and a third more time; the results are the same. */
  readonly recompute?: boolean;
  readonly signal?: AbortSignal;
  readonly onEvent?: RunOptions['onEvent'];
  readonly onNotice?: (notice: string) => void;
}

export interface Converted {
  readonly run: RunResult;
  /** The adapter's file; null if the run was interrupted. */
  readonly path: string | null;
}

/** Groups of held-out questions that every validation measures. */
const validationGroups = 6;
/** Groups need references for their continuations, and held-out material has no plain contexts. */
const validationShape = { references: 8, contexts: 20, seed: 2 };

/**
 * Trains a conversion, or goes on with one, and writes its adapter.
 * @throws Memory3Error "usage" for options, "not-found" or "damaged" for data, and whatever `runTraining` throws.
 */
export async function convert(given: ConvertRequest): Promise<Converted> {
  const options = checkOptions(conversionSchema, given.options);
  // Before all data are read, which takes a minute.
  checkGroup(options);
  checkAdapterFolder(given.out);
  const request = { ...given, profile: trainedProfile(given.profile, options) };
  const { opened, profile, signal, onEvent } = request;
  using from = given.from === undefined ? null : await openAdapter(given.from, opened.file);
  const answerClassifier = from?.answerClassifier ?? null;
  // Who learns by a classifier keeps it, whether or not every number of kept tokens needs it.
  const choosing = { ...profile, keptTokens: 1 };
  const classifier = classifierFor({ answerClassifier }, choosing);
  const material = readOf(request, options, 'training');
  const heldOut = readOf(request, options, 'held-out');
  for (const [set, counts] of Object.entries(material.counts)) {
    const described = Object.entries(counts).map(([what, number]) => `${number} ${what}`);
    request.onNotice?.(`${set}: ${described.join(', ')}`);
  }
  // A name that no card can have is refused now and not when all is trained.
  checkOptions(adapterCardSchema, await cardOf(request, options, material));
  const lora: LoraOptions = { rank: options.rank, scale: options.scale };
  await using trainer = await ModelTrainer.open(opened.file, opened.model.device, {
    lora,
    summaryTokens: options.mode === 'memory' ? options.summaryTokens : 0,
    // Companions that decay forget; the rest is frozen.
    decay: 0,
    seed: options.seed,
    recompute: request.recompute ?? false,
  });
  if (from !== null) await trainer.restore(adapterState(from, trainer));
  const training = new ConversionTraining({
    trainer,
    stream: mixtureOf(request, options, material, options),
    memory: options.mode === 'memory' ? { profile, summaryTokens: options.summaryTokens, answerClassifier } : null,
    kept: options.summaryTokens > 0 ? [options.summaryTokens] : options.learn,
    repeatPrompt: opened.repeatPrompt,
    validation: validationOf(request, options, heldOut),
    passTokens: 2048,
    // A text and the document-start token fill one; the others are packed.
    sequenceTokens: Math.max(options.contextTokens, textTokens) + 1,
  });
  const { steps, schedule, ...rest } = options;
  const run = await runTraining(training, {
    folder: request.run,
    config: {
      ...rest,
      profile: { ...profile },
      base: await opened.file.fingerprint(),
      from: from?.fingerprint ?? null,
      ...(classifier === null ? {} : { chosenBy: profileIdentity(choosing, { answerClassifier }).fingerprint }),
      data: materialFingerprint([material, heldOut]),
    },
    steps,
    schedule,
    checkpointEvery: 20,
    validateEvery: 60,
    ...(signal === undefined ? {} : { signal }),
    ...(onEvent === undefined ? {} : { onEvent }),
  });
  const write = async () => {
    const tensors = await adapterTensors(trainer);
    const card = await cardOf(request, options, material);
    if (classifier !== null) {
      tensors.set(answerClassifierName, classifier.weights);
      card.answerLayers = classifier.layers;
    }
    return writeAdapter(request.out, card, tensors, opened.file.config);
  };
  // Written first: nothing about the log keeps the adapter away.
  const path = run.finished ? await write() : null;
  request.onNotice?.(describeCut(request, options));
  return { run, path };
}

/** How many of the contexts so far lost their end: chats and sums do, where their answer does not fit as a whole. */
function describeCut({ run, onNotice = () => {} }: ConvertRequest, { contexts, contextTokens }: Conversion): string {
  const { steps } = courseOf(readRunLog(join(run, 'log.jsonl'), onNotice));
  const cut = steps.reduce((sum, step) => sum + (step.cut ?? 0), 0);
  return `${cut} of ${steps.length * contexts} contexts were read to their first ${contextTokens} tokens only`;
}

/** Summary tokens are kept instead of chosen ones. */
function trainedProfile(profile: MemoryProfile, { mode, summaryTokens }: Conversion): MemoryProfile {
  if (summaryTokens === 0 || mode !== 'memory') return profile;
  return { ...profile, scoring: 'summary', keptTokens: summaryTokens };
}

function readOf(
  { data, opened, profile }: ConvertRequest,
  options: Conversion,
  split: 'training' | 'held-out',
): Material {
  return readMaterial(data, {
    tokenizer: opened.tokenizer,
    maxTokens: longestBody(profile),
    contextTokens: options.contextTokens,
    split,
  });
}

function mixtureOf(
  { opened, profile }: ConvertRequest,
  { mode, contextTokens }: Conversion,
  material: Material,
  shape: Pick<Conversion, 'references' | 'contexts' | 'seed'>,
) {
  return openMixture(material, {
    tokenizer: opened.tokenizer,
    chatTemplate: opened.chatTemplate,
    maxTokens: longestBody(profile),
    contextTokens,
    mode,
    references: shape.references,
    contexts: shape.contexts,
    seed: shape.seed,
  });
}

function validationOf(request: ConvertRequest, options: Conversion, heldOut: Material) {
  const stream = mixtureOf(request, options, heldOut, validationShape);
  return Array.from({ length: validationGroups }, (_, position) => stream.group(position));
}

async function cardOf(
  { opened, profile, name, card }: ConvertRequest,
  options: Conversion,
  material: Material,
): Promise<AdapterCard> {
  const { header: _, ...written } = profile;
  return {
    formatVersion: 1,
    name,
    createdAt: new Date().toISOString(),
    licence: 'CC-BY-SA-4.0',
    base: { name: opened.file.name, fingerprint: await opened.file.fingerprint() },
    scale: options.scale,
    profile: written,
    // In 4 bits nearly all of a low-rank change is rounded away (docs/quality.md).
    matrixWidth: 8,
    data: attributions(material.counts),
    ...card,
  };
}
