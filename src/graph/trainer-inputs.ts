/** What a training graph (`trainer.ts`) takes and gives, by name, and how its references become memories. */
import type { GraphScoring } from './writer.ts';

/** Names of a training graph's inputs and outputs; masks for scores are named as in `writer.ts`. */
export const trainerNames = {
  /** `[B * L]` int64 */
  tokens: 'tokens',
  /** `[B, L]` int64 */
  positions: 'position_ids',
  /** `[positions, headDim / 2]`, in which positions are row numbers. */
  cos: 'rotary_cos',
  sin: 'rotary_sin',
  /** `[B, 1, L, slots]`, slots in the order that the layer sees. */
  bias: (kind: 'memory' | 'plain') => `bias_${kind}`,
  /** Tokens whose logits count, numbered through the batch, `[n]` int64. */
  rows: 'rows',
  /** `[R * Lr]`, `[R, Lr]`, `[R, 1, Lr, Lr]` */
  referenceTokens: 'reference_tokens',
  referencePositions: 'reference_position_ids',
  referenceBias: 'bias',
  /** Row numbers of references, `[B * n, M]` int64. */
  recalled: 'recalled',
  /** How many tokens are kept, `[1]` int64. */
  keptCount: 'kept_count',
  /** Positions of the kept tokens in the reference, `[layers, R, kvHeads, k]` int64. */
  kept: 'kept',
  /** Embeddings of the summary tokens, `[k, hiddenSize]`. */
  summary: 'summary_tokens',
  /** For each of the R * Lr tokens its row in [ reference_tokens | summary tokens ], int64. */
  summaryLayout: 'summary_layout',
  gradient: (name: string) => `gradient:${name}`,
} as const;

/** Scores that a training graph computes itself; tokens chosen otherwise are an input. */
const trainedScorings = ['received', 'value-norm', 'received-unnormalised'] as const satisfies GraphScoring[];
export type TrainedScoring = (typeof trainedScorings)[number];

export function isTrainedScoring(scoring: string): scoring is TrainedScoring {
  return trainedScorings.includes(scoring as TrainedScoring);
}

/** How references become memories in a training graph. */
export interface TrainedReferences {
  /** Memory layers, ascending. */
  readonly layers: readonly number[];
  /** Tokens of the header. */
  readonly header: number;
  /** Scores by which tokens are kept; null where the kept tokens are an input. */
  readonly scoring: TrainedScoring | null;
  /** Summary tokens that are appended to each reference; 0 for none. */
  readonly summaryTokens: number;
  /** Tokens of a chunk with memories of its own; null where a sequence is one chunk. */
  readonly chunkTokens: number | null;
}
