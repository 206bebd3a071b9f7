/**
 * What a run's answers and times come to.
 *
 * Qualities are means over questions with 95 % intervals (bootstrap); differences to the model before and to RAG are over the
 * questions that both arms have, drawn again in pairs. A difference that is noise (`isNoise`) is called so.
 */
import { seededRandom } from '../../generate/sampling.ts';
import { median, quantile } from '../../quantile.ts';
import type { Difference as AnyDifference } from '../eval/summary.ts';
import { bootstrap, type Interval, pairedDifference } from '../share.ts';
import { type AnswerRecord, type Arm, arms, type Metric, metrics, type TimeRecord } from './records.ts';
import type { Tuning } from './tune.ts';

/** What every arm is held against. */
export const compared = ['before', 'rag'] as const satisfies readonly Arm[];

export interface Difference extends AnyDifference {
  readonly to: (typeof compared)[number];
}

export interface Quality extends Interval {
  readonly metric: Metric;
  readonly items: number;
  readonly differences: readonly Difference[];
}

export interface ArmSummary {
  readonly arm: Arm;
  readonly qualities: readonly Quality[];
  /** What an arm keeps beside the model. */
  readonly bytes: number;
  /** Mean tokens of a prompt. */
  readonly promptTokens: number;
  /** Questions of which a recalled reference holds a right answer; null where the arm recalls none. */
  readonly held: number | null;
  /** Questions that were too long for the model. */
  readonly tooLong: number;
}

/** Everything but times: the same for two runs of the same. */
export interface DomainSummary {
  readonly domain: string;
  readonly description: string;
  /** Whether the model's adapter was trained on these texts or questions. */
  readonly seenInConversion: boolean;
  readonly documents: number;
  readonly validationDocuments: number;
  readonly references: number;
  /** Of all references. */
  readonly tokens: number;
  readonly questions: number;
  readonly tuning: Omit<Tuning, 'seconds'>;
  readonly arms: readonly ArmSummary[];
}

/** Seconds; null where a process that was killed took the measurement with it. */
export interface ArmTimes {
  readonly arm: Arm;
  /** `index` texts embedded and stored, `write` memories written, `train` steps and validations, `merge` into the model. */
  readonly parts: Readonly<Partial<Record<'index' | 'write' | 'train' | 'merge', number | null>>>;
  /** The sum of the parts. */
  readonly adapt: number | null;
  readonly answer: { readonly median: number; readonly ninetieth: number; readonly items: number } | null;
}

type FillRecord = Extract<TimeRecord, { readonly references: number }>;

/** A domain's arms. @param bytes of what each keeps */
export function summariseArms(
  records: readonly AnswerRecord[],
  bytes: Readonly<Record<Arm, number>>,
  seed: number,
): ArmSummary[] {
  const byArm = Map.groupBy(records, ({ arm }) => arm);
  return arms.map((arm) => {
    const own = byArm.get(arm) ?? [];
    const held = own.flatMap((record) => (record.held === null ? [] : [record.held]));
    return {
      arm,
      qualities: metrics.flatMap((metric) => qualityOf(arm, metric, byArm, seed) ?? []),
      bytes: bytes[arm],
      promptTokens: own.reduce((sum, { promptTokens }) => sum + promptTokens, 0) / own.length,
      held: held.length === 0 ? null : held.filter((one) => one).length,
      tooLong: own.filter(({ tooLong }) => tooLong).length,
    };
  });
}

function qualityOf(
  arm: Arm,
  metric: Metric,
  byArm: ReadonlyMap<Arm, readonly AnswerRecord[]>,
  seed: number,
): Quality | null {
  const scoresOf = (one: Arm) =>
    new Map(
      (byArm.get(one) ?? []).flatMap(({ id, scores }) => {
        const score = scores[metric];
        return score === undefined ? [] : [[id, score] as const];
      }),
    );
  const own = scoresOf(arm);
  if (own.size === 0) return null;
  const values = [...own.values()];
  const mean = (indices: Iterable<number>) => {
    let [sum, count] = [0, 0];
    for (const index of indices) [sum, count] = [sum + (values[index] as number), count + 1];
    return sum / count;
  };
  const differences = compared.flatMap((to): Difference[] => {
    if (to === arm) return [];
    const other = scoresOf(to);
    const difference = pairedDifference(own, other, seededRandom(seed));
    return difference.items === 0 ? [] : [{ to, ...difference }];
  });
  const interval = bootstrap(values.length, mean, seededRandom(seed));
  return { metric, value: mean(values.keys()), ...interval, items: values.length, differences };
}

/** Whether a difference is for the better; null if it is noise. */
export function isBetter(metric: Metric, { value, noise }: Pick<Difference, 'value' | 'noise'>): boolean | null {
  if (noise) return null;
  return metric === 'nats' ? value < 0 : value > 0;
}

/**
 * A domain's times. What a killed process did not report of the bank's filling is taken to have gone like the rest.
 * @param references of the domain
 * @param training seconds
 */
export function summariseTimes(times: readonly TimeRecord[], references: number, training: number): ArmTimes[] {
  const filling = (kind: 'index' | 'write') => {
    const own = times.filter((time): time is FillRecord => time.kind === kind);
    const timed = own.reduce((sum, time) => sum + time.references, 0);
    return timed === 0 ? null : (sumOf(own) * references) / timed;
  };
  const merges = times.filter(({ kind }) => kind === 'merge');
  const [index, write, merge] = [filling('index'), filling('write'), merges.at(-1)?.seconds ?? null];
  const parts: Readonly<Record<Arm, ArmTimes['parts']>> = {
    before: {},
    memory: { index, write },
    tuned: { train: training, merge },
    rag: { index },
  };
  return arms.map((arm) => {
    const all = Object.values(parts[arm]);
    const known = all.filter((one) => one !== null);
    const adapt = known.length < all.length ? null : known.reduce((sum, one) => sum + one, 0);
    return { arm, parts: parts[arm], adapt, answer: answerTimes(times, arm) };
  });
}

function answerTimes(times: readonly TimeRecord[], arm: Arm): ArmTimes['answer'] {
  const latest = new Map<string, number>();
  for (const time of times) if (time.kind === 'answer' && time.arm === arm) latest.set(time.id, time.seconds);
  const all = [...latest.values()];
  if (all.length === 0) return null;
  return { median: median(all), ninetieth: quantile(all, 0.9), items: all.length };
}

function sumOf(times: readonly { readonly seconds: number }[]): number {
  return times.reduce((sum, { seconds }) => sum + seconds, 0);
}
