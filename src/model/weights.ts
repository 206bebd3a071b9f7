/**
 * Weights as data. Names are Hugging Face's ("model.layers.0.self_attn.q_proj.weight"), rows of q and k are in
 * "rotate halves" order whatever the file's own order, and a matrix is `[rows = output, columns = input]`.
 */

/** A matrix or vector in full precision, row-major. */
export interface DenseTensor {
  readonly kind: 'dense';
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/**
 * A matrix of blocks along its columns, each block with one scale and, for formats that have one, one minimum:
 *
 *   weight[r, c] = scales[r, b] * (code[r, c] - zero) + offsets[r, b],   b = floor(c / blockSize)
 *
 * with zero = 8 for 4-bit codes and 128 for 8-bit codes (what MatMulNBits takes as its symmetric default).
 * Every supported file format is this exactly: Q4_0 and Q8_0 have no offsets; Q4_1 has scale d and offset m + 8 d;
 * Q4_K and Q5_K have 32-column sub-blocks; Q6_K has 16-column sub-blocks without offset.
 */
export interface BlockMatrix {
  readonly kind: 'blocks';
  readonly shape: readonly [rows: number, columns: number];
  readonly bits: 4 | 8;
  readonly blockSize: 16 | 32;
  /** `[rows, columns * bits / 8]`; with 4 bits the even column is the low nibble. */
  readonly codes: Uint8Array;
  /** `[rows, columns / blockSize]` */
  readonly scales: Float32Array;
  /** `[rows, columns / blockSize]`, or null where the format is symmetric. */
  readonly offsets: Float32Array | null;
}

export type WeightTensor = DenseTensor | BlockMatrix;

/** A source of weights by Hugging Face name; tensors are decoded when asked for. */
export interface Weights {
  readonly names: readonly string[];
  has(name: string): boolean;
  /** @throws Memory3Error "damaged" if there is no such tensor or its bytes are out of the file. */
  get(name: string): WeightTensor;
}
