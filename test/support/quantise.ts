/** Models whose matrices are stored in blocks, made from small ones with full precision. */
import type { ModelSource } from '../../src/memory/model.ts';
import type { BlockMatrix, DenseTensor, WeightTensor } from '../../src/model/weights.ts';

/** The model with the matrices of its layers in blocks of 16 columns and 8 bits. */
export function quantised({ config, weights }: ModelSource): ModelSource {
  const get = (name: string): WeightTensor => {
    const tensor = weights.get(name);
    return tensor.kind === 'dense' && name.endsWith('_proj.weight') ? inBlocks(tensor) : tensor;
  };
  return { config, weights: { names: weights.names, has: (name) => weights.has(name), get } };
}

function inBlocks({ shape, data }: DenseTensor): BlockMatrix {
  const [rows, columns] = shape as [number, number];
  const blockSize = 16;
  const scales = new Float32Array(data.length / blockSize);
  const codes = new Uint8Array(data.length);
  for (const block of scales.keys()) {
    const values = data.subarray(block * blockSize, (block + 1) * blockSize);
    const scale = Math.max(...values.map(Math.abs)) / 127;
    scales[block] = scale;
    for (const [i, value] of values.entries()) codes[block * blockSize + i] = 128 + Math.round(value / scale);
  }
  return { kind: 'blocks', shape: [rows, columns], bits: 8, blockSize, codes, scales, offsets: null };
}
