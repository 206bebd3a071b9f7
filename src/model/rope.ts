/**
 * Frequencies of rotary position embedding (RoPE, arXiv 2104.09864) and of the ways that models stretch it to longer
 * contexts. Pair i of a head's d dimensions turns by position * f_i with f_i = base^(-2 i / d), i = 0 .. d/2 - 1.
 *
 *   linear  f_i / factor
 *   llama3  long waves (fewer than lowFrequencyFactor turns in the original context) f_i / factor, short ones (more than
 *           highFrequencyFactor) unchanged, in between a mix that is linear in the number of turns
 *   yarn    (arXiv 2309.00071) the same idea with a ramp over the dimension's index between the pairs that turn betaFast and betaSlow
 *           times; cos and sin are multiplied by 0.1 ln(factor) + 1
 *   divided f_i / divisors_i, as GGUF files of Llama 3 say it
 */
import type { ModelConfig, RopeConfig } from './config.ts';

export type RopeScaling =
  | { readonly type: 'none' }
  | { readonly type: 'linear'; readonly factor: number }
  | {
      readonly type: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalContext: number;
    }
  | {
      readonly type: 'yarn';
      readonly factor: number;
      readonly originalContext: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      /** The ramp begins and ends at whole indices. */
      readonly truncate: boolean;
      readonly attentionScale: number;
    }
  | { readonly type: 'divided'; readonly divisors: Float32Array };

/** Works a model's scaling into its frequencies; `headDim` is even and `base` above 1. */
export function ropeConfig(headDim: number, base: number, scaling: RopeScaling): RopeConfig {
  const plain = Float64Array.from({ length: headDim / 2 }, (_, i) => base ** ((-2 * i) / headDim));
  switch (scaling.type) {
    case 'none':
      return { inverseFrequencies: plain, attentionScale: 1 };
    case 'linear':
      return { inverseFrequencies: plain.map((frequency) => frequency / scaling.factor), attentionScale: 1 };
    case 'divided':
      return {
        inverseFrequencies: plain.map((frequency, i) => frequency / (scaling.divisors[i] as number)),
        attentionScale: 1,
      };
    case 'llama3':
      return { inverseFrequencies: plain.map((frequency) => llama3(frequency, scaling)), attentionScale: 1 };
    case 'yarn':
      return { inverseFrequencies: yarn(plain, headDim, base, scaling), attentionScale: scaling.attentionScale };
  }
}

/** YaRN's factor on cos and sin, where a file does not name another. */
export function yarnAttentionScale(factor: number, weight = 1): number {
  return factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1;
}

function llama3(frequency: number, scaling: RopeScaling & { type: 'llama3' }): number {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContext } = scaling;
  const turns = (originalContext * frequency) / (2 * Math.PI);
  if (turns < low) return frequency / factor;
  if (turns > high) return frequency;
  const unscaled = (turns - low) / (high - low);
  return ((1 - unscaled) * frequency) / factor + unscaled * frequency;
}

function yarn(
  plain: Float64Array,
  headDim: number,
  base: number,
  scaling: RopeScaling & { type: 'yarn' },
): Float64Array {
  /** Index of the pair that turns so often in the original context. */
  const pairWithTurns = (turns: number) =>
    (headDim * Math.log(scaling.originalContext / (turns * 2 * Math.PI))) / (2 * Math.log(base));
  const first = pairWithTurns(scaling.betaFast);
  const last = pairWithTurns(scaling.betaSlow);
  const from = Math.max(scaling.truncate ? Math.floor(first) : first, 0);
  const to = Math.min(scaling.truncate ? Math.ceil(last) : last, headDim - 1);
  const width = from === to ? 0.001 : to - from;
  return plain.map((frequency, i) => {
    const stretched = Math.min(Math.max((i - from) / width, 0), 1);
    return (frequency / scaling.factor) * stretched + frequency * (1 - stretched);
  });
}

/** Cosines and sines of the angles at some positions, each `[positions, headDim / 2]`. */
export function rotaryTables(
  { headDim, rope }: Pick<ModelConfig, 'headDim' | 'rope'>,
  positions: ArrayLike<number>,
): { readonly cos: Float32Array; readonly sin: Float32Array } {
  const half = headDim / 2;
  const cos = new Float32Array(positions.length * half);
  const sin = new Float32Array(positions.length * half);
  for (let row = 0; row < positions.length; row++) {
    for (let pair = 0; pair < half; pair++) {
      const angle = (positions[row] as number) * (rope.inverseFrequencies[pair] as number);
      cos[row * half + pair] = Math.cos(angle) * rope.attentionScale;
      sin[row * half + pair] = Math.sin(angle) * rope.attentionScale;
    }
  }
  return { cos, sin };
}
