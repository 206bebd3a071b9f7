/**
 * What training adds to a model: low-rank companions of its matrices (LoRA, arXiv 2106.09685) and embeddings of summary
 * tokens. At first the companions change nothing (B is zero, A random), and the summary tokens are those of
 * tokens of the model drawn at random.
 */
import type { LoraShape } from '../graph/parameters.ts';
import { loraNames } from '../graph/parameters.ts';
import { trainerNames } from '../graph/trainer-inputs.ts';
import type { ModelConfig } from '../model/config.ts';
import type { StateArray } from '../runtime/device.ts';

export interface LoraOptions {
  readonly rank: number;
  /** Factor on B A. */
  readonly scale: number;
  /** Projections that get a companion: "q_proj", "down_proj", ...; default all seven of every layer. */
  readonly projections?: readonly string[];
}

const everyProjection = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];

/** Which matrices get companions. @param shapes of the model's weights */
export function loraShape(shapes: ReadonlyMap<string, readonly number[]>, options: LoraOptions): LoraShape {
  const { rank, scale, projections = everyProjection } = options;
  const chosen = [...shapes.keys()].filter((name) =>
    projections.some((projection) => name.endsWith(`.${projection}.weight`)),
  );
  return { rank, scale, matrices: new Set(chosen) };
}

/** A uniform in ±1 / sqrt(columns), B zero. */
export function newCompanions(
  shapes: ReadonlyMap<string, readonly number[]>,
  { rank, matrices }: LoraShape,
  random: () => number,
): Required<StateArray>[] {
  return [...matrices].flatMap((matrix) => {
    const [rows, columns] = shapes.get(matrix) as [number, number];
    const { a, b } = loraNames(matrix);
    const bound = 1 / Math.sqrt(columns);
    const data = Float32Array.from({ length: rank * columns }, () => (2 * random() - 1) * bound);
    return [
      { name: a, shape: [rank, columns], data },
      { name: b, shape: [rows, rank], data: new Float32Array(rows * rank) },
    ];
  });
}

/** Embeddings of `count` summary tokens, `[count, hiddenSize]`; no array for none. */
export function newSummaryTokens(
  weights: readonly Required<StateArray>[],
  { hiddenSize, vocabularySize }: ModelConfig,
  count: number,
  random: () => number,
): Required<StateArray>[] {
  if (count === 0) return [];
  const embedding = weights.find(({ name }) => name === 'model.embed_tokens.weight') as Required<StateArray>;
  const data = new Float32Array(count * hiddenSize);
  for (let token = 0; token < count; token++) {
    const row = Math.floor(random() * vocabularySize) * hiddenSize;
    data.set(embedding.data.subarray(row, row + hiddenSize), token * hiddenSize);
  }
  return [{ name: trainerNames.summary, shape: [count, hiddenSize], data }];
}
