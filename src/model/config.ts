/**
 * A model's shape as plain data, read from its file and used by everything that describes computation.
 */

export const architectures = ['llama', 'mistral', 'qwen2', 'qwen3'] as const;
export type Architecture = (typeof architectures)[number];

/** The numbers that describe one decoder-only Transformer of the supported families. */
export interface ModelConfig {
  readonly architecture: Architecture;
  readonly layers: number;
  readonly hiddenSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly mlpSize: number;
  readonly vocabularySize: number;
  /** Longest context, in tokens, that the file declares. */
  readonly contextLength: number;
  readonly normEpsilon: number;
  /** Bias on the q, k and v projections (Qwen2). */
  readonly attentionBias: boolean;
  /** RMS normalisation of each head's queries and keys before RoPE (Qwen3). */
  readonly queryKeyNorm: boolean;
  /** The output head is the embedding matrix. */
  readonly tiedHead: boolean;
  /** A query at position i sees keys at positions above i - slidingWindow; null where it sees all up to itself. */
  readonly slidingWindow: number | null;
  readonly rope: RopeConfig;
}

/** Rotary position embedding in "rotate halves" order; scaling is already worked into the frequencies. */
export interface RopeConfig {
  /** Angle per position of each pair of dimensions, `[headDim / 2]`, radians. */
  readonly inverseFrequencies: Float64Array;
  /** Factor on cos and sin (YaRN's attention scaling), 1 where there is none. */
  readonly attentionScale: number;
}
