/** A model together with its adapter: the one that was asked for, else the one that ships with the project for it. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type FetchOptions, fetchModel } from '../hub/fetch.ts';
import { modelsFolder } from '../hub/home.ts';
import { isHuggingFaceReference } from '../hub/reference.ts';
import { mergeAdapter } from '../memory/adapted-model.ts';
import { type Adapter, adapterFileName, openAdapter, readAdapterCard } from '../memory/adapter.ts';
import type { AdapterCard } from '../memory/adapter-card.ts';
import { type ModelFile, openModelFile } from '../model/open.ts';

/** Each folder in it is an adapter; it lies beside `src` and `dist` alike. */
const shippedFolder = fileURLToPath(new URL('../../assets/adapters/', import.meta.url));

export interface AdapterOptions {
  /**
   * A folder with `adapter.safetensors`, such a file, or `hf:owner/repository/adapter.safetensors`; null for none. Default:
   * the adapter that ships for the model, if there is one.
   */
  readonly adapter?: string | null;
  readonly fetch?: FetchOptions;
}

export interface AdaptedModel {
  /** Owns the adapter too. */
  readonly file: ModelFile;
  readonly adapter: Adapter | null;
}

export interface ShippedAdapter {
  readonly path: string;
  readonly card: AdapterCard;
}

/** The adapters that come with the project. */
export function shippedAdapters(folder: string = shippedFolder): ShippedAdapter[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map((name) => join(folder, name))
    .filter((path) => existsSync(join(path, adapterFileName)))
    .map((path) => ({ path, card: readAdapterCard(path) }));
}

export interface ModelAndAdapter extends Disposable {
  readonly base: ModelFile;
  readonly adapter: Adapter | null;
}

/**
 * Opens a model file and its adapter side by side, for what trains them further.
 * @param shipped where adapters that ship are looked for
 * @throws Memory3Error as `openAdaptedModel`.
 */
export async function openModelAndAdapter(
  modelPath: string,
  options: AdapterOptions = {},
  shipped: string = shippedFolder,
): Promise<ModelAndAdapter> {
  using opening = new DisposableStack();
  const base = opening.use(await openModelFile(modelPath));
  const path = options.adapter === undefined ? await shippedFor(base, shipped) : options.adapter;
  const found = path !== null && isHuggingFaceReference(path) ? await fetchModel(path, options.fetch) : path;
  const adapter = found === null ? null : opening.use(await openAdapter(found, base));
  const resources = opening.move();
  return { base, adapter, [Symbol.dispose]: () => resources.dispose() };
}

/**
 * Opens a model file with its adapter merged; the merged matrices are kept in the models folder, so that only the first
 * time takes seconds.
 * @param shipped where adapters that ship are looked for
 * @throws Memory3Error "mismatch" if the adapter is another model's, and what opening either throws.
 */
export async function openAdaptedModel(
  modelPath: string,
  options: AdapterOptions = {},
  shipped: string = shippedFolder,
): Promise<AdaptedModel> {
  const { base, adapter } = await openModelAndAdapter(modelPath, options, shipped);
  if (adapter === null) return { file: base, adapter };
  const file = mergeAdapter(base, adapter, {
    cacheFolder: join(modelsFolder(options.fetch?.env), 'merged'),
    ...(options.fetch?.onNotice !== undefined && { onNotice: options.fetch.onNotice }),
  });
  return { file, adapter };
}

async function shippedFor(base: ModelFile, folder: string): Promise<string | null> {
  // A fingerprint is a look through the whole file: only asked for where the name fits.
  const candidates = shippedAdapters(folder).filter(({ card }) => card.base.name === base.name);
  if (candidates.length === 0) return null;
  const fingerprint = await base.fingerprint();
  return candidates.find(({ card }) => card.base.fingerprint === fingerprint)?.path ?? null;
}
