/**
 * y = x Wᵀ (+ bias) for the weight formats of `model/weights.ts`, x `[n, columns]`, y `[n, rows]`.
 *
 * Block formats stay in their 4 or 8 bits and run as MatMulNBits, whose fast kernel wants symmetric codes. A format with
 * minimums (Q4_1, Q4_K, Q5_K) is split exactly: with w = s (code - zero) + o for block b of a row,
 *
 *   y = MatMulNBits(x, codes, scales) + blockSums(x) Oᵀ,   blockSums(x)[n, b] = sum of x[n, c] over the columns c of b
 *
 * so the offsets cost one small f32 product with columns / 32 terms for each row. (A float zero point would make
 * MatMulNBits unpack the whole matrix at every run, measured at 20 times a decoded token's time.)
 */
import { toDense } from '../model/quantised.ts';
import type { DenseTensor, WeightTensor } from '../model/weights.ts';
import type { GraphBuilder } from './graph.ts';

/** 'file': matrices stay as the file stores them; 'f32': everything is unpacked, for checking against other engines. */
export type Precision = 'file' | 'f32';

/** Adds `x Wᵀ + bias`; `name` must be the weight's name, `x` is `[n, columns]`. */
export function linear(
  builder: GraphBuilder,
  x: string,
  name: string,
  weight: WeightTensor,
  bias: DenseTensor | undefined,
  precision: Precision,
): string {
  const [rows, columns] = weight.shape as [number, number];
  const biasInput = bias === undefined ? [] : [builder.constant(`${name}.bias`, 'float32', [rows], bias.data)];
  if (weight.kind === 'dense' || precision === 'f32') {
    const dense = builder.constant(name, 'float32', [rows, columns], toDense(weight).data);
    return builder.apply('Gemm', [x, dense, ...biasInput], { transB: 1 });
  }
  const blocks = columns / weight.blockSize;
  const product = builder.apply(
    'MatMulNBits',
    [
      x,
      builder.constant(name, 'uint8', [rows, blocks, (weight.blockSize * weight.bits) / 8], weight.codes),
      builder.constant(`${name}.scales`, 'float32', [rows * blocks], weight.scales),
      ...(bias === undefined ? [] : ['', '', ...biasInput]),
    ],
    // Accuracy level 4: activations are rounded to 8 bits block by block, then multiplied as integers.
    { K: columns, N: rows, bits: weight.bits, block_size: weight.blockSize, accuracy_level: 4 },
  );
  if (weight.offsets === null) return product;
  const offsets = builder.constant(`${name}.offsets`, 'float32', [rows, blocks], weight.offsets);
  return builder.apply('Gemm', [blockSums(builder, x, blocks, weight.blockSize), offsets, product], { transB: 1 });
}

/** `[n, columns]` to `[n, blocks]`. */
function blockSums(builder: GraphBuilder, x: string, blocks: number, blockSize: number): string {
  const split = builder.apply('Reshape', [x, builder.integers([-1, blocks, blockSize])]);
  return builder.apply('ReduceSum', [split, builder.integers([2])], { keepdims: 0 });
}
