/**
 * A model as a Hugging Face folder: config.json, tokenizer.json, tokenizer_config.json, model.safetensors, a chat template.
 *
 * A new folder is filled beside its place and then renamed, so it is there whole or not at all. In a folder that holds
 * this model already only the weights change, by one rename.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Memory3Error } from '../../errors.ts';
import type { ModelConfig } from '../../model/config.ts';
import { expectedTensors } from '../../model/expected-tensors.ts';
import { openTokenizer } from '../../model/open-tokenizer.ts';
import { ropeConfig } from '../../model/rope.ts';
import { type TensorToWrite, writeSafetensors } from '../../model/safetensors-writer.ts';
import type { TokenizerFiles } from './byte-pair-encoding.ts';

export const weightsFile = 'model.safetensors';

/** A model without its weights. */
export interface ModelDescription {
  /** Llama, without RoPE scaling. */
  readonly config: ModelConfig;
  /** As `trainBytePairs` makes it, and as `ModelFile.tokenizerSource` reads it from a folder. */
  readonly tokenizer: TokenizerFiles;
  /** Jinja, written as a file of its own; a template in tokenizer_config.json needs none. */
  readonly chatTemplate?: string | null;
  /** Said in the weights' file, beside its format. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Writes a model, or new weights of the model that the folder holds.
 * @param tensors all tensors of the configuration, by Hugging Face name
 * @throws Memory3Error "usage" if the folder holds something else; "damaged" if a weight is not a finite number;
 *   "unsupported" for a model that config.json could not describe exactly; "disk" if it cannot be written. The folder is as before then.
 * @example
 * saveModel('runs/small-trained', { config, tokenizer }, trained);
 */
export function saveModel(folder: string, model: ModelDescription, tensors: ReadonlyMap<string, TensorToWrite>): void {
  checkWeights(model.config, tensors);
  const files = descriptionFiles(model);
  const metadata = { format: 'pt', ...model.metadata };
  if (holds(folder, files)) {
    writeSafetensors(join(folder, weightsFile), tensors, metadata);
    return;
  }
  refuseOther(folder);
  const place = resolve(folder);
  const unfinished = `${place}.${process.pid}.unfinished`;
  try {
    mkdirSync(dirname(place), { recursive: true });
    mkdirSync(unfinished);
    for (const [name, text] of files) writeFileSync(join(unfinished, name), text, { flush: true });
    writeSafetensors(join(unfinished, weightsFile), tensors, metadata);
    renameSync(unfinished, place);
  } catch (cause) {
    rmSync(unfinished, { recursive: true, force: true });
    if (cause instanceof Memory3Error) throw cause;
    throw new Memory3Error('disk', `The model folder ${folder} cannot be written.`, {
      remedy: 'Check that the folder above it may be written to and has space left.',
      cause,
    });
  }
}

/**
 * Refuses, before weights are trained for it, a folder in which {@link saveModel} could not write this model.
 * @throws Memory3Error "usage" if the folder holds something else
 */
export function checkModelFolder(folder: string, model: ModelDescription): void {
  if (!holds(folder, descriptionFiles(model))) refuseOther(folder);
}

function refuseOther(folder: string): void {
  refuseFolder(folder, `Move ${folder} away; the same command writes it again.`);
}

/** @throws Memory3Error "usage" if there is something at `folder`, unless it is an empty folder. */
export function refuseFolder(folder: string, remedy = 'Name a folder that does not exist yet.'): void {
  if (!existsSync(folder) || (statSync(folder).isDirectory() && readdirSync(folder).length === 0)) return;
  throw new Memory3Error('usage', `There is something at ${folder} that is not this model.`, { remedy });
}

function holds(folder: string, files: ReadonlyMap<string, string>): boolean {
  const isSame = ([name, text]: [string, string]): boolean => {
    const path = join(folder, name);
    return existsSync(path) && readFileSync(path, 'utf8') === text;
  };
  return [...files].every(isSame);
}

/** The folder's text files by name. */
function descriptionFiles({ config, tokenizer, chatTemplate = null }: ModelDescription): Map<string, string> {
  const { bosTokenId, endTokenIds } = openTokenizer(tokenizer);
  const configJson = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: config.hiddenSize,
    intermediate_size: config.mlpSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    head_dim: config.headDim,
    vocab_size: config.vocabularySize,
    max_position_embeddings: config.contextLength,
    rms_norm_eps: config.normEpsilon,
    hidden_act: 'silu',
    tie_word_embeddings: config.tiedHead,
    attention_bias: false,
    mlp_bias: false,
    rope_theta: ropeBase(config),
    bos_token_id: bosTokenId,
    eos_token_id: endTokenIds[0],
    initializer_range: 0.02,
    torch_dtype: 'float32',
  };
  const text = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  return new Map([
    ['config.json', text(configJson)],
    ['tokenizer.json', text(tokenizer.tokenizer)],
    ['tokenizer_config.json', text(tokenizer.config)],
    ...(chatTemplate === null ? [] : [['chat_template.jinja', chatTemplate] as const]),
  ]);
}

/** Whether a folder can describe a model exactly, so that {@link saveModel} takes it. */
export function canSaveModel(config: ModelConfig): boolean {
  return plainRopeBase(config) !== null;
}

function ropeBase(config: ModelConfig): number {
  const base = plainRopeBase(config);
  if (base !== null) return base;
  throw new Memory3Error(
    'unsupported',
    `A ${config.architecture} model with its attention or RoPE scaling cannot be written as a folder.`,
    { remedy: 'Keep what was trained as an adapter of the model that it was trained from.' },
  );
}

/** The base that gives the frequencies of a Llama without RoPE scaling; null for any other model. */
function plainRopeBase({ architecture, headDim, rope, attentionBias, queryKeyNorm, slidingWindow }: ModelConfig) {
  // Frequencies fall from 1 in equal steps, so the last of them gives the base with the least rounding error.
  const last = rope.inverseFrequencies.at(-1) as number;
  const computed = headDim === 2 ? 10_000 : last ** (headDim / (2 - headDim));
  const base = Number(computed.toPrecision(12));
  const same = ropeConfig(headDim, base, { type: 'none' }).inverseFrequencies;
  const isPlain = rope.attentionScale === 1 && rope.inverseFrequencies.every((frequency, i) => frequency === same[i]);
  const isLlama = architecture === 'llama' && !attentionBias && !queryKeyNorm && slidingWindow === null;
  return isPlain && isLlama ? base : null;
}

/** Every tensor of the configuration in its shape and nothing else, all of finite numbers. */
function checkWeights(config: ModelConfig, tensors: ReadonlyMap<string, TensorToWrite>): void {
  const expected = expectedTensors(config);
  const names = new Set([...expected.keys(), ...tensors.keys()]);
  for (const name of names) {
    const shape = expected.get(name);
    const tensor = tensors.get(name);
    if (shape === undefined || `${tensor?.shape}` !== `${shape}`) {
      throw new Error(`${name}: the configuration says [${shape}], the tensor is [${tensor?.shape}]`);
    }
    if (!tensor?.data.every(Number.isFinite)) {
      throw new Memory3Error('damaged', `The weights ${name} are not all finite numbers; they were not written.`, {
        remedy: 'The training has diverged: go back to the last good checkpoint with a smaller learning rate.',
      });
    }
  }
}
