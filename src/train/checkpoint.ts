/**
 * One checkpoint file: a safetensors file with the trainable's tensors, and in its metadata, as JSON, the trainable's plain
 * values and how far the run is. A CRC-32 over all of it finds the damage that safetensors itself would not notice.
 */
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { syncFolder } from '../durable-file.ts';
import { Memory3Error } from '../errors.ts';
import { floatsFromF16 } from '../half.ts';
import { faultsOf, openSafetensors, type SafetensorsFile } from '../model/safetensors.ts';
import { type TensorToWrite, writeSafetensors } from '../model/safetensors-writer.ts';
import { parseStrictJson } from '../model/strict-json.ts';
import { lossHistorySchema } from './divergence.ts';
import type { TrainingState } from './trainable.ts';

const format = 'memory3 checkpoint 1';
/** Of a damaged one; a run passes it over by itself. */
const remedy = 'Restore it from a copy; a run goes on from the one before.';

const natural = z.int().nonnegative();

/** How far a run is: all that decides, beside the trainable's own state, how it goes on. */
const progressSchema = z.strictObject({
  /** Steps that are done. */
  step: natural,
  /** Tokens that went through the model in them. */
  tokens: natural,
  /** That the run has taken, returns included. */
  seconds: z.number().nonnegative(),
  /** What the schedule's rate is multiplied with: 1 until the first divergence. */
  rateFactor: z.number().positive(),
  /** How often the run went back because it diverged, */
  returns: natural,
  /** and the step that it went back to last. */
  returnedTo: natural.nullable(),
  /** The step of the latest validation. */
  validated: natural.nullable(),
  /** The best validation so far, if the run keeps it. */
  best: z.strictObject({ step: natural, loss: z.number() }).nullable(),
  losses: lossHistorySchema,
  /** Length of the log, in bytes. */
  logBytes: natural,
});

export type Progress = z.output<typeof progressSchema>;

export interface Checkpoint {
  readonly progress: Progress;
  readonly state: TrainingState;
}

/**
 * Writes a checkpoint whole or not at all, and through to the disk.
 * @throws Memory3Error "disk"; what stood at `path` before is still there then.
 */
export function writeCheckpoint(path: string, { progress, state }: Checkpoint): void {
  const parts = { progress: JSON.stringify(progress), values: JSON.stringify(state.values) };
  if (!isDeepStrictEqual(JSON.parse(parts.values), state.values)) {
    throw new Error('The values of a training state are not JSON: they would not come back as they are.');
  }
  const checksum = checksumOf(parts, state.tensors);
  writeSafetensors(path, state.tensors, { format, ...parts, checksum: String(checksum) });
  syncFolder(dirname(path));
}

/** @throws Memory3Error "damaged" naming the fault; "not-found"; "disk" */
export function readCheckpoint(path: string): Checkpoint {
  using file = openSafetensors(path, remedy);
  if (file.metadata.get('format') !== format) throw damaged(path, `it is not marked as "${format}"`);
  const tensors = new Map<string, TensorToWrite>();
  for (const tensor of file.tensors.values()) {
    const { name, shape, type } = tensor;
    if (type !== 'F32' && type !== 'F16') throw damaged(path, `tensor "${name}" has the type ${type}`);
    const bytes = file.readTensor(tensor);
    const data = type === 'F16' ? floatsFromF16(bytes) : new Float32Array(bytes.buffer, bytes.byteOffset);
    tensors.set(name, { shape, data, dtype: type });
  }
  const parts = { progress: file.metadata.get('progress') ?? '', values: file.metadata.get('values') ?? '' };
  if (String(checksumOf(parts, tensors)) !== file.metadata.get('checksum')) {
    throw damaged(path, 'its contents do not have the checksum that was written with them');
  }
  return { progress: progressOf(path, file), state: { tensors, values: JSON.parse(parts.values) } };
}

/** How far the run was, from the header alone: nothing is held against the checksum. @throws like `readCheckpoint` */
export function readProgress(path: string): Progress {
  using file = openSafetensors(path, remedy);
  return progressOf(path, file);
}

function progressOf(path: string, { metadata }: SafetensorsFile): Progress {
  const json = parseStrictJson(metadata.get('progress') ?? '', (fault) => damaged(path, `its progress: ${fault}`));
  const progress = progressSchema.safeParse(json);
  if (!progress.success) throw damaged(path, `its progress is malformed: ${faultsOf(progress.error)}`);
  return progress.data;
}

/** @returns the name of a tensor with a value that is not a finite number, or null. */
export function brokenTensor(tensors: ReadonlyMap<string, TensorToWrite>): string | null {
  for (const [name, { data }] of tensors) if (!allFinite(data)) return name;
  return null;
}

function allFinite(data: Float32Array): boolean {
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i])) return false;
  return true;
}

/** CRC-32 of everything that comes back: the two JSON texts, and each tensor's name, shape, type and bytes. */
function checksumOf(
  parts: { readonly progress: string; readonly values: string },
  tensors: ReadonlyMap<string, TensorToWrite>,
): number {
  // By name, as a file's header may come back in another order than it was given.
  const sorted = [...tensors].sort(([a], [b]) => (a < b ? -1 : 1));
  const entries = sorted.map(([name, { shape, dtype = 'F32' }]) => [name, shape, dtype]);
  let checksum = crc32(JSON.stringify([parts.progress, parts.values, entries]));
  for (const [, { data, dtype }] of sorted) {
    const stored = dtype === 'F16' ? new Float16Array(data) : data;
    checksum = crc32(new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength), checksum);
  }
  return checksum;
}

function damaged(path: string, fault: string): Memory3Error {
  return new Memory3Error('damaged', `The checkpoint ${path} is damaged: ${fault}.`, { remedy });
}
