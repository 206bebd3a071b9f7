/** Adapters with random values, for whatever model. */
import { loraNames } from '../../src/graph/parameters.ts';
import { differenceName } from '../../src/memory/adapter.ts';
import type { AdapterCard } from '../../src/memory/adapter-card.ts';
import type { ModelFile } from '../../src/model/open.ts';
import type { TensorToWrite } from '../../src/model/safetensors-writer.ts';

/** A complete card for a model. */
export async function cardFor(base: ModelFile, changes: Partial<AdapterCard> = {}): Promise<AdapterCard> {
  return {
    formatVersion: 1,
    name: 'random',
    createdAt: '2025-01-02T03:04:05Z',
    licence: 'Apache-2.0',
    base: { name: base.name, fingerprint: await base.fingerprint() },
    scale: 2,
    profile: { layers: [0, 1], keptTokens: 8, scoring: 'received', storage: 'f16' },
    matrixWidth: 8,
    data: [{ name: 'nothing', licence: 'CC0-1.0', source: 'a random number generator', examples: 0 }],
    training: 'none',
    results: [{ mode: 'memory', kept: 8, nll: 3.5 }],
    ...changes,
  };
}

/** Numbers around 0, at most `largest`; the same for the same seed. */
export function randomValues(count: number, largest: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return largest * (state / 2 ** 31 - 1);
  });
}

/**
 * LoRA pairs for the named matrices, and differences for the named vectors.
 * @param largest magnitude of A and of B
 */
export function randomTensors(
  base: ModelFile,
  names: readonly string[],
  rank: number,
  largest: number,
): Map<string, TensorToWrite> {
  const tensors = new Map<string, TensorToWrite>();
  for (const [seed, name] of names.entries()) {
    const { shape } = base.weights.get(name);
    const [rows, columns] = shape as [number, number | undefined];
    if (columns === undefined) {
      tensors.set(differenceName(name), { shape, data: randomValues(rows, largest, seed) });
      continue;
    }
    const { a, b } = loraNames(name);
    tensors.set(a, { shape: [rank, columns], data: randomValues(rank * columns, largest, seed), dtype: 'F16' });
    tensors.set(b, { shape: [rows, rank], data: randomValues(rows * rank, largest, seed + 1000), dtype: 'F16' });
  }
  return tensors;
}
