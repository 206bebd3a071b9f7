/**
 * Which memory layers a model needs most, and how many of them are best for memories of a given size.
 *
 * A memory's size is in proportion to layers times kept tokens, so whoever keeps few tokens in many layers could as well keep
 * more in fewer. Layers do not read alike: each is left out in turn, and what that costs in likelihood says how much it is needed
 * (in nats per answer token, paired over the questions). Then the n most needed layers, for several n, each keep as many
 * tokens as the size allows:
 *
 *   tokens(n) = floor(layers * tokens / n)
 *
 * While each is left out, four times the tokens are kept: about as many as fewer layers will have. Costs do not add up (one
 * layer may stand in for another), so what n layers come to is measured and not summed.
 */
import { Memory3Error } from '../errors.ts';
import { seededRandom } from '../generate/sampling.ts';
import type { LanguageModel } from '../memory/model.ts';
import { longestBody } from '../memory/profile.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import {
  type ComparedLayers,
  measureQuality,
  type QualityOptions,
  type QualityRow,
  type QualitySet,
  type ScoredRow,
} from './quality.ts';
import { type Interval, meanDifference } from './share.ts';

export interface NeededLayer {
  readonly layer: number;
  /** What leaving it out costs, nats per answer token. */
  readonly cost: Interval;
}

export interface SizedLayers {
  readonly layers: readonly number[];
  /** Tokens kept in each. */
  readonly kept: number;
  /** Mean over questions, nats per answer token. */
  readonly nll: number;
  /** How much more than that of all layers, which keep the fewest tokens. */
  readonly behind: Interval;
  readonly row: QualityRow;
}

export interface FewerLayersReport {
  /** Tokens that were kept while each layer was left out. */
  readonly kept: number;
  /** The most needed first. */
  readonly needed: readonly NeededLayer[];
  /** All layers first, then ever fewer. */
  readonly sizes: readonly SizedLayers[];
  /** The likeliest of `sizes`. */
  readonly best: SizedLayers;
}

export interface FewerLayersOptions extends Omit<QualityOptions, 'compared' | 'references' | 'onScores' | 'baselines'> {
  /** Memory layers, ascending. */
  readonly layers: readonly number[];
  /** Tokens of each layer that make the size. */
  readonly tokens: number;
  readonly onRow?: (row: QualityRow) => void;
}

/**
 * Measures both. Each question has its own reference alone.
 * @throws Memory3Error "usage" for a single layer or no questions; the signal's reason.
 */
export async function fewerLayers(
  model: LanguageModel,
  tokenizer: Tokenizer,
  sets: readonly QualitySet[],
  { layers, tokens, onRow, ...options }: FewerLayersOptions,
): Promise<FewerLayersReport> {
  if (layers.length < 2) throw new Memory3Error('usage', 'Of a single memory layer there are no fewer to choose.');
  const random = seededRandom(options.seed);
  const models = { none: model, rag: model, memory: model };
  const measure = async (compared: readonly ComparedLayers[], baselines?: readonly ScoredRow[]) => {
    const scored: ScoredRow[] = [];
    for await (const row of measureQuality(models, tokenizer, sets, {
      ...options,
      compared,
      references: [1],
      onScores: (row, scores) => scored.push({ row, scores }),
      ...(baselines && { baselines }),
    })) {
      onRow?.(row);
    }
    return scored;
  };
  // Rows of single sets come before the one of all of them.
  const isOfAll = ({ row }: ScoredRow) => row.mode === 'memory' && (sets.length === 1 || row.set === 'all');
  const most = longestBody(options);
  const kept = Math.min(4 * tokens, most);
  const withoutEach = layers.map((layer) => layers.filter((other) => other !== layer));
  const first = await measure([layers, ...withoutEach].map((some) => ({ layers: `${some}`, kept: [kept] })));
  const [whole, ...without] = first.filter(isOfAll);
  const needed = layers
    .map((layer, i): NeededLayer => ({ layer, cost: meanDifference(nllOf(without[i]), nllOf(whole), random) }))
    .sort((a, b) => b.cost.value - a.cost.value || a.layer - b.layer);
  const choices = sizesOf(layers.length, tokens, most).map((size) => ({
    layers: needed
      .slice(0, size.layers)
      .map(({ layer }) => layer)
      .sort((a, b) => a - b),
    kept: size.kept,
  }));
  const second = await measure(
    choices.map((choice) => ({ layers: `${choice.layers}`, kept: [choice.kept] })),
    first.filter(({ row }) => row.mode !== 'memory'),
  );
  const measured = second.filter(isOfAll);
  const sizes = choices.map((choice, i): SizedLayers => {
    const { row } = measured[i] as ScoredRow;
    return { ...choice, nll: row.nll, behind: meanDifference(nllOf(measured[i]), nllOf(measured[0]), random), row };
  });
  const best = sizes.reduce((likeliest, one) => (one.nll < likeliest.nll ? one : likeliest));
  return { kept, needed, sizes, best };
}

/**
 * All layers, then half of them and fewer, as long as none would keep more tokens than a reference has.
 * @param tokens of each of all layers
 * @param most tokens of the longest body
 */
export function sizesOf(layers: number, tokens: number, most: number): { layers: number; kept: number }[] {
  const keptBy = (count: number) => Math.floor((layers * tokens) / count);
  const half = Math.floor(layers / 2);
  const fewer = Array.from({ length: half }, (_, i) => half - i).filter((count) => keptBy(count) <= most);
  return [layers, ...fewer].map((count) => ({ layers: count, kept: keptBy(count) }));
}

function nllOf(scored: ScoredRow | undefined): readonly number[] {
  return scored?.scores.map(({ nll }) => nll) ?? [];
}
