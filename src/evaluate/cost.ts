/**
 * What it costs to keep a piece of knowledge, in each of the three formats (paper, Eq. 1, Appendix A, Fig. 4).
 *
 * The knowledge is one reference of l_r = 128 tokens; using it is one chunk of l_c = 64 tokens that reads it. A format has
 * a write cost, paid once, and a read cost, paid at each of n uses; Eq. 1 chooses for each piece the format with the least
 * write + n * read. Counted are floating-point operations, two for each multiplication with its addition.
 *
 *   implicit   written by a step of training on the reference (forward and backward, three times a forward pass), as part of
 *              a sequence of l_t = 2048 tokens; reading it costs nothing more than running the model
 *   explicit   written by one forward pass over the reference up to the last memory layer, and the choice of tokens; read
 *              by attention to the l_m kept ones in the memory layers
 *   external   not written; read by a forward pass over the text, to which the chunk then attends
 *
 * The paper's models have heads * headDim = hiddenSize and the first layers as memory layers. Others do not, so with
 * A = heads * headDim the width of attention, E the layers that run while writing (the last memory layer is the last of
 * them) and L_m the number of memory layers, each formula below stands beside the paper's, which it equals for such a model:
 *
 *   here                                              Appendix A
 *   projections  P = d (2 A + 2 d_h H_kv)             2 d² + 2 d d_h H_kv
 *   MLP          M = 3 d W                            3 d W
 *   attention of q tokens to k each: 2 q k A          2 q k d
 *   the choice of tokens: L_m l_r² A                  L_m l_r² d
 *
 * Two profiles have no counterpart in the paper. Where no scores are computed (every token kept, random ones, summary
 * tokens) the choice costs nothing; reconstruction scores read the reference twice, and come out of that pass. Not counted,
 * as in the paper: norms, softmax, embedding the query, the search, and what a window shorter than l_t saves in training.
 */

import { chunkTokens, longestBody, type MemoryProfile, referenceTokens } from '../memory/profile.ts';
import type { ModelConfig } from '../model/config.ts';

/** What of a model decides its cost. */
export type CostShape = Pick<
  ModelConfig,
  'layers' | 'hiddenSize' | 'heads' | 'kvHeads' | 'headDim' | 'mlpSize' | 'vocabularySize'
>;

/** What of a memory profile decides its cost. */
export interface MemoryShape {
  /** Memory layers, ascending. */
  readonly layers: readonly number[];
  /** l_m, for each memory layer and kv head. */
  readonly keptTokens: number;
  /** Tokens that are read to write one memory. */
  readonly encodedTokens: number;
  /** Scores are computed beside the forward pass. */
  readonly scored: boolean;
}

export const knowledgeFormats = ['implicit', 'explicit', 'external'] as const;
export type KnowledgeFormat = (typeof knowledgeFormats)[number];

/** Once, and at each use; FLOPs or seconds. */
export interface WriteAndRead {
  readonly write: number;
  readonly read: number;
}
export type KnowledgeCosts = Readonly<Record<KnowledgeFormat, WriteAndRead>>;

/** A format is the cheapest for every number of uses between the two; null: without end. */
export interface CheapestRange {
  readonly format: KnowledgeFormat;
  readonly from: number;
  readonly to: number | null;
}

/** l_t of the paper's models. */
export const paperTrainingTokens = 2048;

/** The paper's 2.4B model (3.4), whose costs it prints. */
export const paperModel: { readonly shape: CostShape; readonly memory: MemoryShape } = {
  shape: {
    layers: 44,
    hiddenSize: 3200,
    heads: 40,
    kvHeads: 8,
    headDim: 80,
    mlpSize: 3200,
    vocabularySize: 60_416,
  },
  memory: {
    layers: Array.from({ length: 22 }, (_, layer) => layer),
    keptTokens: 8,
    encodedTokens: referenceTokens,
    scored: true,
  },
};

/** The memories that a profile writes of references of full length. */
export function memoryShape(profile: Pick<MemoryProfile, 'layers' | 'keptTokens' | 'scoring' | 'header'>): MemoryShape {
  const { layers, keptTokens, scoring } = profile;
  const all = keptTokens === 'all';
  const reconstruction = !all && scoring === 'reconstruction';
  return {
    layers,
    keptTokens: all ? longestBody(profile) : keptTokens,
    encodedTokens: reconstruction ? 2 * referenceTokens : referenceTokens,
    scored: !all && ['received', 'answer-weighted', 'received-unnormalised', 'value-norm'].includes(scoring),
  };
}

/**
 * FLOPs of writing and of reading one reference in each format.
 * @param trainingTokens l_t, length of a training sequence
 */
export function knowledgeCosts(
  shape: CostShape,
  memory: MemoryShape,
  trainingTokens: number = paperTrainingTokens,
): KnowledgeCosts {
  const { layers, hiddenSize, vocabularySize } = shape;
  const { projections, mlp, width } = layerProducts(shape);
  const reference = referenceTokens;
  const encoded = memory.encodedTokens;
  const encodingLayers = Math.max(...memory.layers) + 1;
  const attention = (queries: number, keys: number) => 2 * queries * keys * width;

  const trained =
    layers * (reference * (projections + mlp) + attention(reference, trainingTokens / 2)) +
    reference * vocabularySize * hiddenSize;
  const written =
    encodingLayers * (encoded * projections + attention(encoded, encoded / 2)) +
    (encodingLayers - 1) * encoded * mlp +
    (memory.scored ? memory.layers.length * encoded ** 2 * width : 0);
  const recalled = memory.layers.length * attention(chunkTokens, memory.keptTokens);
  const readAgain =
    layers * (reference * projections + attention(reference, reference / 2 + chunkTokens)) +
    (layers - 1) * reference * mlp;
  return {
    implicit: { write: 3 * 2 * trained, read: 0 },
    explicit: { write: 2 * written, read: 2 * recalled },
    external: { write: 0, read: 2 * readAgain },
  };
}

/**
 * Which format is the cheapest for how many uses (Eq. 1), ascending: the lower envelope of the lines write + n * read.
 * @param costs of some formats or all; of two that are equal the one that is read for less counts
 * @example cheapestFormats(knowledgeCosts(paperModel.shape, paperModel.memory))[1] // explicit, from 0.494 to 13 400
 */
export function cheapestFormats(costs: Partial<KnowledgeCosts>): CheapestRange[] {
  const lines = Object.entries(costs) as [KnowledgeFormat, WriteAndRead][];
  const cheaper = (a: WriteAndRead, b: WriteAndRead) => a.write - b.write || a.read - b.read;
  const ranges: CheapestRange[] = [];
  let [current] = lines.toSorted(([, a], [, b]) => cheaper(a, b));
  for (let from = 0; current !== undefined; ) {
    const [format, line] = current;
    const [next] = lines
      .filter(([, other]) => other.read < line.read)
      .map((other) => ({ other, at: (other[1].write - line.write) / (line.read - other[1].read) }))
      .sort((a, b) => a.at - b.at || a.other[1].read - b.other[1].read);
    if (next === undefined || next.at > from) ranges.push({ format, from, to: next?.at ?? null });
    from = next?.at ?? from;
    current = next?.other;
  }
  return ranges;
}

export interface ReadingTokens {
  /** Tokens that the model reads, one after another or at once. */
  readonly tokens: number;
  /** Memories that each of them sees; null for none. */
  readonly memory: { readonly shape: MemoryShape; readonly memories: number } | null;
}

/** FLOPs of reading a text of so many tokens, logits left out: what Appendix A counts for a forward pass. */
export function readingFlops(shape: CostShape, { tokens, memory }: ReadingTokens): number {
  const { projections, mlp, width } = layerProducts(shape);
  const context = shape.layers * (tokens * (projections + mlp) + 2 * tokens * (tokens / 2) * width);
  if (memory === null) return 2 * context;
  const { layers, keptTokens } = memory.shape;
  return 2 * (context + layers.length * 2 * tokens * memory.memories * keptTokens * width);
}

/** FLOPs of an answer of `newTokens` to a prompt: everything that is read, and logits for each new token. */
export function answerFlops(
  shape: CostShape,
  { promptTokens, newTokens, memory }: Pick<ReadingTokens, 'memory'> & { promptTokens: number; newTokens: number },
): number {
  // The last new token is not read.
  const read = readingFlops(shape, { tokens: promptTokens + newTokens - 1, memory });
  return read + 2 * newTokens * shape.vocabularySize * shape.hiddenSize;
}

/** Multiplications of one token in one layer, and the width of its attention. */
function layerProducts({ hiddenSize, heads, kvHeads, headDim, mlpSize }: CostShape) {
  const width = heads * headDim;
  return { width, projections: hiddenSize * (2 * width + 2 * kvHeads * headDim), mlp: 3 * hiddenSize * mlpSize };
}
