/**
 * A model's configuration and weights from a GGUF file.
 *
 * GGUF has its own names ("blk.0.attn_q.weight"), and llama.cpp stores the q and k rows of architecture "llama" (Mistral
 * is one too) for RoPE over neighbouring pairs: row 2 i + j of a head is row j * headDim / 2 + i in the order that rotates halves.
 * The rows are put back before anything is decoded. Qwen's files keep Hugging Face's order.
 */
import { Memory3Error } from '../errors.ts';
import { quoted } from './binary-file.ts';
import type { Architecture, ModelConfig, RopeConfig } from './config.ts';
import { checkConfig, checkedRope, checkTensors, expectedTensors } from './expected-tensors.ts';
import type { GgufFile, GgufValue } from './gguf.ts';
import { decodeTensor, toDense } from './quantised.ts';
import { type RopeScaling, ropeConfig, yarnAttentionScale } from './rope.ts';
import type { StoredTensor } from './stored-tensor.ts';
import type { Weights } from './weights.ts';

/** GGUF's names of what Hugging Face calls `general.architecture`; a Mistral file says "llama". */
const ggufArchitectures: readonly Architecture[] = ['llama', 'qwen2', 'qwen3'];

/** @throws Memory3Error "unsupported" for what is not computed, "damaged" for what cannot be. */
export function configFromGguf(file: GgufFile): ModelConfig {
  const architecture = ggufArchitecture(file);
  const { path, tensors } = file;
  const read = metadataReader(file, architecture);
  refuseVariants(read, path);
  const heads = read.integer('attention.head_count');
  const hiddenSize = read.integer('embedding_length');
  const isSaid = file.metadata.has(`${architecture}.attention.key_length`);
  if (!isSaid && hiddenSize % heads !== 0) {
    throw new Memory3Error('damaged', `${path}: ${heads} heads do not divide hidden vectors of ${hiddenSize} numbers.`);
  }
  const headDim = read.integer('attention.key_length', hiddenSize / heads);
  const valueDim = read.integer('attention.value_length', headDim);
  const rotated = read.integer('rope.dimension_count', headDim);
  if (valueDim !== headDim || rotated !== headDim) {
    throw new Memory3Error(
      'unsupported',
      `${path}: heads with ${headDim} key, ${valueDim} value and ${rotated} rotated dimensions; they must be equal.`,
    );
  }
  const contextLength = read.integer('context_length');
  const config = {
    architecture,
    layers: read.integer('block_count'),
    hiddenSize,
    heads,
    kvHeads: read.integer('attention.head_count_kv', heads),
    headDim,
    mlpSize: read.integer('feed_forward_length'),
    vocabularySize: tensors.get('token_embd.weight')?.shape[0] ?? read.integer('vocab_size'),
    contextLength,
    normEpsilon: read.number('attention.layer_norm_rms_epsilon'),
    attentionBias: tensors.has('blk.0.attn_q.bias'),
    queryKeyNorm: architecture === 'qwen3',
    tiedHead: !tensors.has('output.weight'),
    slidingWindow: read.integer('attention.sliding_window', 0) || null,
  };
  checkConfig(config, path);
  checkVocabulary(file, config.vocabularySize);
  checkTensors(config, tensors, path, ggufName, (name) => name === 'rope_freqs.weight');
  return { ...config, rope: readRope(file, read, headDim, contextLength) };
}

function ggufArchitecture(file: GgufFile): Architecture {
  const name = file.metadata.get('general.architecture');
  if (typeof name !== 'string') {
    throw new Memory3Error('damaged', `${file.path}: the key "general.architecture" is missing or not a string.`);
  }
  const architecture = ggufArchitectures.find((known) => known === name);
  if (architecture === undefined) {
    throw new Memory3Error(
      'unsupported',
      `${file.path} holds a model of the architecture ${quoted(name)}; supported are ${ggufArchitectures.join(', ')}.`,
    );
  }
  const splits = file.metadata.get('split.count');
  if (splits !== undefined && splits !== 0 && splits !== 1) {
    throw new Memory3Error('unsupported', `${file.path} is one of ${splits} parts of a model.`, {
      remedy: 'Join them first: llama-gguf-split --merge FIRST-PART JOINED-FILE',
    });
  }
  return architecture;
}

function refuseVariants(read: MetadataReader, path: string): void {
  if (read.integer('expert_count', 0) > 0) {
    throw new Memory3Error('unsupported', `${path} is a mixture of experts; only dense models are supported.`);
  }
  for (const [key, neutral] of [
    ['logit_scale', 1],
    ['residual_scale', 1],
    ['embedding_scale', 1],
    ['attention.scale', 0],
    ['attention.clamp_kqv', 0],
    ['rope.scaling.yarn_log_multiplier', 0],
  ] as const) {
    const value = read.number(key, neutral);
    if (value !== neutral)
      throw new Memory3Error('unsupported', `${path}: ${key} is ${value}, which is not supported.`);
  }
}

function checkVocabulary(file: GgufFile, vocabularySize: number): void {
  const tokens = file.metadata.get('tokenizer.ggml.tokens');
  if (!Array.isArray(tokens) || tokens.length === vocabularySize) return;
  throw new Memory3Error(
    'damaged',
    `${file.path}: ${tokens.length} tokens for an embedding of ${vocabularySize} rows.`,
  );
}

function readRope(file: GgufFile, read: MetadataReader, headDim: number, contextLength: number): RopeConfig {
  const base = read.number('rope.freq_base', 10000);
  if (!(base > 1)) throw new Memory3Error('damaged', `${file.path}: the RoPE base is ${base}.`);
  const scaling = readScaling(file, read, headDim, contextLength);
  if ('factor' in scaling && !(scaling.factor > 0)) {
    throw new Memory3Error('damaged', `${file.path}: the RoPE scaling factor is ${scaling.factor}.`);
  }
  return checkedRope(ropeConfig(headDim, base, scaling), file.path);
}

function readScaling(file: GgufFile, read: MetadataReader, headDim: number, contextLength: number): RopeScaling {
  const oldFactor = read.number('rope.scale_linear', 1);
  const type = read.text('rope.scaling.type', oldFactor === 1 ? 'none' : 'linear');
  const divisors = file.tensors.get('rope_freqs.weight');
  if (divisors !== undefined) {
    if (type !== 'none')
      throw new Memory3Error('unsupported', `${file.path}: RoPE scaling ${type} together with rope_freqs.`);
    return { type: 'divided', divisors: readDivisors(file, divisors, headDim) };
  }
  switch (type) {
    case 'none':
      return { type };
    case 'linear':
      return { type, factor: read.number('rope.scaling.factor', oldFactor) };
    case 'yarn': {
      const factor = read.number('rope.scaling.factor');
      return {
        type,
        factor,
        originalContext: read.integer('rope.scaling.original_context_length', contextLength),
        betaFast: read.number('rope.scaling.yarn_beta_fast', 32),
        betaSlow: read.number('rope.scaling.yarn_beta_slow', 1),
        truncate: true,
        attentionScale: read.number('rope.scaling.attn_factor', 1) * yarnAttentionScale(factor),
      };
    }
    default:
      throw new Memory3Error(
        'unsupported',
        `${file.path}: RoPE scaling ${quoted(type)}; supported are none, linear, yarn and Llama 3's.`,
      );
  }
}

function readDivisors(file: GgufFile, tensor: StoredTensor, headDim: number): Float32Array {
  if (`${tensor.shape}` !== `${headDim / 2}` || tensor.type !== 'F32') {
    throw new Memory3Error(
      'damaged',
      `${file.path}: rope_freqs.weight is ${tensor.type} [${tensor.shape}], not F32 [${headDim / 2}].`,
    );
  }
  const { data } = toDense(decodeTensor(tensor.type, tensor.shape, file.readTensor(tensor), tensor.name));
  if (!data.every((divisor) => divisor > 0))
    throw new Memory3Error('damaged', `${file.path}: rope_freqs.weight is not positive.`);
  return data;
}

interface MetadataReader {
  integer(key: string, fallback?: number): number;
  number(key: string, fallback?: number): number;
  text(key: string, fallback: string): string;
}

/** Reads the keys of one architecture, `llama.KEY`. */
function metadataReader(file: GgufFile, architecture: Architecture): MetadataReader {
  const wrong = (key: string, value: GgufValue, wanted: string) =>
    new Memory3Error('damaged', `${file.path}: the key "${architecture}.${key}" is ${describe(value)}, not ${wanted}.`);
  const number = (key: string, fallback?: number): number => {
    const value = file.metadata.get(`${architecture}.${key}`) ?? fallback;
    if (value === undefined)
      throw new Memory3Error('damaged', `${file.path}: the key "${architecture}.${key}" is missing.`);
    if (Array.isArray(value)) {
      const [first] = value;
      if (typeof first === 'number' && value.every((one) => one === first)) return first;
      throw new Memory3Error('unsupported', `${file.path}: "${architecture}.${key}" differs from layer to layer.`);
    }
    if (typeof value !== 'number' || !Number.isFinite(value)) throw wrong(key, value, 'a number');
    return value;
  };
  return {
    number,
    integer(key, fallback) {
      const value = number(key, fallback);
      if (!Number.isInteger(value)) throw wrong(key, value, 'an integer');
      return value;
    },
    text(key, fallback) {
      const value = file.metadata.get(`${architecture}.${key}`) ?? fallback;
      if (typeof value !== 'string') throw wrong(key, value, 'a string');
      return value;
    },
  };
}

function describe(value: GgufValue): string {
  if (typeof value === 'object') return `an array of ${value.length}`;
  return typeof value === 'string' ? quoted(value) : `${value}`;
}

/** The file's weights by Hugging Face name. */
export function weightsFromGguf(file: GgufFile, config: ModelConfig): Weights {
  const names = [...expectedTensors(config).keys()];
  const known = new Set(names);
  return {
    names,
    has: (name) => known.has(name),
    get(name) {
      const tensor = file.tensors.get(ggufName(name));
      if (tensor === undefined || !known.has(name))
        throw new Memory3Error('damaged', `${file.path} has no tensor for ${name}.`);
      const bytes = file.readTensor(tensor);
      const heads = config.architecture === 'llama' ? rotatedHeads(name, config) : undefined;
      const ordered = heads === undefined ? bytes : pairsToHalves(bytes, heads, config.headDim);
      return decodeTensor(tensor.type, tensor.shape, ordered, tensor.name);
    },
  };
}

/** How many heads the rows of a q or k projection belong to. */
function rotatedHeads(name: string, config: ModelConfig): number | undefined {
  if (name.includes('.q_proj.')) return config.heads;
  return name.includes('.k_proj.') ? config.kvHeads : undefined;
}

/** Reorders the rows of each head, whatever a row's format: `[heads, headDim / 2, 2]` to `[heads, 2, headDim / 2]`. */
function pairsToHalves(bytes: Uint8Array<ArrayBuffer>, heads: number, headDim: number): Uint8Array<ArrayBuffer> {
  const rowBytes = bytes.length / (heads * headDim);
  const ordered = new Uint8Array(bytes.length);
  for (let head = 0; head < heads; head++) {
    for (let row = 0; row < headDim; row++) {
      const from = (head * headDim + row) * rowBytes;
      const to = (head * headDim + (row % 2) * (headDim / 2) + (row >> 1)) * rowBytes;
      ordered.set(bytes.subarray(from, from + rowBytes), to);
    }
  }
  return ordered;
}

const layerParts = new Map([
  ['input_layernorm', 'attn_norm'],
  ['self_attn.q_proj', 'attn_q'],
  ['self_attn.k_proj', 'attn_k'],
  ['self_attn.v_proj', 'attn_v'],
  ['self_attn.q_norm', 'attn_q_norm'],
  ['self_attn.k_norm', 'attn_k_norm'],
  ['self_attn.o_proj', 'attn_output'],
  ['post_attention_layernorm', 'ffn_norm'],
  ['mlp.gate_proj', 'ffn_gate'],
  ['mlp.up_proj', 'ffn_up'],
  ['mlp.down_proj', 'ffn_down'],
]);

const otherNames = new Map([
  ['model.embed_tokens.weight', 'token_embd.weight'],
  ['model.norm.weight', 'output_norm.weight'],
  ['lm_head.weight', 'output.weight'],
]);

/** "model.layers.3.self_attn.q_proj.weight" to "blk.3.attn_q.weight"; a name that GGUF does not have stays. */
function ggufName(name: string): string {
  const parts = /^model\.layers\.(\d+)\.(.+)\.(weight|bias)$/.exec(name);
  const [, layer, part, kind] = parts ?? [];
  const ggufPart = part === undefined ? undefined : layerParts.get(part);
  return ggufPart === undefined ? (otherNames.get(name) ?? name) : `blk.${layer}.${ggufPart}.${kind}`;
}
