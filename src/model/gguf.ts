/**
 * A strict reader of GGUF, the file format of llama.cpp (version 2 and 3, little-endian):
 *
 *   magic "GGUF" | version u32 | tensor count u64 | key count u64
 *   key count    x (key string | type u32 | value)
 *   tensor count x (name string | dimension count u32 | dimensions u64... | type u32 | offset u64)
 *   padding to the alignment, then the tensors' bytes at their offsets
 *
 * A string is a u64 length and that many UTF-8 bytes. Dimensions stand fastest first; here shapes are row-major, so a
 * matrix is `[rows, columns]`.
 *
 * Everything is checked before it is used: the header is read through a small window, nothing is allocated for a count
 * that the file cannot hold, and a fault is named with its key or tensor and its byte. A hostile file costs
 * less than a second and 100 MB. Tensor bytes are read when they are asked for.
 */

import { Memory3Error } from '../errors.ts';
import { BinaryFile, quoted } from './binary-file.ts';
import { HeaderCursor } from './header-cursor.ts';
import type { StoredTensor, TensorFile } from './stored-tensor.ts';

/** A value of the header; 64-bit integers beyond 2^53 are bigint, all others number. */
export type GgufValue = number | bigint | boolean | string | readonly GgufValue[];

export type GgufMetadata = ReadonlyMap<string, GgufValue>;

/** Tensor types by their number in the file: name, elements a block, bytes a block. */
const tensorTypes = new Map<number, readonly [name: string, blockSize: number, blockBytes: number]>([
  [0, ['F32', 1, 4]],
  [1, ['F16', 1, 2]],
  [2, ['Q4_0', 32, 18]],
  [3, ['Q4_1', 32, 20]],
  [6, ['Q5_0', 32, 22]],
  [7, ['Q5_1', 32, 24]],
  [8, ['Q8_0', 32, 34]],
  [10, ['Q2_K', 256, 84]],
  [11, ['Q3_K', 256, 110]],
  [12, ['Q4_K', 256, 144]],
  [13, ['Q5_K', 256, 176]],
  [14, ['Q6_K', 256, 210]],
  [16, ['IQ2_XXS', 256, 66]],
  [17, ['IQ2_XS', 256, 74]],
  [18, ['IQ3_XXS', 256, 98]],
  [19, ['IQ1_S', 256, 50]],
  [20, ['IQ4_NL', 32, 18]],
  [21, ['IQ3_S', 256, 110]],
  [22, ['IQ2_S', 256, 82]],
  [23, ['IQ4_XS', 256, 136]],
  [24, ['I8', 1, 1]],
  [25, ['I16', 1, 2]],
  [26, ['I32', 1, 4]],
  [27, ['I64', 1, 8]],
  [28, ['F64', 1, 8]],
  [29, ['IQ1_M', 256, 56]],
  [30, ['BF16', 1, 2]],
  [34, ['TQ1_0', 256, 54]],
  [35, ['TQ2_0', 256, 66]],
  [39, ['MXFP4', 32, 17]],
  [40, ['NVFP4', 64, 36]],
  [41, ['Q1_0', 128, 18]],
]);

/** An open GGUF file. */
export interface GgufFile extends TensorFile {
  readonly version: number;
  readonly metadata: GgufMetadata;
}

/** Above what real models have (Gemma 3: 0.8 million array elements in 10 MB), and small enough for the memory bound. */
const limits = {
  headerBytes: 48 * 1024 * 1024,
  arrayBytes: 42_000_000,
  arrayDepth: 4,
  keys: 1 << 16,
  tensors: 1 << 16,
  keyBytes: 65535,
  stringBytes: 4 * 1024 * 1024,
  tensorNameBytes: 64,
  dimensions: 4,
};

const defaultAlignment = 32;

/**
 * Opens a GGUF file and reads its header.
 *
 * @throws Memory3Error "damaged" naming the fault and its byte; "unsupported" for another version, a big-endian file or
 *   an unknown tensor type; "not-found".
 * @example
 * using file = openGguf('model.gguf');
 * file.metadata.get('general.architecture'); // "llama"
 */
export function openGguf(path: string): GgufFile {
  const file = new BinaryFile(path);
  try {
    const cursor = new HeaderCursor(file, limits.headerBytes);
    const { version, tensorCount, keyCount } = readPreamble(cursor);
    const metadata = readMetadata(cursor, keyCount);
    const tensors = readTensorTable(cursor, tensorCount, alignmentOf(metadata, cursor));
    return {
      path,
      version,
      metadata,
      tensors,
      readTensor: (tensor) => file.read(tensor.position, tensor.byteLength, `tensor ${quoted(tensor.name)}`),
      [Symbol.dispose]: () => file[Symbol.dispose](),
    };
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
}

function readPreamble(cursor: HeaderCursor): { version: number; tensorCount: number; keyCount: number } {
  const magic = cursor.u32('the magic number');
  if (magic !== 0x46554747) throw cursor.file.damaged('it does not begin with "GGUF"');
  const version = cursor.u32('the version');
  if (version === 0x02000000 || version === 0x03000000) {
    throw new Memory3Error(
      'unsupported',
      `${cursor.file.path} is a big-endian GGUF file; only little-endian ones are supported.`,
    );
  }
  if (version !== 2 && version !== 3) {
    throw new Memory3Error(
      'unsupported',
      `${cursor.file.path} is GGUF version ${version}; versions 2 and 3 are supported.`,
    );
  }
  const tensorCount = cursor.count('the tensor count', limits.tensors, 8 + 4 + 8 + 4 + 8);
  const keyCount = cursor.count('the key count', limits.keys, 8 + 4 + 1);
  return { version, tensorCount, keyCount };
}

function readMetadata(cursor: HeaderCursor, keyCount: number): Map<string, GgufValue> {
  const metadata = new Map<string, GgufValue>();
  for (let index = 0; index < keyCount; index++) {
    const start = cursor.position;
    const key = cursor.string(`key ${index + 1} of ${keyCount}`, limits.keyBytes);
    if (key === '' || key.includes('__proto__')) throw cursor.fault(`a key is named ${quoted(key)}`, start);
    if (metadata.has(key)) throw cursor.fault(`key ${quoted(key)} stands there twice`, start);
    const what = `key ${quoted(key)}`;
    metadata.set(key, readValue(cursor, cursor.u32(`the type of ${what}`), what, 0));
  }
  return metadata;
}

function readValue(cursor: HeaderCursor, type: number, what: string, depth: number): GgufValue {
  switch (type) {
    case 0:
      return cursor.view.getUint8(cursor.take(1, what));
    case 1:
      return cursor.view.getInt8(cursor.take(1, what));
    case 2:
      return cursor.view.getUint16(cursor.take(2, what), true);
    case 3:
      return cursor.view.getInt16(cursor.take(2, what), true);
    case 4:
      return cursor.view.getUint32(cursor.take(4, what), true);
    case 5:
      return cursor.view.getInt32(cursor.take(4, what), true);
    case 6:
      return cursor.view.getFloat32(cursor.take(4, what), true);
    case 7:
      return cursor.boolean(what);
    case 8:
      return cursor.string(what, limits.stringBytes);
    case 9:
      return readArray(cursor, what, depth);
    case 10:
      return numberIfSafe(cursor.view.getBigUint64(cursor.take(8, what), true));
    case 11:
      return numberIfSafe(cursor.view.getBigInt64(cursor.take(8, what), true));
    case 12:
      return cursor.view.getFloat64(cursor.take(8, what), true);
    default:
      throw cursor.fault(`${what} has the value type ${type}, which does not exist`);
  }
}

/** Fewest bytes that a value of each type takes; an empty string is its length, an empty array its type and length. */
const smallestValue = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8];

/** About how many bytes of memory an element takes, by type: a string, an array and a bigint have an object of their own. */
const memoryOfValue = [8, 8, 8, 8, 8, 8, 8, 8, 48, 80, 32, 32, 8];

function readArray(cursor: HeaderCursor, what: string, depth: number): readonly GgufValue[] {
  if (depth === limits.arrayDepth) throw cursor.fault(`${what}: arrays are nested more than ${limits.arrayDepth} deep`);
  const type = cursor.u32(`the element type of ${what}`);
  const smallest = smallestValue[type];
  const memory = memoryOfValue[type];
  if (smallest === undefined || memory === undefined) {
    throw cursor.fault(`${what}: the array's element type ${type} does not exist`);
  }
  const length = cursor.count(`the array length of ${what}`, limits.arrayBytes / memory, smallest);
  if (cursor.countMemory(length * memory) > limits.arrayBytes) {
    throw cursor.fault(`${what}: the header's arrays hold more than is believable`);
  }
  // Of its final size at once: growing would need up to twice the memory.
  const values = new Array<GgufValue>(length);
  for (let index = 0; index < length; index++) values[index] = readValue(cursor, type, what, depth + 1);
  return values;
}

function numberIfSafe(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function alignmentOf(metadata: GgufMetadata, cursor: HeaderCursor): number {
  const alignment = metadata.get('general.alignment') ?? defaultAlignment;
  const sound =
    typeof alignment === 'number' && alignment >= 8 && alignment <= 1 << 20 && Number.isInteger(Math.log2(alignment));
  if (!sound) {
    throw cursor.file.damaged(`key "general.alignment" is ${String(alignment)}, not a power of two of at least 8`);
  }
  return alignment;
}

function readTensorTable(cursor: HeaderCursor, count: number, alignment: number): Map<string, StoredTensor> {
  const entries = new Map<
    string,
    Omit<StoredTensor, 'position'> & { readonly offset: number; readonly entry: number }
  >();
  for (let index = 0; index < count; index++) {
    const entry = cursor.position;
    const name = cursor.string(`the name of tensor ${index + 1} of ${count}`, limits.tensorNameBytes);
    if (name === '' || name === '__proto__') throw cursor.fault(`a tensor is named ${quoted(name)}`, entry);
    if (entries.has(name)) throw cursor.fault(`tensor ${quoted(name)} stands there twice`, entry);
    const what = `tensor ${quoted(name)}`;
    const shape = readShape(cursor, what);
    const { type, byteLength } = readTensorType(cursor, what, shape);
    const offset = cursor.u64(`the offset of ${what}`);
    if (offset % alignment !== 0) {
      throw cursor.fault(`${what} is misaligned: its offset ${offset} is not a multiple of ${alignment}`, entry);
    }
    entries.set(name, { name, shape, type, byteLength, offset, entry });
  }
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = new Map<string, StoredTensor>();
  for (const { name, shape, type, byteLength, offset } of entries.values()) {
    const position = dataStart + offset;
    cursor.file.checkInside(position, byteLength, `tensor ${quoted(name)}`);
    tensors.set(name, { name, shape, type, position, byteLength });
  }
  checkOverlap([...tensors.values()], cursor);
  return tensors;
}

function readShape(cursor: HeaderCursor, what: string): readonly number[] {
  const dimensions = cursor.u32(`the dimension count of ${what}`);
  if (dimensions < 1 || dimensions > limits.dimensions) {
    throw cursor.fault(`${what} has ${dimensions} dimensions; 1 to ${limits.dimensions} are possible`);
  }
  const shape: number[] = [];
  let elements = 1;
  for (let index = 0; index < dimensions; index++) {
    const length = cursor.u64(`dimension ${index + 1} of ${what}`);
    elements *= length;
    if (length === 0 || !Number.isSafeInteger(elements)) {
      throw cursor.fault(`${what} has a dimension of ${length}: no tensor of that size exists`);
    }
    shape.unshift(length);
  }
  return shape;
}

function readTensorType(
  cursor: HeaderCursor,
  what: string,
  shape: readonly number[],
): { type: string; byteLength: number } {
  const number = cursor.u32(`the type of ${what}`);
  const known = tensorTypes.get(number);
  if (known === undefined) {
    throw new Memory3Error(
      'unsupported',
      `${cursor.file.path}: ${what} has the type number ${number} (at byte ${cursor.position - 4}), which is unknown.`,
    );
  }
  const [type, blockSize, blockBytes] = known;
  const columns = shape.at(-1) ?? 0;
  if (columns % blockSize !== 0) {
    throw cursor.fault(`${what} has rows of ${columns} elements, which ${type}'s blocks of ${blockSize} do not divide`);
  }
  const elements = shape.reduce((product, length) => product * length, 1);
  return { type, byteLength: (elements / blockSize) * blockBytes };
}

function checkOverlap(tensors: StoredTensor[], cursor: HeaderCursor): void {
  tensors.sort((a, b) => a.position - b.position);
  let previous: StoredTensor | undefined;
  for (const tensor of tensors) {
    if (previous !== undefined && previous.position + previous.byteLength > tensor.position) {
      throw cursor.file.damaged(
        `tensors ${quoted(previous.name)} and ${quoted(tensor.name)} overlap at byte ${tensor.position}`,
      );
    }
    previous = tensor;
  }
}
