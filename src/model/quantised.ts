/** Weights from the bytes of a file, and what is done with them: unpack, stack, look rows up. */
import { Memory3Error } from '../errors.ts';
import { floatsFromBf16, floatsFromF16 } from '../half.ts';
import { quoted } from './binary-file.ts';
import { type BlockFormat, blockFormats } from './block-formats.ts';
import type { BlockMatrix, DenseTensor, WeightTensor } from './weights.ts';

const denseFormats: ReadonlyMap<string, (bytes: Uint8Array<ArrayBuffer>) => Float32Array> = new Map([
  ['F32', (bytes: Uint8Array<ArrayBuffer>) => new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)],
  ['F16', floatsFromF16],
  ['BF16', floatsFromBf16],
]);

/** Names of the tensor types that `decodeTensor` takes. */
export const supportedTensorTypes: readonly string[] = [...denseFormats.keys(), ...blockFormats.keys()];

/**
 * Decodes a tensor's bytes.
 *
 * @param type as the file names it: "F32", "F16", "BF16" give a `DenseTensor`, block formats a `BlockMatrix`
 * @param shape row-major; block formats need `[rows, columns]`
 * @param bytes little-endian, exactly the tensor's, at an offset that is a multiple of 4; an F32 result shares them
 * @param name for errors
 * @throws Memory3Error "unsupported" for another type; "damaged" if type, shape and bytes do not belong together
 */
export function decodeTensor(
  type: string,
  shape: readonly number[],
  bytes: Uint8Array<ArrayBuffer>,
  name: string,
): WeightTensor {
  const toFloats = denseFormats.get(type);
  if (toFloats !== undefined) {
    const elements = shape.reduce((product, length) => product * length, 1);
    checkLength(bytes, elements * (type === 'F32' ? 4 : 2), name);
    return { kind: 'dense', shape, data: toFloats(bytes) };
  }
  const format = blockFormats.get(type);
  if (format === undefined) {
    throw new Memory3Error(
      'unsupported',
      `Tensor ${quoted(name)} has the type ${type}; supported are ${supportedTensorTypes.join(', ')}.`,
    );
  }
  return decodeBlocks(format, type, shape, bytes, name);
}

function decodeBlocks(
  format: BlockFormat,
  type: string,
  shape: readonly number[],
  bytes: Uint8Array,
  name: string,
): BlockMatrix {
  const [rows, columns] = shape;
  if (rows === undefined || columns === undefined || shape.length !== 2) {
    throw new Memory3Error(
      'damaged',
      `Tensor ${quoted(name)} of type ${type} has the shape [${shape}]; only matrices are stored so.`,
    );
  }
  if (columns % format.fileBlock !== 0) {
    throw new Memory3Error(
      'damaged',
      `Tensor ${quoted(name)} has rows of ${columns} elements, which ${type}'s blocks of ${format.fileBlock} do not divide.`,
    );
  }
  const elements = rows * columns;
  const fileBlocks = elements / format.fileBlock;
  checkLength(bytes, fileBlocks * format.fileBytes, name);
  const codes = new Uint8Array((elements * format.bits) / 8);
  const scales = new Float32Array(elements / format.blockSize);
  const offsets = new Float32Array(format.hasOffsets ? scales.length : 0);
  format.decode(bytes, fileBlocks, codes, scales, offsets);
  const { bits, blockSize } = format;
  return {
    kind: 'blocks',
    shape: [rows, columns],
    bits,
    blockSize,
    codes,
    scales,
    offsets: format.hasOffsets ? offsets : null,
  };
}

function checkLength(bytes: Uint8Array, expected: number, name: string): void {
  if (bytes.byteLength === expected) return;
  throw new Memory3Error(
    'damaged',
    `Tensor ${quoted(name)} has ${bytes.byteLength} bytes, where its shape and type need ${expected}.`,
  );
}

/** The tensor in full precision; a dense one is returned as it is. */
export function toDense(tensor: WeightTensor): DenseTensor {
  if (tensor.kind === 'dense') return tensor;
  const [rows, columns] = tensor.shape;
  const data = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) unpackRow(tensor, row, data, row * columns);
  return { kind: 'dense', shape: tensor.shape, data };
}

/**
 * Copies rows of a matrix in full precision: the embedding lookup.
 *
 * @param ids which rows
 * @param out `[ids.length, columns]`
 * @throws Memory3Error "usage" for a row that does not exist or an `out` of another size
 */
export function gatherRows(tensor: WeightTensor, ids: ArrayLike<number>, out: Float32Array): void {
  const rows = tensor.shape[0] ?? 0;
  const columns = tensor.shape[1] ?? 0;
  if (out.length !== ids.length * columns) {
    throw new Memory3Error('usage', `${ids.length} rows of ${columns} elements do not fill an array of ${out.length}.`);
  }
  for (let i = 0; i < ids.length; i++) {
    const row = ids[i] as number;
    if (!(Number.isInteger(row) && row >= 0 && row < rows)) {
      throw new Memory3Error('usage', `There is no row ${row}: the matrix has ${rows}.`);
    }
    if (tensor.kind === 'dense') out.set(tensor.data.subarray(row * columns, (row + 1) * columns), i * columns);
    else unpackRow(tensor, row, out, i * columns);
  }
}

function unpackRow(matrix: BlockMatrix, row: number, out: Float32Array, to: number): void {
  const { bits, blockSize, codes, scales, offsets } = matrix;
  const columns = matrix.shape[1];
  const blocks = columns / blockSize;
  let code = (row * columns * bits) / 8;
  let column = to;
  for (let block = row * blocks; block < (row + 1) * blocks; block++) {
    const scale = scales[block] as number;
    const offset = offsets === null ? 0 : (offsets[block] as number);
    const end = column + blockSize;
    if (bits === 8) {
      while (column < end) out[column++] = scale * ((codes[code++] as number) - 128) + offset;
    } else {
      while (column < end) {
        const pair = codes[code++] as number;
        out[column++] = scale * ((pair & 15) - 8) + offset;
        out[column++] = scale * ((pair >> 4) - 8) + offset;
      }
    }
  }
}

/**
 * Puts matrices (or vectors) of one format on top of each other: q, k and v become one product.
 *
 * @returns `[sum of rows, columns]`, or undefined where formats or columns differ, so that nothing would be exact
 */
export function stackRows(tensors: readonly WeightTensor[]): WeightTensor | undefined {
  const [first, ...rest] = tensors;
  if (first === undefined || !rest.every((tensor) => sameFormat(first, tensor))) return undefined;
  const rows = tensors.reduce((sum, tensor) => sum + (tensor.shape[0] as number), 0);
  if (first.kind === 'dense') {
    const parts = (tensors as readonly DenseTensor[]).map((tensor) => tensor.data);
    return { kind: 'dense', shape: [rows, ...first.shape.slice(1)], data: joinFloats(parts) };
  }
  const matrices = tensors as readonly BlockMatrix[];
  const offsets = first.offsets === null ? null : joinFloats(matrices.map((matrix) => matrix.offsets as Float32Array));
  const codes = new Uint8Array(matrices.reduce((sum, matrix) => sum + matrix.codes.length, 0));
  let at = 0;
  for (const matrix of matrices) {
    codes.set(matrix.codes, at);
    at += matrix.codes.length;
  }
  const scales = joinFloats(matrices.map((matrix) => matrix.scales));
  return { ...first, shape: [rows, first.shape[1]], codes, scales, offsets };
}

function sameFormat(a: WeightTensor, b: WeightTensor): boolean {
  if (a.shape.length !== b.shape.length || a.shape[1] !== b.shape[1]) return false;
  if (a.kind === 'dense' || b.kind === 'dense') return a.kind === b.kind && a.shape.length <= 2;
  return a.bits === b.bits && a.blockSize === b.blockSize && (a.offsets === null) === (b.offsets === null);
}

function joinFloats(parts: readonly Float32Array[]): Float32Array {
  const joined = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
