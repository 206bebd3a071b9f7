/**
 * Weights as they are computed with, in a safetensors file of our own: a cache of what was made from others.
 *
 *   dense     <name>            F32, the weight's shape
 *   blocks    <name>.codes4     U8 [rows, columns * bits / 8]; codes8 where they have 8 bits
 *             <name>.scales     F32 [rows, blocks]
 *             <name>.offsets    F32 [rows, blocks], where the form has them
 *
 * The metadata holds a CRC-32 of each tensor's bytes. All are compared when the file is opened, so that what was opened can be
 * relied on, and whoever opens a damaged file can make it again.
 */
import { crc32 } from 'node:zlib';
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import { quoted } from './binary-file.ts';
import { openSafetensors, type SafetensorsFile } from './safetensors.ts';
import { type BytesToWrite, type TensorToWrite, writeSafetensors } from './safetensors-writer.ts';
import type { StoredTensor } from './stored-tensor.ts';
import type { Weights, WeightTensor } from './weights.ts';

const format = 'memory3-weights 1';

/** Open stored weights; each `get` reads fresh arrays. */
export interface StoredWeights extends Weights, Disposable {}

/**
 * Writes weights, whole or not at all.
 * @param names which of them
 * @throws Memory3Error "disk"
 */
export function writeStoredWeights(path: string, weights: Weights, names: readonly string[]): void {
  const tensors = new Map<string, TensorToWrite | BytesToWrite>();
  for (const name of names) {
    const tensor = weights.get(name);
    if (tensor.kind === 'dense') {
      tensors.set(name, tensor);
      continue;
    }
    const { codes, scales, offsets, blockSize, bits } = tensor;
    const [rows, columns] = tensor.shape;
    const blocks = [rows, columns / blockSize];
    tensors.set(`${name}.codes${bits}`, { shape: [rows, (columns * bits) / 8], data: codes, dtype: 'U8' });
    tensors.set(`${name}.scales`, { shape: blocks, data: scales });
    if (offsets !== null) tensors.set(`${name}.offsets`, { shape: blocks, data: offsets });
  }
  const checksums = [...tensors].map(([name, { data }]) => [name, checksum(data)]);
  writeSafetensors(path, tensors, { format, checksums: JSON.stringify(Object.fromEntries(checksums)) });
}

/**
 * Opens stored weights and compares all of their bytes with their checksums.
 * @param names which must be there
 * @throws Memory3Error "damaged" if anything is not as it was written; "not-found"
 */
export function openStoredWeights(path: string, names: readonly string[]): StoredWeights {
  const file = openSafetensors(path, 'Delete it: it is made again.');
  try {
    verify(file);
    const stored = new Map(names.map((name) => [name, findWeight(file, name)]));
    return {
      names,
      has: (name) => stored.has(name),
      get(name) {
        const read = stored.get(name);
        if (read === undefined) throw new Memory3Error('damaged', `${path} has no tensor for ${name}.`);
        return read();
      },
      [Symbol.dispose]: () => file[Symbol.dispose](),
    };
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

function verify(file: SafetensorsFile): void {
  if (file.metadata.get('format') !== format) throw damaged(file.path, `it is not marked as ${quoted(format)}`);
  const checksums = checksumsOf(file);
  for (const tensor of file.tensors.values()) {
    if (crc32(file.readTensor(tensor)) !== checksums[tensor.name]) {
      throw damaged(file.path, `tensor ${quoted(tensor.name)} does not have its checksum`);
    }
  }
}

function checksumsOf({ path, metadata }: SafetensorsFile): Record<string, number> {
  try {
    return z.record(z.string(), z.int()).parse(JSON.parse(metadata.get('checksums') ?? ''));
  } catch (cause) {
    throw damaged(path, 'its checksums cannot be read', cause);
  }
}

/** Looks for a weight's tensors. @returns what reads them, into arrays of the caller's own. */
function findWeight(file: SafetensorsFile, name: string): () => WeightTensor {
  const find = (ending: string, type: string) => {
    const tensor = file.tensors.get(name + ending);
    return tensor?.type === type ? tensor : undefined;
  };
  const floats = (tensor: StoredTensor) => new Float32Array(file.readTensor(tensor).buffer);
  const dense = find('', 'F32');
  if (dense !== undefined) return () => ({ kind: 'dense', shape: dense.shape, data: floats(dense) });
  const [scales, offsets] = [find('.scales', 'F32'), find('.offsets', 'F32')];
  for (const bits of [4, 8] as const) {
    const codes = find(`.codes${bits}`, 'U8');
    if (codes === undefined || scales === undefined) continue;
    const [rows, codeBytes] = codes.shape as [number, number];
    const columns = (codeBytes * 8) / bits;
    const blockSize = columns / (scales.shape[1] as number);
    if (blockSize !== 16 && blockSize !== 32) continue;
    return () => ({
      kind: 'blocks',
      shape: [rows, columns],
      bits,
      blockSize,
      codes: file.readTensor(codes),
      scales: floats(scales),
      offsets: offsets === undefined ? null : floats(offsets),
    });
  }
  throw damaged(file.path, `it lacks ${quoted(name)}`);
}

function checksum(data: Float32Array | Uint8Array): number {
  return crc32(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

function damaged(path: string, fault: string, cause?: unknown): Memory3Error {
  return new Memory3Error('damaged', `The merged weights ${path} are damaged: ${fault}.`, {
    remedy: 'Delete the file; it is made again.',
    cause,
  });
}
