/** A model's configuration and weights from a Hugging Face folder: config.json beside one or several safetensors files. */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { Memory3Error } from '../errors.ts';
import { quoted, readTextFile } from './binary-file.ts';
import { type Architecture, architectures, type ModelConfig } from './config.ts';
import { checkConfig, checkedRope, checkTensors, expectedTensors } from './expected-tensors.ts';
import { decodeTensor } from './quantised.ts';
import { type RopeScaling, ropeConfig, yarnAttentionScale } from './rope.ts';
import { faultsOf, openSafetensors } from './safetensors.ts';
import type { StoredTensor, TensorFile } from './stored-tensor.ts';
import { parseStrictJson } from './strict-json.ts';
import type { Weights } from './weights.ts';

const indexName = 'model.safetensors.index.json';
const singleName = 'model.safetensors';
const longestConfig = 1024 * 1024;
const longestIndex = 8 * 1024 * 1024;

const positive = z.number().positive();
const optional = <T extends z.ZodType>(schema: T) => schema.nullish();

const ropeSchema = z.looseObject({
  rope_type: optional(z.string()),
  /** Its name in older files. */
  type: optional(z.string()),
  rope_theta: optional(positive),
  factor: optional(positive),
  low_freq_factor: optional(positive),
  high_freq_factor: optional(positive),
  original_max_position_embeddings: optional(positive),
  attention_factor: optional(positive),
  mscale: optional(z.number()),
  mscale_all_dim: optional(z.number()),
  beta_fast: optional(positive),
  beta_slow: optional(positive),
  truncate: optional(z.boolean()),
  partial_rotary_factor: optional(z.number()),
});

const configSchema = z.looseObject({
  model_type: z.string(),
  hidden_size: z.number(),
  intermediate_size: z.number(),
  num_hidden_layers: z.number(),
  num_attention_heads: z.number(),
  num_key_value_heads: optional(z.number()),
  head_dim: optional(z.number()),
  vocab_size: z.number(),
  max_position_embeddings: z.number(),
  rms_norm_eps: z.number(),
  hidden_act: z.string().default('silu'),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  sliding_window: optional(z.number()),
  use_sliding_window: z.boolean().default(false),
  max_window_layers: optional(z.number()),
  layer_types: optional(z.array(z.string())),
  partial_rotary_factor: optional(z.number()),
  quantization_config: z.unknown().optional(),
  /** transformers 5; before, the base and the scaling stood apart. */
  rope_parameters: optional(ropeSchema),
  rope_theta: optional(positive),
  rope_scaling: optional(ropeSchema),
});
type FileConfig = z.infer<typeof configSchema>;

/** Weight files of a folder, and which of them holds a tensor. */
export interface SafetensorsModel extends Disposable {
  readonly config: ModelConfig;
  readonly weights: Weights;
  /** The weight files, in a fixed order. */
  readonly files: readonly string[];
}

/**
 * Opens the model of a folder.
 *
 * @param path the folder, or one weight file in it (which then holds all weights)
 * @throws Memory3Error "not-found", "damaged", "unsupported"
 */
export function openSafetensorsModel(path: string, isFolder: boolean): SafetensorsModel {
  const folder = isFolder ? path : dirname(path);
  const configPath = join(folder, 'config.json');
  using opened = new DisposableStack();
  const { files, tensors, owner } = openWeightFiles(folder, isFolder ? undefined : path, opened);
  const config = readConfig(configPath);
  const isIgnored = (name: string) =>
    name.endsWith('.rotary_emb.inv_freq') || (config.tiedHead && name === 'lm_head.weight');
  checkTensors(config, tensors, path, (name) => name, isIgnored);
  const names = [...expectedTensors(config).keys()];
  const known = new Set(names);
  const weights: Weights = {
    names,
    has: (name) => known.has(name),
    get(name) {
      const tensor = tensors.get(name);
      const file = owner.get(name);
      if (tensor === undefined || file === undefined || !known.has(name)) {
        throw new Memory3Error('damaged', `${path} has no tensor ${name}.`);
      }
      return decodeTensor(tensor.type, tensor.shape, file.readTensor(tensor), name);
    },
  };
  const owned = opened.move();
  return { config, weights, files, [Symbol.dispose]: () => owned.dispose() };
}

interface WeightFiles {
  readonly files: readonly string[];
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly owner: ReadonlyMap<string, TensorFile>;
}

function openWeightFiles(folder: string, single: string | undefined, opened: DisposableStack): WeightFiles {
  const index = join(folder, indexName);
  const indexed = existsSync(index) ? readIndex(index) : undefined;
  if (single !== undefined && indexed !== undefined && indexed.size > 1 && indexed.has(basename(single))) {
    throw new Memory3Error('usage', `${single} is one of the ${indexed.size} files of a model.`, {
      remedy: `Name their folder: ${folder}.`,
    });
  }
  const byFile = single === undefined ? indexed : undefined;
  const files =
    byFile === undefined
      ? [single ?? join(folder, singleName)]
      : [...byFile.keys()].sort().map((name) => join(folder, name));
  const tensors = new Map<string, StoredTensor>();
  const owner = new Map<string, TensorFile>();
  for (const path of files) {
    const file = opened.use(openSafetensors(path));
    const listed = byFile?.get(basename(path));
    if (listed !== undefined) checkListed(file, listed, index);
    for (const [name, tensor] of file.tensors) {
      tensors.set(name, tensor);
      owner.set(name, file);
    }
  }
  return { files, tensors, owner };
}

/** Tensor names by file. */
function readIndex(path: string): Map<string, Set<string>> {
  const { text, damaged } = readTextFile(path, longestIndex);
  const schema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });
  const parsed = schema.safeParse(parseStrictJson(text, damaged));
  if (!parsed.success) throw damaged(faultsOf(parsed.error));
  const byFile = new Map<string, Set<string>>();
  for (const [tensor, file] of Object.entries(parsed.data.weight_map)) {
    if (!/^[\w.-]+\.safetensors$/.test(file))
      throw damaged(`tensor ${quoted(tensor)} is in the file ${quoted(file)}, which is no plain file name`);
    const names = byFile.get(file) ?? new Set();
    byFile.set(file, names.add(tensor));
  }
  if (byFile.size === 0) throw damaged('its weight_map is empty');
  if (byFile.size > 1024) throw damaged(`its weight_map names ${byFile.size} files`);
  return byFile;
}

function checkListed(file: TensorFile, listed: ReadonlySet<string>, index: string): void {
  const lost = [...listed].find((name) => !file.tensors.has(name));
  if (lost !== undefined)
    throw new Memory3Error('damaged', `${file.path} lacks tensor ${quoted(lost)}, which ${index} says it holds.`);
  const unlisted = [...file.tensors.keys()].find((name) => !listed.has(name));
  if (unlisted !== undefined)
    throw new Memory3Error(
      'damaged',
      `${file.path} holds tensor ${quoted(unlisted)}, which ${index} does not list there.`,
    );
}

function readConfig(path: string): ModelConfig {
  const { text, damaged } = readTextFile(path, longestConfig);
  const json = parseStrictJson(text, damaged);
  const architecture = architectureOf(json, path);
  const parsed = configSchema.safeParse(json);
  if (!parsed.success) throw damaged(faultsOf(parsed.error));
  const file = parsed.data;
  refuseVariants(file, path);
  const config = {
    architecture,
    layers: file.num_hidden_layers,
    hiddenSize: file.hidden_size,
    heads: file.num_attention_heads,
    kvHeads: file.num_key_value_heads ?? file.num_attention_heads,
    headDim: file.head_dim ?? (architecture === 'qwen3' ? 128 : file.hidden_size / file.num_attention_heads),
    mlpSize: file.intermediate_size,
    vocabularySize: file.vocab_size,
    contextLength: file.max_position_embeddings,
    normEpsilon: file.rms_norm_eps,
    attentionBias: architecture === 'qwen2' || file.attention_bias,
    queryKeyNorm: architecture === 'qwen3',
    tiedHead: file.tie_word_embeddings,
    slidingWindow: slidingWindowOf(file, architecture, path),
  };
  checkConfig(config, path);
  const rope = file.rope_parameters ?? file.rope_scaling ?? {};
  const base = rope.rope_theta ?? file.rope_theta ?? 10000;
  if (!(base > 1)) throw damaged(`the RoPE base is ${base}`);
  const scaling = scalingOf(rope, config.contextLength, path);
  return { ...config, rope: checkedRope(ropeConfig(config.headDim, base, scaling), path) };
}

/** Looks at the architecture first: another one need not have the fields of those that are supported. */
function architectureOf(json: unknown, path: string): Architecture {
  const name = typeof json === 'object' && json !== null && 'model_type' in json ? json.model_type : undefined;
  const architecture = architectures.find((known) => known === name);
  if (architecture !== undefined) return architecture;
  throw new Memory3Error(
    'unsupported',
    `${path} describes a model of the architecture ${typeof name === 'string' ? quoted(name) : '(none named)'}; supported are ${architectures.join(', ')}.`,
  );
}

function refuseVariants(file: FileConfig, path: string): void {
  const refuse = (what: string) => new Memory3Error('unsupported', `${path}: ${what} is not supported.`);
  if (file.hidden_act !== 'silu') throw refuse(`the activation ${quoted(file.hidden_act)}`);
  if (file.quantization_config !== undefined && file.quantization_config !== null) {
    throw refuse('a quantised safetensors checkpoint (take the plain one, or a GGUF file)');
  }
  const rotated = file.rope_parameters?.partial_rotary_factor ?? file.partial_rotary_factor ?? 1;
  if (rotated !== 1) throw refuse(`RoPE on a part of ${rotated} of each head`);
}

/** One window for all layers, or none; Qwen's files can say that only some layers have one. */
function slidingWindowOf(file: FileConfig, architecture: Architecture, path: string): number | null {
  if (architecture === 'llama') return null;
  // transformers' default where a Mistral file is silent.
  if (architecture === 'mistral') return file.sliding_window === undefined ? 4096 : (file.sliding_window ?? null);
  if (!file.use_sliding_window || file.sliding_window === undefined || file.sliding_window === null) return null;
  const layers = file.num_hidden_layers;
  const full =
    file.layer_types?.filter((type) => type === 'full_attention').length ??
    Math.min(layers, file.max_window_layers ?? 28);
  if (full >= layers) return null;
  if (full === 0) return file.sliding_window;
  throw new Memory3Error(
    'unsupported',
    `${path}: a sliding window in ${layers - full} of ${layers} layers is not supported.`,
  );
}

function scalingOf(rope: z.infer<typeof ropeSchema>, contextLength: number, path: string): RopeScaling {
  const type = rope.rope_type ?? rope.type ?? 'default';
  const required = (
    key: 'factor' | 'low_freq_factor' | 'high_freq_factor' | 'original_max_position_embeddings',
  ): number => {
    const value = rope[key];
    if (typeof value !== 'number')
      throw new Memory3Error('damaged', `${path}: RoPE scaling ${quoted(type)} without ${quoted(key)}.`);
    return value;
  };
  switch (type) {
    case 'default':
      return { type: 'none' };
    case 'linear':
      return { type, factor: required('factor') };
    case 'llama3':
      return {
        type,
        factor: required('factor'),
        lowFrequencyFactor: required('low_freq_factor'),
        highFrequencyFactor: required('high_freq_factor'),
        originalContext: required('original_max_position_embeddings'),
      };
    case 'yarn': {
      const originalContext = rope.original_max_position_embeddings ?? contextLength;
      const factor = rope.factor ?? contextLength / originalContext;
      const weighted =
        rope.mscale && rope.mscale_all_dim
          ? yarnAttentionScale(factor, rope.mscale) / yarnAttentionScale(factor, rope.mscale_all_dim)
          : yarnAttentionScale(factor);
      return {
        type,
        factor,
        originalContext,
        betaFast: rope.beta_fast ?? 32,
        betaSlow: rope.beta_slow ?? 1,
        truncate: rope.truncate ?? true,
        attentionScale: rope.attention_factor ?? weighted,
      };
    }
    default:
      throw new Memory3Error(
        'unsupported',
        `${path}: RoPE scaling ${quoted(type)}; supported are default, linear, llama3 and yarn.`,
      );
  }
}
