/**
 * What a survey of heads shows: which carry the rise of the loss, and which range of layers holds them.
 *
 * A head carries its rise if that is more than two standard errors above 0, else nothing: the noise of hundreds of heads
 * that do not matter would add up to more than the few that do.
 */
import { Memory3Error } from '../errors.ts';
import type { ModelConfig } from '../model/config.ts';
import type { SurveyBaseline, SurveyMeasurement } from './head-survey.ts';

export interface SurveyReport extends SurveyBaseline {
  /** Single heads, those whose restriction costs most first. */
  readonly heads: readonly (SurveyMeasurement & { readonly head: number })[];
  readonly layers: readonly SurveyedLayer[];
  /** What all heads carry together, nats. */
  readonly carried: number;
  /** The fewest heads that carry so much of it. */
  readonly concentration: readonly HeadsCarrying[];
}

export interface SurveyedLayer {
  readonly layer: number;
  /** What its heads carry together, nats. */
  readonly carried: number;
  /** Rise with all of its heads restricted at once; null if that was not measured. */
  readonly whole: number | null;
}

export interface HeadsCarrying {
  readonly share: number;
  readonly heads: number;
  /** Of the heads that were measured, 0..1. */
  readonly part: number;
}

/** A contiguous range of layers. */
export interface LayerRange {
  readonly layers: readonly number[];
  /** Of what all heads carry, 0..1. */
  readonly share: number;
}

const shares = [0.5, 0.8, 0.9] as const;

export function reportSurvey(baseline: SurveyBaseline, measurements: readonly SurveyMeasurement[]): SurveyReport {
  const heads = measurements
    .flatMap((one) => (one.head === null ? [] : [{ ...one, head: one.head }]))
    .sort((a, b) => b.rise - a.rise);
  const numbers = [...new Set(measurements.map(({ layer }) => layer))].sort((a, b) => a - b);
  const layers = numbers.map((layer) => ({
    layer,
    carried: carriedBy(heads.filter((one) => one.layer === layer)),
    whole: measurements.find((one) => one.layer === layer && one.head === null)?.rise ?? null,
  }));
  const total = carriedBy(heads);
  return {
    ...baseline,
    heads,
    layers,
    carried: total,
    concentration: shares.map((share) => {
      const count = fewest(heads, share * total);
      return { share, heads: count, part: heads.length === 0 ? 0 : count / heads.length };
    }),
  };
}

/**
 * The smallest contiguous range of layers whose heads carry so much of the rise; of equally small ones the one that carries
 * most.
 * @param config of the model, all of whose heads must have been surveyed
 * @throws Memory3Error "usage" if some were not, or if no head carries anything.
 */
export function carryingRange(
  { heads: surveyedHeads, layers: surveyed, carried: total }: SurveyReport,
  { layers, heads }: Pick<ModelConfig, 'layers' | 'heads'>,
  share = 0.9,
): LayerRange {
  if (surveyedHeads.length !== layers * heads) {
    const found = `${surveyedHeads.length} of the model's ${layers * heads} heads`;
    throw new Memory3Error('usage', `The survey has ${found}.`, { remedy: 'Survey every head of every layer.' });
  }
  if (total === 0) {
    throw new Memory3Error('usage', 'No head carries anything beyond noise: the survey says nothing about layers.', {
      remedy: 'Survey on more and longer texts.',
    });
  }
  for (let size = 1; ; size++) {
    const ranges = Array.from({ length: layers - size + 1 }, (_, first) => {
      const range = surveyed.slice(first, first + size);
      return { layers: range.map(({ layer }) => layer), share: sum(range.map((one) => one.carried)) / total };
    });
    const best = ranges.reduce((most, range) => (range.share > most.share ? range : most));
    // The whole model always carries everything, whatever rounding makes of it.
    if (best.share >= share || size === layers) return best;
  }
}

function carriedBy(measurements: readonly SurveyMeasurement[]): number {
  return sum(measurements.map(carried));
}

function carried({ rise, error }: SurveyMeasurement): number {
  return rise > 2 * error ? rise : 0;
}

function fewest(heads: readonly SurveyMeasurement[], wanted: number): number {
  const mostFirst = heads.map(carried).sort((a, b) => b - a);
  let count = 0;
  for (let reached = 0; reached < wanted && count < heads.length; count++) reached += mostFirst[count] ?? 0;
  return count;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
