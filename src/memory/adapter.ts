/**
 * An adapter: what a conversion to explicit memory adds to a model, in one safetensors file.
 *
 *   <weight without ".weight">.lora_A   [rank, columns]     F16 or F32, together with
 *   <weight without ".weight">.lora_B   [rows, rank]        W' = W + scale * B A
 *   <weight>.difference                 the weight's shape  W' = W + D (norms, biases)
 *   summary_tokens                      [k, hiddenSize]     embeddings of k tokens that are read after a reference's own
 *   answer_classifier                   [networks, numbers] which tokens are worth keeping (`answer-classifier.ts`)
 *
 * Weights are named as Hugging Face names them; rows of q and k are in "rotate halves" order (`model/weights.ts`). The card
 * (`adapter-card.ts`) is JSON in the file's metadata, so that it cannot be lost or exchanged.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { onDisk, replaceFile } from '../durable-file.ts';
import { Memory3Error, messageOf } from '../errors.ts';
import { loraNames } from '../graph/parameters.ts';
import { quoted } from '../model/binary-file.ts';
import type { ModelConfig } from '../model/config.ts';
import { expectedTensors } from '../model/expected-tensors.ts';
import type { WeightChange, WeightChanges } from '../model/merged-weights.ts';
import type { ModelFile } from '../model/open.ts';
import { decodeTensor } from '../model/quantised.ts';
import { faultsOf, openSafetensors, type SafetensorsFile } from '../model/safetensors.ts';
import { type TensorToWrite, writeSafetensors } from '../model/safetensors-writer.ts';
import type { DenseTensor } from '../model/weights.ts';
import { type AdapterCard, adapterCardSchema, describeCard, isCardText } from './adapter-card.ts';
import { type AnswerClassifier, classifierShape } from './answer-classifier.ts';

/** The adapter's file in its folder. */
export const adapterFileName = 'adapter.safetensors';
/** The card for people, beside it. */
const cardFileName = 'README.md';
/** Name of the tensor of summary tokens. */
export const summaryTokensName = 'summary_tokens';
/** Name of the tensor of the classifier of answers. */
export const answerClassifierName = 'answer_classifier';

/** Name of a weight's full difference. */
export function differenceName(weight: string): string {
  return `${weight}.difference`;
}

/** An open adapter that fits its model; changes can be read until it is closed. */
export interface Adapter extends Disposable {
  /** Of its file. */
  readonly path: string;
  readonly card: AdapterCard;
  /**
   * sha256 of all that decides about the merged model: base, scale, width and tensors but the classifier's, which belongs to
   * the memory profile; not of the rest of the card.
   */
  readonly fingerprint: string;
  readonly changes: WeightChanges;
  /** All of its tensors as they are stored, by their names in the file. */
  readonly tensors: () => Map<string, TensorToWrite>;
  /** `[k, hiddenSize]`, or null. */
  readonly summaryTokens: DenseTensor | null;
  /** Or null. */
  readonly answerClassifier: AnswerClassifier | null;
}

/** Of a damaged adapter. */
const remedy = 'Restore it from a copy, or make it again.';

/** The card of an adapter, without a look at its tensors' values. @throws Memory3Error like {@link openAdapter} */
export function readAdapterCard(path: string): AdapterCard {
  using file = openSafetensors(adapterFile(path), remedy);
  return cardOf(file);
}

/**
 * Opens an adapter and checks all of it.
 *
 * @param path a folder with `adapter.safetensors`, or such a file
 * @param base the model that it is to change
 * @throws Memory3Error "mismatch" if it was made for another model; "damaged" for a malformed card, tensors that do not fit
 *   the model's shapes, and values that are no finite numbers; "unsupported" for a file without a card; "not-found"
 * @example
 * using adapter = await openAdapter('assets/adapters/squad', model);
 * mergedWeights(model.weights, adapter.changes, adapter.card.matrixWidth);
 */
export async function openAdapter(path: string, base: ModelFile): Promise<Adapter> {
  const file = openSafetensors(adapterFile(path), remedy);
  try {
    const card = cardOf(file);
    const fingerprint = await base.fingerprint();
    if (fingerprint !== card.base.fingerprint) {
      const described = (name: string, print: string) => `${name} (sha256 ${print.slice(0, 12)})`;
      throw new Memory3Error(
        'mismatch',
        `The adapter ${card.name} (${file.path}) was made for ${described(card.base.name, card.base.fingerprint)}, not for ${described(base.name, fingerprint)}.`,
        { remedy: 'Open its own base model, name another adapter, or use --no-adapter.' },
      );
    }
    const fault = faultOfTensors(file.tensors, base.config, card) ?? faultOfProfile(card, base.config, file.tensors);
    if (fault !== null) throw damaged(file.path, fault);
    const read = (name: string) => (file.tensors.has(name) ? readDense(file, name) : null);
    const weights = read(answerClassifierName);
    return {
      path: file.path,
      card,
      fingerprint: checkAndHash(file, card),
      changes: changesOf(file, card.scale),
      tensors: () => tensorsOf(file),
      summaryTokens: read(summaryTokensName),
      answerClassifier: weights === null ? null : { layers: answerLayers(card), weights },
      [Symbol.dispose]: () => file[Symbol.dispose](),
    };
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

/**
 * Writes an adapter, each file whole or not at all: `adapter.safetensors` with the card in its metadata, and README.md with
 * the same for people.
 *
 * @param folder made if it is missing
 * @param tensors by their names in the file ({@link loraNames}, {@link differenceName}, {@link summaryTokensName},
 *   {@link answerClassifierName}), each as F32 (the default) or F16
 * @param config of the base model
 * @returns the path of the safetensors file
 * @throws Memory3Error "usage" for a card or tensors that {@link openAdapter} would refuse, and as `checkAdapterFolder`; "disk"
 */
export function writeAdapter(
  folder: string,
  card: AdapterCard,
  tensors: ReadonlyMap<string, TensorToWrite>,
  config: ModelConfig,
): string {
  const checked = adapterCardSchema.safeParse(card);
  const wrong = (fault: string) => new Memory3Error('usage', `No adapter can be made of this: ${fault}.`);
  if (!checked.success) throw wrong(faultsOf(checked.error));
  const shapes = new Map([...tensors].map(([name, { shape, dtype }]) => [name, { shape, type: dtype ?? 'F32' }]));
  const fault = faultOfTensors(shapes, config, card) ?? faultOfProfile(card, config, shapes);
  if (fault !== null) throw wrong(fault);
  for (const [name, { data, dtype }] of tensors) {
    if (!allFinite(data, dtype === 'F16' ? largestHalf : largestFloat)) throw wrong(`${quoted(name)} is not finite`);
  }
  checkAdapterFolder(folder);
  const path = join(folder, adapterFileName);
  try {
    mkdirSync(folder, { recursive: true });
    writeSafetensors(path, tensors, { format: 'memory3-adapter', card: JSON.stringify(checked.data) });
    replaceFile(folder, cardFileName, describeCard(checked.data));
  } catch (cause) {
    if (cause instanceof Memory3Error) throw cause;
    throw new Memory3Error('disk', `The adapter ${folder} cannot be written.`, { cause });
  }
  return path;
}

/**
 * Refuses a folder in which an adapter's README.md would take the place of another one.
 * @throws Memory3Error "usage"; "disk" if it cannot be read
 */
export function checkAdapterFolder(folder: string): void {
  const readme = join(folder, cardFileName);
  const isOther = onDisk(
    readme,
    () => statSync(readme, { throwIfNoEntry: false }) !== undefined && !isCardText(readFileSync(readme, 'utf8')),
  );
  if (!isOther) return;
  throw new Memory3Error('usage', `${readme} is no adapter's: it would be overwritten.`, {
    remedy: 'Name a folder of its own for the adapter (--out).',
  });
}

/** What rounds to infinity from here on. */
const largestHalf = 65520;
const largestFloat = Number.POSITIVE_INFINITY;

function allFinite(data: Float32Array, limit: number): boolean {
  for (let i = 0; i < data.length; i++) if (!(Math.abs(data[i] as number) < limit)) return false;
  return true;
}

function adapterFile(path: string): string {
  const status = statSync(path, { throwIfNoEntry: false });
  if (status === undefined) throw new Memory3Error('not-found', `There is no adapter at ${path}.`);
  return status.isDirectory() ? join(path, adapterFileName) : path;
}

function damaged(path: string, fault: string): Memory3Error {
  return new Memory3Error('damaged', `The adapter ${path} is damaged: ${fault}.`, { remedy });
}

function cardOf({ path, metadata }: SafetensorsFile): AdapterCard {
  const text = metadata.get('card');
  if (metadata.get('format') !== 'memory3-adapter' || text === undefined) {
    throw new Memory3Error('unsupported', `${path} is no adapter of memory3: its metadata has no card.`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damaged(path, `its card is not JSON: ${messageOf(cause)}`);
  }
  const card = adapterCardSchema.safeParse(value);
  if (!card.success) throw damaged(path, `its card is malformed: ${faultsOf(card.error)}`);
  return card.data;
}

/** Layers whose values the classifier of answers sees. */
function answerLayers({ answerLayers: own, profile }: AdapterCard): readonly number[] {
  return own ?? profile.layers;
}

function faultOfProfile(
  card: AdapterCard,
  config: ModelConfig,
  tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): string | null {
  const { profile } = card;
  const isAscending = (layers: readonly number[]) =>
    layers.every((layer, i) => layer < config.layers && layer > (layers[i - 1] ?? -1));
  if (!isAscending(profile.layers)) {
    return `its memory layers, ${profile.layers}, are not ascending layers of the model`;
  }
  if (!isAscending(answerLayers(card))) {
    return `the layers of its classifier of answers, ${answerLayers(card)}, are not ascending layers of the model`;
  }
  if (profile.scoring === 'answer-weighted' && !tensors.has(answerClassifierName)) {
    return 'its profile keeps tokens by a classifier of answers, and it has none';
  }
  const available = tensors.get(summaryTokensName)?.shape[0] ?? 0;
  if (profile.scoring !== 'summary' || profile.keptTokens === available) return null;
  return `its profile keeps ${profile.keptTokens} summary tokens, and it has ${available}`;
}

/** What is wrong with an adapter's tensors, or null: every name must be known, every shape the model's, every pair complete. */
function faultOfTensors(
  tensors: ReadonlyMap<string, { readonly shape: readonly number[]; readonly type: string }>,
  config: ModelConfig,
  card: AdapterCard,
): string | null {
  const weights = expectedTensors(config);
  if (tensors.size === 0) return 'it has no tensors';
  for (const [name, { shape, type }] of tensors) {
    if (type !== 'F16' && type !== 'F32') return `tensor ${quoted(name)} has the type ${type}, not F16 or F32`;
    const wanted =
      name === answerClassifierName
        ? classifierShape(config, answerLayers(card), shape[0] ?? 0)
        : wantedShape(name, shape, tensors, weights, config);
    if (typeof wanted === 'string') return wanted;
    if (`${shape}` !== `${wanted}` || shape.includes(0)) {
      return `tensor ${quoted(name)} has the shape [${shape}]; the model needs [${wanted}]`;
    }
  }
  return null;
}

/** The shape that a tensor must have, or what is wrong with its name. */
function wantedShape(
  name: string,
  shape: readonly number[],
  tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  weights: ReadonlyMap<string, readonly number[]>,
  { hiddenSize }: ModelConfig,
): readonly number[] | string {
  if (name === summaryTokensName) return [shape[0] ?? 0, hiddenSize];
  const [, stem, kind] = /^(.*)\.(lora_[AB]|difference)$/.exec(name) ?? [];
  const matrix = kind === 'difference' ? stem : `${stem}.weight`;
  const wanted = weights.get(matrix ?? '');
  if (wanted === undefined) return `tensor ${quoted(name)} changes no weight of the model`;
  if (kind === 'difference') return wanted;
  const [rows, columns] = wanted;
  const { a, b } = loraNames(`${stem}.weight`);
  if (rows === undefined || columns === undefined) return `tensor ${quoted(name)} changes a vector, not a matrix`;
  const rank = tensors.get(a)?.shape[0];
  if (rank === undefined || !tensors.has(b)) return `tensor ${quoted(name)} lacks ${quoted(name === a ? b : a)}`;
  return name === a ? [rank, columns] : [rows, rank];
}

/** sha256 over the tensors by name, in an order of its own; every value is looked at on the way. */
function checkAndHash(file: SafetensorsFile, { base, scale, matrixWidth }: AdapterCard): string {
  const hash = createHash('sha256').update(JSON.stringify([base.fingerprint, scale, matrixWidth]));
  for (const tensor of [...file.tensors.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const bytes = file.readTensor(tensor);
    const broken = tensor.type === 'F16' ? brokenHalf(bytes) : brokenFloat(bytes);
    if (broken >= 0) throw damaged(file.path, `value ${broken} of tensor ${quoted(tensor.name)} is not finite`);
    if (tensor.name === answerClassifierName) continue;
    hash.update(JSON.stringify([tensor.name, tensor.type, tensor.shape])).update(bytes);
  }
  return hash.digest('hex');
}

/** Index of the first infinity or NaN, or -1: all exponent bits set. */
function brokenHalf(bytes: Uint8Array<ArrayBuffer>): number {
  return firstWithAllBits(new Uint16Array(bytes.buffer), 0x7c00);
}

function brokenFloat(bytes: Uint8Array<ArrayBuffer>): number {
  return firstWithAllBits(new Uint32Array(bytes.buffer), 0x7f800000);
}

function firstWithAllBits(values: Uint16Array | Uint32Array, bits: number): number {
  for (let i = 0; i < values.length; i++) if (((values[i] as number) & bits) === bits) return i;
  return -1;
}

function changesOf(file: SafetensorsFile, scale: number): WeightChanges {
  const names = new Set<string>();
  for (const name of file.tensors.keys()) {
    if (name.endsWith('.lora_A')) names.add(name.replace(/\.lora_A$/, '.weight'));
    else if (name.endsWith('.difference')) names.add(name.replace(/\.difference$/, ''));
  }
  return {
    names: [...names],
    get(name): WeightChange | undefined {
      if (!names.has(name)) return undefined;
      const { a, b } = loraNames(name);
      const difference = differenceName(name);
      return {
        ...(file.tensors.has(a) && { lowRank: { a: readDense(file, a), b: readDense(file, b), scale } }),
        ...(file.tensors.has(difference) && { difference: readDense(file, difference) }),
      };
    },
  };
}

function tensorsOf(file: SafetensorsFile): Map<string, TensorToWrite> {
  return new Map(
    Array.from(file.tensors, ([name, { type }]) => [
      name,
      { ...readDense(file, name), dtype: type === 'F16' ? 'F16' : 'F32' },
    ]),
  );
}

function readDense(file: SafetensorsFile, name: string): DenseTensor {
  const tensor = file.tensors.get(name);
  if (tensor === undefined) throw damaged(file.path, `it has no tensor ${quoted(name)}`);
  return decodeTensor(tensor.type, tensor.shape, file.readTensor(tensor), name) as DenseTensor;
}
