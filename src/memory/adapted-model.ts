/**
 * A model with an adapter merged into it, seen as a model file of its own.
 *
 * Merging the default model takes seconds, so the merged tensors are kept in a file: a cache in a folder beside the models,
 * named by the adapter's fingerprint (which covers the base model and the width), safe to delete at any time. From then on
 * opening costs a look through that file, and tensors are read from it as others are from the model's.
 */
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Memory3Error } from '../errors.ts';
import { mergedWeights } from '../model/merged-weights.ts';
import type { ModelFile } from '../model/open.ts';
import { openStoredWeights, type StoredWeights, writeStoredWeights } from '../model/stored-weights.ts';
import type { Weights } from '../model/weights.ts';
import type { Adapter } from './adapter.ts';

export interface MergeOptions {
  /** Where merged tensors are kept; null: nowhere, each is computed whenever it is asked for. */
  readonly cacheFolder: string | null;
  readonly onNotice?: (notice: string) => void;
}

/** Merged models that are kept; the oldest goes when another is written. Each has the size of the model's matrices in its width. */
const keptModels = 4;
/** What is written for longer than this many milliseconds is not written any more. */
const longestMerge = 3_600_000;
/** Changes when the same adapter would give other tensors. */
const mergeVersion = 1;
const extension = '.merged.safetensors';

/**
 * The model with the adapter merged; it owns both. Name and fingerprint tell it from the base model, so that memories of
 * one are never read by the other.
 */
export function mergeAdapter(base: ModelFile, adapter: Adapter, options: MergeOptions): ModelFile {
  const { card, fingerprint, changes } = adapter;
  using opening = new DisposableStack();
  opening.use(base);
  opening.use(adapter);
  const merged = mergedWeights(base.weights, changes, card.matrixWidth);
  const stored = options.cacheFolder === null ? null : storedOrWritten(options.cacheFolder, adapter, merged, options);
  if (stored !== null) opening.use(stored);
  const changed = new Set(changes.names);
  const weights: Weights =
    stored === null
      ? merged
      : {
          names: base.weights.names,
          has: (name) => base.weights.has(name),
          get: (name) => (changed.has(name) ? stored.get(name) : base.weights.get(name)),
        };
  const resources = opening.move();
  return {
    name: `${base.name} + ${card.name}`,
    path: base.path,
    format: base.format,
    config: base.config,
    weights,
    chatTemplate: base.chatTemplate,
    tokenizerSource: () => base.tokenizerSource(),
    fingerprint: async () => fingerprint,
    [Symbol.dispose]: () => resources.dispose(),
  };
}

function storedOrWritten(
  folder: string,
  { card, changes, fingerprint }: Adapter,
  merged: Weights,
  { onNotice }: MergeOptions,
): StoredWeights | null {
  const path = join(folder, `${fingerprint.slice(0, 32)}-${mergeVersion}${extension}`);
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) {
    try {
      return openStoredWeights(path, changes.names);
    } catch (error) {
      if (!(error instanceof Memory3Error) || error.code !== 'damaged') throw error;
      onNotice?.(`${error.message.split('\n')[0]} It is made again.`);
    }
  }
  onNotice?.(`Merging ${card.name} into the model; this takes a few seconds and is kept for the next time.`);
  try {
    makeRoom(folder);
    writeStoredWeights(path, merged, changes.names);
  } catch (error) {
    if (!(error instanceof Memory3Error) || error.code !== 'disk') throw error;
    onNotice?.(`The merged model cannot be kept in ${folder}, so it is merged at every start: ${error.message}`);
    return null;
  }
  return openStoredWeights(path, changes.names);
}

/** Makes the folder, and deletes what killed processes have left, and the oldest merged models until there is room for one more. */
function makeRoom(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
    const files = readdirSync(folder).map((name) => {
      const path = join(folder, name);
      return { path, time: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 };
    });
    const kept = files.filter(({ path }) => path.endsWith(extension)).sort((a, b) => b.time - a.time);
    const isAbandoned = ({ path, time }: { path: string; time: number }) =>
      path.endsWith('.unfinished') && Date.now() - time > longestMerge;
    for (const { path } of [...kept.slice(keptModels - 1), ...files.filter(isAbandoned)]) rmSync(path, { force: true });
  } catch (cause) {
    throw new Memory3Error('disk', `${folder} cannot be written.`, { cause });
  }
}
