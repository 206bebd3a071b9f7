/**
 * An explicit memory as bytes: what the bank stores, what a network would carry, what is loaded into attention.
 *
 *   offset  size                                   what
 *   0       4                                      "M3EM"
 *   4       1                                      format version, 1
 *   5       1                                      storage: 0 = f16, 1 = int8
 *   6       2                                      memory layers
 *   8       2                                      kv heads
 *   10      2                                      kept tokens
 *   12      2                                      head dimension
 *   14      2                                      0
 *   16      layers * kvHeads * kept                positions in the reference, 0..127, ascending for each head
 *   aligned to 4
 *           f16:  2 bytes each                     key-values [layers, 2, kvHeads, kept, headDim]
 *           int8: 2 bytes for each vector (f16)    scales [layers, 2, kvHeads, kept], aligned to 4, then
 *                 1 byte each                      codes [layers, 2, kvHeads, kept, headDim]; value = code * scale
 *
 * All numbers are little-endian. Keys are stored after RoPE, at their position in the reference (paper 3.2), so reading
 * needs no further computation: the decoded array is copied into the memory slots as it is.
 */
import { Memory3Error } from '../errors.ts';
import { type RowValues, valueCount, widenRows } from '../runtime/rows.ts';

export type Storage = 'f16' | 'int8';

interface MemoryShape {
  readonly layers: number;
  readonly kvHeads: number;
  readonly kept: number;
  readonly headDim: number;
  /** `[layers, kvHeads, kept]`, each token's position in the reference, header included. */
  readonly positions: Uint8Array;
}

/** One reference's kept key-values as they lie in its bytes: what is loaded into attention. */
export interface StoredMemory extends MemoryShape {
  /** `[layers, 2, kvHeads, kept, headDim]`, keys after RoPE, then values; views of the bytes. */
  readonly values: RowValues;
}

/** One reference's kept key-values in full precision. */
export interface ExplicitMemory extends MemoryShape {
  /** `[layers, 2, kvHeads, kept, headDim]`, keys after RoPE, then values. */
  readonly keysValues: Float32Array;
}

const magic = 0x4d45334d;
const version = 1;
const headerBytes = 16;
const storageCodes: readonly Storage[] = ['f16', 'int8'];

// Not with bits, which would cut a hostile shape's offset to 32 of them.
const align = (offset: number) => Math.ceil(offset / 4) * 4;

function layout(storage: Storage, vectors: number, headDim: number) {
  // Half of the vectors are keys: one position serves a key and its value.
  const scales = align(headerBytes + vectors / 2);
  const values = storage === 'int8' ? align(scales + vectors * 2) : scales;
  return { scales, values, total: values + vectors * headDim * (storage === 'int8' ? 1 : 2) };
}

/** Bytes that a memory of this shape takes. */
export function memoryBytes(
  storage: Storage,
  shape: Pick<ExplicitMemory, 'layers' | 'kvHeads' | 'kept' | 'headDim'>,
): number {
  return layout(storage, shape.layers * 2 * shape.kvHeads * shape.kept, shape.headDim).total;
}

/**
 * Writes a memory; f16 rounds to nearest even, int8 scales each vector by its largest value.
 * @throws Memory3Error "unsupported" that names the layer and head of a number which the storage cannot hold.
 */
export function encodeMemory(memory: ExplicitMemory, storage: Storage): Uint8Array {
  const bytes = encoded(memory, storage);
  const fault = valueFault(parseMemory(bytes));
  if (fault !== undefined) {
    throw new Memory3Error('unsupported', `A memory cannot be stored as ${storage}: ${fault}.`, {
      remedy: `The model computed numbers that are no numbers or too large${storage === 'f16' ? ' (int8 holds larger ones)' : ''}: try another device, model or adapter.`,
    });
  }
  return bytes;
}

function encoded(memory: ExplicitMemory, storage: Storage): Uint8Array {
  const { layers, kvHeads, kept, headDim, positions, keysValues } = memory;
  const vectors = layers * 2 * kvHeads * kept;
  const at = layout(storage, vectors, headDim);
  const bytes = new Uint8Array(at.total);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic, true);
  view.setUint8(4, version);
  view.setUint8(5, storageCodes.indexOf(storage));
  for (const [index, value] of [layers, kvHeads, kept, headDim].entries()) view.setUint16(6 + 2 * index, value, true);
  bytes.set(positions, headerBytes);
  if (storage === 'f16') {
    new Float16Array(bytes.buffer, at.values).set(keysValues);
    return bytes;
  }
  const scales = new Float16Array(bytes.buffer, at.scales, vectors);
  const codes = new Int8Array(bytes.buffer, at.values);
  for (let vector = 0; vector < vectors; vector++) {
    const start = vector * headDim;
    let largest = 0;
    for (let i = start; i < start + headDim; i++) largest = Math.max(largest, Math.abs(keysValues[i] as number));
    scales[vector] = largest / 127;
    // Codes are made with the rounded scale, the one that reading will use.
    const scale = scales[vector] as number;
    for (let i = start; i < start + headDim; i++) {
      codes[i] = scale === 0 ? 0 : Math.max(-127, Math.min(127, Math.round((keysValues[i] as number) / scale)));
    }
  }
  return bytes;
}

/**
 * Reads a memory without copying or widening it.
 * @throws Memory3Error "damaged" if the bytes are not a memory of this version and of exactly this length.
 */
export function parseMemory(bytes: Uint8Array): StoredMemory {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < headerBytes || view.getUint32(0, true) !== magic || view.getUint8(4) !== version) {
    throw damaged(bytes, `it does not start as a memory of version ${version}`);
  }
  const storage = storageCodes[view.getUint8(5)];
  if (storage === undefined) throw damaged(bytes, `storage ${view.getUint8(5)} is unknown`);
  const [layers, kvHeads, kept, headDim] = [6, 8, 10, 12].map((offset) => view.getUint16(offset, true)) as [
    number,
    number,
    number,
    number,
  ];
  const vectors = layers * 2 * kvHeads * kept;
  const at = layout(storage, vectors, headDim);
  if (bytes.length !== at.total) throw damaged(bytes, `its shape asks for ${at.total} bytes`);
  // Typed arrays need an aligned start, which a blob inside a larger buffer may not have.
  const { buffer, byteOffset } = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  const positions = new Uint8Array(buffer, byteOffset + headerBytes, layers * kvHeads * kept);
  const values: RowValues =
    storage === 'f16'
      ? { type: 'float16', data: new Uint16Array(buffer, byteOffset + at.values, vectors * headDim) }
      : {
          type: 'int8',
          codes: new Int8Array(buffer, byteOffset + at.values, vectors * headDim),
          scales: new Uint16Array(buffer, byteOffset + at.scales, vectors),
        };
  return { layers, kvHeads, kept, headDim, positions, values };
}

/** What is wrong with a memory's numbers, by layer and head: one that is not finite; undefined if all are. */
export function valueFault({ values, kvHeads, kept, headDim }: StoredMemory): string | undefined {
  if (values.type === 'float32') return undefined;
  const [halves, width] = values.type === 'int8' ? [values.scales, 1] : [values.data, headDim];
  for (let i = 0; i < halves.length; i++) {
    // Infinities and NaN have all bits of the exponent set.
    if (((halves[i] as number) & 0x7c00) !== 0x7c00) continue;
    const plane = Math.floor(i / width / kept);
    const half = Math.floor(plane / kvHeads);
    return `a ${half % 2 === 0 ? 'key' : 'value'} of its layer ${half >> 1}, head ${plane % kvHeads}, is not finite`;
  }
  return undefined;
}

/**
 * Reads a memory in full precision.
 * @throws Memory3Error "damaged" as `parseMemory` does.
 */
export function decodeMemory(bytes: Uint8Array): ExplicitMemory {
  const { values, ...shape } = parseMemory(bytes);
  const keysValues = new Float32Array(valueCount(values));
  widenRows(values, keysValues);
  return { ...shape, keysValues };
}

function damaged(bytes: Uint8Array, why: string): Memory3Error {
  return new Memory3Error('damaged', `An explicit memory of ${bytes.length} bytes cannot be read: ${why}.`);
}
