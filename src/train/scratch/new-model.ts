/**
 * Models that begin as random numbers: a Llama of any shape as a Hugging Face folder.
 *
 * Weights are normal with deviation 0.02 and norms are 1 (GPT-2). The two matrices of a layer that write into the
 * residual stream, o_proj and down_proj, have 0.02 / sqrt(2 layers): 2 layers of them add up in it, and their sum
 * should not grow with the depth. Each tensor draws from a generator of its own, seeded with its name, so the weights
 * of one layer do not depend on how many others there are.
 *
 * The shape follows the paper's models (3.4): about as many layers as heads, a narrow gated MLP, grouped key-value heads.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { checkOptions, Memory3Error } from '../../errors.ts';
import { seededRandom } from '../../generate/sampling.ts';
import type { ModelConfig } from '../../model/config.ts';
import { checkConfig, expectedTensors } from '../../model/expected-tensors.ts';
import { openTokenizer } from '../../model/open-tokenizer.ts';
import { ropeConfig } from '../../model/rope.ts';
import type { TensorToWrite } from '../../model/safetensors-writer.ts';
import type { TokenizerFiles } from './byte-pair-encoding.ts';
import { refuseFolder, saveModel } from './save-model.ts';

const positive = z.int().min(1);

export const modelShapeSchema = z.strictObject({
  layers: positive,
  hiddenSize: positive,
  heads: positive,
  kvHeads: positive,
  headDim: positive,
  mlpSize: positive,
  /** Longest context, in tokens; memories take the first 128 positions of it. */
  contextLength: positive,
  ropeBase: z.number().gt(1).default(10_000),
  tiedHead: z.boolean().default(true),
});
/** What of a model is chosen before its tokenizer is known. */
export type ModelShape = z.input<typeof modelShapeSchema>;

/** Shapes for experiments on a few CPU cores: 3.4 million parameters without embeddings, and twice as many. */
export const scratchShapes = {
  small: { layers: 8, hiddenSize: 256, heads: 8, kvHeads: 2, headDim: 32, mlpSize: 336, contextLength: 2048 },
  double: { layers: 10, hiddenSize: 320, heads: 10, kvHeads: 2, headDim: 32, mlpSize: 448, contextLength: 2048 },
} as const satisfies Readonly<Record<string, ModelShape>>;

export interface ParameterCount {
  readonly total: number;
  /** Without the embedding and the output head: what the paper calls a model's size. */
  readonly withoutEmbeddings: number;
}

/** The configuration of a new model. @throws Memory3Error "usage" for a shape that no model can have. */
export function newModelConfig(shape: ModelShape, vocabularySize: number): ModelConfig {
  const { ropeBase, ...numbers } = checkOptions(modelShapeSchema, shape);
  const config = {
    ...numbers,
    architecture: 'llama' as const,
    vocabularySize,
    normEpsilon: 1e-5,
    attentionBias: false,
    queryKeyNorm: false,
    slidingWindow: null,
  };
  try {
    checkConfig(config, 'The shape');
  } catch (cause) {
    throw cause instanceof Memory3Error ? new Memory3Error('usage', cause.message, { cause }) : cause;
  }
  return { ...config, rope: ropeConfig(config.headDim, ropeBase, { type: 'none' }) };
}

export function parameterCount(config: ModelConfig): ParameterCount {
  let total = 0;
  let embeddings = 0;
  for (const [name, shape] of expectedTensors(config)) {
    const count = shape.reduce((product, length) => product * length, 1);
    total += count;
    if (isEmbedding(name)) embeddings += count;
  }
  return { total, withoutEmbeddings: total - embeddings };
}

function isEmbedding(name: string): boolean {
  return name === 'model.embed_tokens.weight' || name === 'lm_head.weight';
}

const deviation = 0.02;

/**
 * Random weights of a model by Hugging Face name; the same seed gives the same numbers.
 * @param seed an integer of 32 bits
 */
export function initialWeights(config: ModelConfig, seed: number): Map<string, TensorToWrite> {
  const weights = new Map<string, TensorToWrite>();
  for (const [name, shape] of expectedTensors(config)) {
    const data = new Float32Array(shape.reduce((product, length) => product * length, 1));
    if (shape.length === 1) data.fill(1);
    else {
      const intoResidual = /\.(o_proj|down_proj)\.weight$/.test(name);
      fillNormal(data, intoResidual ? deviation / Math.sqrt(2 * config.layers) : deviation, seedOf(name, seed));
    }
    weights.set(name, { shape, data });
  }
  return weights;
}

function seedOf(name: string, seed: number): number {
  return createHash('sha256').update(`${seed} ${name}`).digest().readUInt32LE(0);
}

/** Normal numbers, two at a time (Box and Muller 1958). */
function fillNormal(data: Float32Array, standardDeviation: number, seed: number): void {
  const random = seededRandom(seed);
  for (let i = 0; i < data.length; i += 2) {
    const radius = standardDeviation * Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    data[i] = radius * Math.cos(angle);
    if (i + 1 < data.length) data[i + 1] = radius * Math.sin(angle);
  }
}

export interface NewModel {
  readonly config: ModelConfig;
  readonly parameters: ParameterCount;
}

/**
 * Writes a new model that `openModelFile` opens.
 * @param folder must not exist yet, or be empty
 * @param seed an integer of 32 bits; the same seed, shape and tokenizer give the same bytes
 * @throws Memory3Error "usage" if something is in the folder or the shape is impossible; "disk" if it cannot be written.
 * @example
 * const { files } = await trainBytePairs(texts, { vocabularySize: 4096 });
 * createModel('runs/small', scratchShapes.small, files, 1).parameters.withoutEmbeddings; // 3_379_456
 */
export function createModel(folder: string, shape: ModelShape, tokenizer: TokenizerFiles, seed: number): NewModel {
  refuseFolder(folder);
  const config = newModelConfig(shape, openTokenizer(tokenizer).vocabularySize);
  saveModel(folder, { config, tokenizer }, initialWeights(config, seed));
  return { config, parameters: parameterCount(config) };
}
