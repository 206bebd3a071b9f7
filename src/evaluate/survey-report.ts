/** What a survey of heads shows: which carry the rise of the loss, and which range of layers holds them. */
import { Memory3Error } from '../errors.ts';
import type { SurveyBaseline, SurveyMeasurement } from './head-survey.ts';

export interface SurveyReport extends SurveyBaseline {
  /** Single heads, those whose restriction costs most first. */
  readonly heads: readonly (SurveyMeasurement & { readonly head: number })[];
  readonly layers: readonly SurveyedLayer[];
  /** Sum of the heads' rises above 0: what all heads carry. */
  readonly carried: number;
  /** The fewest heads that carry so much of it. */
  readonly concentration: readonly HeadsCarrying[];
}

export interface SurveyedLayer {
  readonly layer: number;
  /** Sum of its heads' rises above 0: a head that the model is better off without carries nothing. */
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
  const carried = carriedBy(heads);
  return {
    ...baseline,
    heads,
    layers,
    carried,
    concentration: shares.map((share) => {
      const count = fewest(heads, share * carried);
      return { share, heads: count, part: heads.length === 0 ? 0 : count / heads.length };
    }),
  };
}

/**
 * The smallest contiguous range of layers whose heads carry so much of the rise; of equally small ones the one that carries
 * most.
 * @param layers of the model, all of which must have been surveyed
 * @throws Memory3Error "usage" if some were not, or if restricting heads costs nothing.
 */
export function carryingRange({ layers: surveyed, carried }: SurveyReport, layers: number, share = 0.9): LayerRange {
  if (surveyed.length !== layers) {
    throw new Memory3Error('usage', `The survey has ${surveyed.length} of the model's ${layers} layers.`, {
      remedy: 'Survey every head of every layer.',
    });
  }
  if (carried === 0) {
    throw new Memory3Error('usage', 'No head of this model looks far back: restricting any of them costs nothing.', {
      remedy: 'Survey on longer texts.',
    });
  }
  for (let size = 1; ; size++) {
    const ranges = Array.from({ length: layers - size + 1 }, (_, first) => {
      const range = surveyed.slice(first, first + size);
      return { layers: range.map(({ layer }) => layer), share: sum(range.map((one) => one.carried)) / carried };
    });
    const best = ranges.reduce((most, range) => (range.share > most.share ? range : most));
    // The whole model always carries everything, whatever rounding makes of it.
    if (best.share >= share || size === layers) return best;
  }
}

function carriedBy(measurements: readonly SurveyMeasurement[]): number {
  return sum(measurements.map(({ rise }) => Math.max(0, rise)));
}

/** @param heads those that carry most first */
function fewest(heads: readonly SurveyMeasurement[], wanted: number): number {
  let count = 0;
  for (let carried = 0; carried < wanted && count < heads.length; count++) {
    carried += Math.max(0, heads[count]?.rise ?? 0);
  }
  return count;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
