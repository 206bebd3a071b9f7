/**
 * What a fine-tuning leaves: an adapter of its base model, or a model of its own.
 *
 * LoRA on top of an adapter becomes one adapter. With scales s and s', W + s B A + s' B' A' is W + s' [s/s' B, B'] [A; A'], so the
 * companions are put side by side: exact, and of the sum of the ranks. Differences, summary tokens and the classifier of
 * answers stay as they are.
 *
 * All weights become a model folder where one can describe the model (a Llama from a folder); else, as for a GGUF file, an adapter of
 * full differences, which is as large as the model.
 */
import { basename, join, resolve } from 'node:path';
import { Memory3Error } from '../../errors.ts';
import { loraNames } from '../../graph/parameters.ts';
import {
  type Adapter,
  answerClassifierName,
  differenceName,
  summaryTokensName,
  writeAdapter,
} from '../../memory/adapter.ts';
import type { AdapterCard } from '../../memory/adapter-card.ts';
import { classifierFor } from '../../memory/answer-classifier.ts';
import type { MemoryProfile } from '../../memory/profile.ts';
import { summaryTokensFor } from '../../memory/writer.ts';
import type { ModelFile } from '../../model/open.ts';
import { toDense } from '../../model/quantised.ts';
import type { TensorToWrite } from '../../model/safetensors-writer.ts';
import { canSaveModel, checkModelFolder, type ModelDescription, saveModel } from '../scratch/save-model.ts';

/** What the adapter's card says beside what is known. */
export interface ResultCard {
  /** Of the adapter, as an SPDX expression. */
  readonly licence: string;
  /** What was trained on, added to what the adapter beneath was. */
  readonly data: AdapterCard['data'];
  /** The command that made it. */
  readonly training: string;
  readonly results: AdapterCard['results'];
}

export interface FineTuned {
  readonly base: ModelFile;
  readonly adapter: Adapter | null;
  readonly profile: MemoryProfile;
  /** Scale of the companions that were trained; null if all weights were. */
  readonly loraScale: number | null;
  /** Of the trainer. */
  readonly tensors: ReadonlyMap<string, TensorToWrite>;
}

export interface SavedResult {
  readonly kind: 'adapter' | 'model';
  /** A folder. */
  readonly path: string;
}

type Tensors = ReadonlyMap<string, TensorToWrite>;

/**
 * Writes the result into the run's folder, as `adapter` or `model`; one that is there already is replaced.
 * @throws Memory3Error "disk"; "damaged" or "usage" if a number is not finite.
 */
export async function saveResult(run: string, tuned: FineTuned, card: ResultCard): Promise<SavedResult> {
  const { base, adapter, profile, loraScale, tensors } = tuned;
  const model = modelOf(base);
  if (loraScale === null && model !== null) {
    const path = modelFolder(run);
    saveModel(path, model, tensors);
    return { kind: 'model', path };
  }
  const changes = loraScale === null ? differences(base, tensors) : stacked(tensors, loraScale, adapter);
  const { layers, keptTokens, scoring, storage } = profile;
  const answerClassifier = adapter?.answerClassifier ?? null;
  const path = join(run, 'adapter');
  writeAdapter(
    path,
    {
      formatVersion: 1,
      name: basename(resolve(run)).slice(0, 80),
      createdAt: new Date().toISOString(),
      base: { name: base.name, fingerprint: await base.fingerprint() },
      scale: loraScale ?? 1,
      profile: { layers: [layers[0] as number, ...layers.slice(1)], keptTokens, scoring, storage },
      ...(answerClassifier === null ? {} : { answerLayers: [...answerClassifier.layers] }),
      matrixWidth: 8,
      ...card,
      data: [...(adapter?.card.data ?? []), ...card.data],
    },
    withTensorsOf(adapter, changes),
    base.config,
  );
  return { kind: 'adapter', path };
}

/**
 * Refuses, before anything is trained, what could not be saved whole.
 * @throws Memory3Error "usage" for all weights that become a model folder, with an adapter whose summary tokens it cannot
 *   hold; for an adapter whose profile keeps tokens by what it has not
 */
export function checkResult(
  { base, adapter, profile }: Pick<FineTuned, 'base' | 'adapter' | 'profile'>,
  allWeights: boolean,
): void {
  if (!allWeights || modelOf(base) === null) {
    summaryTokensFor({ summaryTokens: adapter?.summaryTokens ?? null }, profile);
    // Its card names the scoring also where all tokens are kept.
    classifierFor({ answerClassifier: adapter?.answerClassifier ?? null }, { ...profile, keptTokens: 1 });
    return;
  }
  if (adapter === null || adapter.summaryTokens === null) return;
  throw new Memory3Error(
    'usage',
    `All weights of ${base.name} become a model folder, which cannot hold the summary tokens of ${adapter.card.name}.`,
    { remedy: 'Train with LoRA (without --all-weights), or name another --adapter.' },
  );
}

/** @throws Memory3Error "usage" if all weights are trained and another model stands in the run where theirs goes. */
export function checkResultPlace(run: string, { base }: Pick<FineTuned, 'base'>, allWeights: boolean): void {
  const model = modelOf(base);
  if (allWeights && model !== null) checkModelFolder(modelFolder(run), model);
}

function modelFolder(run: string): string {
  return join(run, 'model');
}

/** The model that all weights become, or null for one that no folder can hold. */
function modelOf(base: ModelFile): ModelDescription | null {
  const { config, chatTemplate } = base;
  const tokenizer = base.tokenizerSource();
  return tokenizer.kind === 'json' && canSaveModel(config) ? { config, tokenizer, chatTemplate } : null;
}

/** Trained weights less those of the file, where they differ. */
function differences(base: ModelFile, tensors: Tensors): Map<string, TensorToWrite> {
  const result = new Map<string, TensorToWrite>();
  for (const [name, { shape, data }] of tensors) {
    const before = toDense(base.weights.get(name)).data;
    const difference = data.map((value, i) => value - (before[i] as number));
    if (difference.some((value) => value !== 0)) result.set(differenceName(name), { shape, data: difference });
  }
  return result;
}

/** The trained companions beside those of the adapter beneath them. */
function stacked(tensors: Tensors, scale: number, adapter: Adapter | null): Map<string, TensorToWrite> {
  const result = new Map(tensors);
  for (const name of adapter?.changes.names ?? []) {
    const change = adapter?.changes.get(name);
    if (change?.difference !== undefined) result.set(differenceName(name), change.difference);
    if (change?.lowRank === undefined) continue;
    const { a, b, scale: beneath } = change.lowRank;
    const names = loraNames(name);
    const scaled = { shape: b.shape, data: b.data.map((value) => (value * beneath) / scale) };
    const [ownA, ownB] = [tensors.get(names.a), tensors.get(names.b)];
    result.set(names.a, ownA === undefined ? a : rowsTogether(a, ownA));
    result.set(names.b, ownB === undefined ? scaled : columnsTogether(scaled, ownB));
  }
  return result;
}

function rowsTogether(above: TensorToWrite, below: TensorToWrite): TensorToWrite {
  const columns = above.shape[1] as number;
  const data = new Float32Array(above.data.length + below.data.length);
  data.set(above.data);
  data.set(below.data, above.data.length);
  return { shape: [data.length / columns, columns], data };
}

function columnsTogether(left: TensorToWrite, right: TensorToWrite): TensorToWrite {
  const [rows, leftColumns] = left.shape as [number, number];
  const rightColumns = right.shape[1] as number;
  const columns = leftColumns + rightColumns;
  const data = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    data.set(left.data.subarray(row * leftColumns, (row + 1) * leftColumns), row * columns);
    data.set(right.data.subarray(row * rightColumns, (row + 1) * rightColumns), row * columns + leftColumns);
  }
  return { shape: [rows, columns], data };
}

/** The changes, and what of the adapter beneath is no change. */
function withTensorsOf(adapter: Adapter | null, changes: Map<string, TensorToWrite>): Tensors {
  const { summaryTokens = null, answerClassifier = null } = adapter ?? {};
  const result = new Map(changes);
  if (summaryTokens !== null) result.set(summaryTokensName, summaryTokens);
  if (answerClassifier !== null) result.set(answerClassifierName, answerClassifier.weights);
  return result;
}
