/** A tiny model with a tokenizer of its own, for tests that train: random weights large enough that its attention matters. */
import { memoryHeader } from '../../src/memory/choose-profile.ts';
import type { ModelSource } from '../../src/memory/model.ts';
import type { MemoryProfile } from '../../src/memory/profile.ts';
import { openTokenizer } from '../../src/model/open-tokenizer.ts';
import type { TensorToWrite } from '../../src/model/safetensors-writer.ts';
import type { Tokenizer } from '../../src/model/tokenizer.ts';
import { type TokenizerFiles, trainBytePairs } from '../../src/train/scratch/byte-pair-encoding.ts';
import { initialWeights, type ModelShape, newModelConfig } from '../../src/train/scratch/new-model.ts';

export const tinyShape: ModelShape = {
  layers: 2,
  hiddenSize: 32,
  heads: 4,
  kvHeads: 2,
  headDim: 8,
  mlpSize: 48,
  contextLength: 1024,
};

export interface TinyModel extends ModelSource {
  readonly tokenizer: Tokenizer;
  readonly files: TokenizerFiles;
  readonly tensors: ReadonlyMap<string, TensorToWrite>;
  readonly profile: MemoryProfile;
}

/** @param scale on the matrices, whose usual deviation of 0.02 leaves a tiny model almost uniform */
export async function tinyModel({ seed = 1, scale = 8 } = {}): Promise<TinyModel> {
  const { files } = await trainBytePairs(['the theory of the thing, the answer to the question'], {
    vocabularySize: 280,
  });
  const tokenizer = openTokenizer(files);
  const config = newModelConfig(tinyShape, tokenizer.vocabularySize);
  const tensors = initialWeights(config, seed);
  for (const { shape, data } of tensors.values()) {
    if (shape.length === 2) for (const [i, value] of data.entries()) data[i] = scale * value;
  }
  const get = (name: string) => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new Error(`no tensor ${name}`);
    return { kind: 'dense' as const, shape: tensor.shape, data: tensor.data.slice() };
  };
  const profile: MemoryProfile = {
    layers: [1],
    keptTokens: 'all',
    scoring: 'received',
    storage: 'f16',
    header: memoryHeader(tokenizer),
  };
  const weights = { names: [...tensors.keys()], has: (name: string) => tensors.has(name), get };
  return { config, weights, tokenizer, files, tensors, profile };
}
