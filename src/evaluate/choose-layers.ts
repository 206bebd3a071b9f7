/**
 * Which layers of a model are to be memory layers, from measured numbers.
 *
 * Candidates are the halves of the model, its last two thirds, all of it, and the range that carries most of what its
 * long-range heads do (`survey-report.ts`). Each is measured on the same questions (`quality.ts`), with every token kept
 * and with few. The best is the one under which answers are likeliest; but a memory's size is in proportion to its
 * layers, so of those that are not worse than the best beyond noise (`isNoise`, paired bootstrap over questions) the smallest
 * is chosen.
 */
import { Memory3Error } from '../errors.ts';
import { type Random, seededRandom } from '../generate/sampling.ts';
import type { LanguageModel } from '../memory/model.ts';
import { memoryLayers } from '../memory/profile.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import {
  type ComparedLayers,
  measureQuality,
  type QualityOptions,
  type QualityRow,
  type QualitySet,
} from './quality.ts';
import { type Interval, isNoise, meanDifference } from './share.ts';

export interface LayerCandidate {
  /** As `memoryLayers` takes it. */
  readonly choice: string;
  readonly layers: readonly number[];
}

export interface MeasuredCandidate extends LayerCandidate {
  readonly rows: readonly QualityRow[];
  /** Of each question the mean over numbers of kept tokens, nats per answer token. */
  readonly nll: readonly number[];
}

export interface JudgedCandidate extends LayerCandidate {
  readonly rows: readonly QualityRow[];
  /** Mean over questions and numbers of kept tokens. */
  readonly nll: number;
  /** How much more than the best one's, over the same questions. */
  readonly behind: Interval;
  /** Not worse than the best beyond noise. */
  readonly withinNoise: boolean;
}

export interface LayerDecision {
  readonly chosen: LayerCandidate;
  /** The likeliest first. */
  readonly candidates: readonly JudgedCandidate[];
  /** Without references, and with them as text. */
  readonly baselines: readonly QualityRow[];
}

export interface LayerSweepOptions extends Omit<QualityOptions, 'compared' | 'references' | 'onScores' | 'baselines'> {
  /** Default every token, and 32. */
  readonly kept?: ComparedLayers['kept'];
  readonly onRow?: (row: QualityRow) => void;
}

/**
 * The candidates of a model, each once.
 * @param carrying layers that carry most of what long-range heads do (`carryingRange`), if that was surveyed
 */
export function layerCandidates(layers: number, carrying?: readonly number[]): LayerCandidate[] {
  const twoThirds = `last-${Math.round((layers * 2) / 3)}`;
  const choices = ['first-half', 'middle', 'last-half', twoThirds, 'all'];
  if (carrying !== undefined) choices.push(carrying.join(','));
  const candidates = new Map<string, LayerCandidate>();
  for (const choice of choices) {
    const chosen = memoryLayers(choice, layers);
    if (!candidates.has(`${chosen}`)) candidates.set(`${chosen}`, { choice, layers: chosen });
  }
  return [...candidates.values()];
}

/**
 * Measures all candidates and chooses one. Each question has its own reference alone.
 * @throws Memory3Error "usage" if there are no candidates or no questions; the signal's reason.
 */
export async function chooseLayers(
  model: LanguageModel,
  tokenizer: Tokenizer,
  sets: readonly QualitySet[],
  candidates: readonly LayerCandidate[],
  { kept = ['all', 32], onRow, ...options }: LayerSweepOptions,
): Promise<LayerDecision> {
  const scored: { readonly row: QualityRow; readonly nll: readonly number[] }[] = [];
  const models = { none: model, rag: model, memory: model };
  const measuring = measureQuality(models, tokenizer, sets, {
    ...options,
    compared: candidates.map(({ choice }) => ({ layers: choice, kept })),
    references: [1],
    onScores: (row, scores) => scored.push({ row, nll: scores.map(({ nll }) => nll) }),
  });
  for await (const row of measuring) onRow?.(row);
  // Rows of single sets come before the one of all of them.
  const ofAll = (row: QualityRow) => sets.length === 1 || row.set === 'all';
  const measured = candidates.map((candidate): MeasuredCandidate => {
    const own = scored.filter(({ row }) => row.layers === candidate.choice);
    const perKept = own.filter(({ row }) => ofAll(row)).map(({ nll }) => nll);
    return { ...candidate, rows: own.map(({ row }) => row), nll: meanOfEach(perKept) };
  });
  const baselines = scored.flatMap(({ row }) => (row.mode === 'memory' ? [] : [row]));
  return { ...decide(measured, seededRandom(options.seed)), baselines };
}

/**
 * The smallest of the candidates that are not worse than the best beyond noise; of equally small ones the better.
 * @throws Memory3Error "usage" if there are none.
 */
export function decide(
  measured: readonly MeasuredCandidate[],
  random: Random,
): Pick<LayerDecision, 'chosen' | 'candidates'> {
  const byLikelihood = measured.toSorted((a, b) => mean(a.nll) - mean(b.nll));
  const best = byLikelihood[0];
  if (best === undefined) throw new Memory3Error('usage', 'There are no memory layers to choose from.');
  const candidates = byLikelihood.map(({ nll, ...candidate }): JudgedCandidate => {
    const behind = meanDifference(nll, best.nll, random);
    return { ...candidate, nll: mean(nll), behind, withinNoise: isNoise(behind, [nll.length]) };
  });
  const fit = candidates.filter(({ withinNoise }) => withinNoise);
  const { choice, layers } = fit.reduce((small, one) => (one.layers.length < small.layers.length ? one : small));
  return { chosen: { choice, layers }, candidates };
}

/** Mean of several lists, entry by entry. */
function meanOfEach(lists: readonly (readonly number[])[]): number[] {
  return (lists[0] ?? []).map((_, i) => mean(lists.map((list) => list[i] as number)));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
