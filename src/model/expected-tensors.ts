/** What a file must hold for its configuration: sane numbers, and every tensor in its shape. */
import { Memory3Error } from '../errors.ts';
import { quoted } from './binary-file.ts';
import type { ModelConfig, RopeConfig } from './config.ts';
import { supportedTensorTypes } from './quantised.ts';
import type { StoredTensor } from './stored-tensor.ts';

/** Largest believable values; what a file says beyond them is damage, and would cost memory before it is noticed. */
const largest = {
  layers: 1024,
  hiddenSize: 1 << 17,
  heads: 4096,
  kvHeads: 4096,
  headDim: 1024,
  mlpSize: 1 << 20,
  vocabularySize: 1 << 22,
  contextLength: 1 << 28,
} as const;

/**
 * @param where names the file and the place, for errors
 * @throws Memory3Error "damaged" for a configuration that no model has
 */
export function checkConfig(config: Omit<ModelConfig, 'rope'>, where: string): void {
  for (const [key, limit] of Object.entries(largest)) {
    const value = config[key as keyof typeof largest];
    if (!(Number.isInteger(value) && value >= 1 && value <= limit)) {
      throw new Memory3Error('damaged', `${where}: ${key} is ${value}; 1 to ${limit} are possible.`);
    }
  }
  const { heads, kvHeads, headDim, normEpsilon, slidingWindow } = config;
  if (heads % kvHeads !== 0) {
    throw new Memory3Error('damaged', `${where}: ${heads} query heads cannot share ${kvHeads} key-value heads evenly.`);
  }
  if (headDim % 2 !== 0) throw new Memory3Error('damaged', `${where}: the head dimension ${headDim} is odd.`);
  if (!(normEpsilon > 0 && normEpsilon < 1)) {
    throw new Memory3Error('damaged', `${where}: the norm's epsilon is ${normEpsilon}.`);
  }
  if (slidingWindow !== null && !(Number.isInteger(slidingWindow) && slidingWindow > 0)) {
    throw new Memory3Error('damaged', `${where}: the sliding window is ${slidingWindow}.`);
  }
}

/**
 * A RoPE whose angles are numbers: those of a malformed scaling (a stretch of 1e-320, an original context of -1) are not.
 * @throws Memory3Error "damaged"
 */
export function checkedRope(rope: RopeConfig, where: string): RopeConfig {
  const wrong = [...rope.inverseFrequencies, rope.attentionScale].find((number) => !Number.isFinite(number));
  if (wrong === undefined) return rope;
  throw new Memory3Error('damaged', `${where}: what it says about RoPE makes a frequency or scale of ${wrong}.`);
}

/** Shapes of all tensors that the model is computed from, by Hugging Face name. */
export function expectedTensors(config: Omit<ModelConfig, 'rope'>): Map<string, readonly number[]> {
  const { hiddenSize, mlpSize, vocabularySize, headDim } = config;
  const queries = config.heads * headDim;
  const keys = config.kvHeads * headDim;
  const shapes = new Map<string, readonly number[]>([['model.embed_tokens.weight', [vocabularySize, hiddenSize]]]);
  for (let layer = 0; layer < config.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    shapes.set(`${prefix}.input_layernorm.weight`, [hiddenSize]);
    shapes.set(`${prefix}.self_attn.q_proj.weight`, [queries, hiddenSize]);
    shapes.set(`${prefix}.self_attn.k_proj.weight`, [keys, hiddenSize]);
    shapes.set(`${prefix}.self_attn.v_proj.weight`, [keys, hiddenSize]);
    if (config.attentionBias) {
      shapes.set(`${prefix}.self_attn.q_proj.bias`, [queries]);
      shapes.set(`${prefix}.self_attn.k_proj.bias`, [keys]);
      shapes.set(`${prefix}.self_attn.v_proj.bias`, [keys]);
    }
    if (config.queryKeyNorm) {
      shapes.set(`${prefix}.self_attn.q_norm.weight`, [headDim]);
      shapes.set(`${prefix}.self_attn.k_norm.weight`, [headDim]);
    }
    shapes.set(`${prefix}.self_attn.o_proj.weight`, [hiddenSize, queries]);
    shapes.set(`${prefix}.post_attention_layernorm.weight`, [hiddenSize]);
    shapes.set(`${prefix}.mlp.gate_proj.weight`, [mlpSize, hiddenSize]);
    shapes.set(`${prefix}.mlp.up_proj.weight`, [mlpSize, hiddenSize]);
    shapes.set(`${prefix}.mlp.down_proj.weight`, [hiddenSize, mlpSize]);
  }
  shapes.set('model.norm.weight', [hiddenSize]);
  if (!config.tiedHead) shapes.set('lm_head.weight', [vocabularySize, hiddenSize]);
  return shapes;
}

/**
 * Compares a file's tensors with what its configuration needs.
 *
 * @param stored the file's tensors by their name in the file
 * @param nameInFile from a Hugging Face name
 * @param isIgnored tensors that may be there and change nothing
 * @throws Memory3Error "damaged" for missing tensors and wrong shapes; "unsupported" for a tensor type that is not
 *   decoded, and for tensors beyond those: a model computed without them would be another model
 */
export function checkTensors(
  config: Omit<ModelConfig, 'rope'>,
  stored: ReadonlyMap<string, StoredTensor>,
  path: string,
  nameInFile: (name: string) => string,
  isIgnored: (nameInFile: string) => boolean,
): void {
  const expected = new Map([...expectedTensors(config)].map(([name, shape]) => [nameInFile(name), shape]));
  const missing = [...expected.keys()].filter((name) => !stored.has(name));
  if (missing.length > 0) throw new Memory3Error('damaged', `${path} lacks ${listed('tensor', missing)}.`);
  for (const [name, shape] of expected) {
    const tensor = stored.get(name) as StoredTensor;
    if (`${tensor.shape}` !== `${shape}`) {
      throw new Memory3Error(
        'damaged',
        `${path}: tensor ${quoted(name)} has the shape [${tensor.shape}]; the configuration says [${shape}].`,
      );
    }
    if (!supportedTensorTypes.includes(tensor.type)) {
      throw new Memory3Error(
        'unsupported',
        `${path}: tensor ${quoted(name)} has the type ${tensor.type}; supported are ${supportedTensorTypes.join(', ')}.`,
        { remedy: 'Take another quantisation of the same model, Q4_K_M for example.' },
      );
    }
  }
  const others = [...stored.keys()].filter((name) => !expected.has(name) && !isIgnored(name));
  if (others.length === 0) return;
  throw new Memory3Error(
    'unsupported',
    `${path} holds ${listed('tensor', others)}, which no supported ${config.architecture} model has: it is a variant that cannot be computed exactly.`,
  );
}

function listed(noun: string, names: readonly string[]): string {
  const shown = names.slice(0, 5).map(quoted);
  const more = names.length > 5 ? ` and ${names.length - 5} more` : '';
  return `${noun}${names.length === 1 ? '' : 's'} ${shown.join(', ')}${more}`;
}
