/**
 * Two runs side by side: this one ("here") and another ("there"), per task, metric and mode that both have, over the items that
 * both have, resampled in pairs. What only one of them has is named and counted.
 *
 * Where the other run is of a larger model, the paper's *effective size* (it counts 2.51 points by memory as
 * 51 %):
 *
 *   share       (with references here - without here) / (the larger model without - without here)
 *   parameters  own + share * (the larger model's - own)
 *
 * The denominator must be a gain beyond noise: else nothing can be said.
 */
import { resolve } from 'node:path';
import { type Change, differences } from '../../differences.ts';
import { Memory3Error } from '../../errors.ts';
import type { Interval } from '../share.ts';
import type { MetricName, Task } from '../tasks/task.ts';
import { metricKinds } from './metrics.ts';
import type { Mode } from './modes.ts';
import type { StoredRun } from './stored-run.ts';
import { columnValues, type Stratum, stratified } from './strata.ts';
import { averagedMetrics, type Difference, differenceOf, isBetter, paired, type Scored, scoresOf } from './summary.ts';

/** What is compared: a task, or the mean over several. */
interface Place {
  /** One, or those that the mean is of. */
  readonly tasks: readonly string[];
  readonly metric: MetricName;
  readonly mode: string;
}

export interface Compared extends Place {
  /** Values over the items that both have; NaN if there are none. */
  readonly here: number;
  readonly there: number;
  /** here - there */
  readonly difference: Omit<Difference, 'to'>;
  /** Items with a score in one of the runs only. */
  readonly onlyHere: number;
  readonly onlyThere: number;
}

export interface EffectiveSize extends Place {
  /** Items that all three have. */
  readonly items: number;
  /** Values: here without references, here in this mode, there without references. */
  readonly without: number;
  readonly with: number;
  readonly larger: number;
  /** Gain by references / gain by the larger model. Null where the larger model is not better beyond noise. */
  readonly share: Interval | null;
  /** What the model is worth with references, in parameters. */
  readonly parameters: number | null;
}

export interface ComparedRun {
  readonly name: string;
  readonly model: string;
  readonly parameters: number | null;
  readonly complete: boolean;
}

export interface Comparison {
  readonly here: ComparedRun;
  readonly there: ComparedRun;
  readonly rows: readonly Compared[];
  /** Empty unless the other run is of a larger model. */
  readonly sizes: readonly EffectiveSize[];
  /** In what else the runs differ: `from` here, `to` there. */
  readonly settings: readonly Change[];
  readonly onlyHere: OnlyOne;
  readonly onlyThere: OnlyOne;
  /** Tasks of both whose data files differ: their items are matched by their ids alone. */
  readonly otherData: readonly string[];
}

/** What only one of the runs has. */
export interface OnlyOne {
  readonly tasks: readonly string[];
  readonly modes: readonly string[];
}

/** What is known of a run before it is measured. */
interface RunOutline {
  readonly path: string;
  readonly config: { readonly tasks: readonly string[]; readonly modes: readonly string[] };
}

/**
 * Refuses runs that cannot be compared, whatever is measured.
 * @throws Memory3Error "usage" if they are the same; "mismatch" if they have no task or no mode in common
 */
export function checkComparable(here: RunOutline, there: RunOutline): void {
  if (resolve(here.path) === resolve(there.path)) {
    throw new Memory3Error('usage', `The run ${here.path} would be compared with itself.`);
  }
  for (const what of ['tasks', 'modes'] as const) {
    const [own, others] = [here.config[what], there.config[what]];
    if (own.some((one) => others.includes(one))) continue;
    throw new Memory3Error(
      'mismatch',
      `The runs have none of their ${what} in common: ${here.path} has ${own.join(', ')}; ${there.path} ${others.join(', ')}.`,
    );
  }
}

/**
 * Compares a run with another.
 * @throws Memory3Error as `checkComparable`; "mismatch" if they have nothing measured in common
 */
export function compareRuns(here: StoredRun, there: StoredRun): Comparison {
  checkComparable(here, there);
  const tasks = here.tasks.filter(({ name }) => there.tasks.some((other) => other.name === name));
  const scores = { here: scoresIn(here), there: scoresIn(there) };
  const modes = here.modes.filter(({ name }) => there.config.modes.includes(name));
  const { seed } = here.config;
  const rows = placesOf(tasks, modes).map((place) => comparedAt(place, scores.here, scores.there, seed));
  const [own, other] = [runOf(here), runOf(there)];
  const isLarger = own.parameters !== null && other.parameters !== null && other.parameters > own.parameters;
  const sizes = isLarger ? sizesOf(tasks, here.modes, scores.here, scores.there, seed, [own, other]) : [];
  if (rows.every(({ difference }) => difference.items === 0) && sizes.length === 0) {
    throw new Memory3Error('mismatch', `The runs ${here.path} and ${there.path} have no measured item in common.`);
  }
  return {
    ...{ here: own, there: other, sizes },
    rows: rows.filter(isSaid),
    settings: differences(settingsOf(here), settingsOf(there)),
    onlyHere: onlyIn(here, there),
    onlyThere: onlyIn(there, here),
    otherData: tasks.flatMap(({ name }) => (isSame(dataOf(here, name), dataOf(there, name)) ? [] : [name])),
  };
}

/** A mean is one of two tasks at least. */
function isSaid({ tasks, difference }: Compared): boolean {
  return tasks.length === 1 || difference.items > 0;
}

/** Scores of a run's items by metric, task and mode. */
type ScoresOf = (task: string, mode: string, metric: MetricName) => Scored;

function scoresIn({ records }: StoredRun): ScoresOf {
  const byCell = Map.groupBy(records, ({ task, mode }) => `${task} ${mode}`);
  return (task, mode, metric) => scoresOf(metric, byCell.get(`${task} ${mode}`) ?? []);
}

/** Tasks and then means, each metric in each mode. */
function placesOf(tasks: readonly Task[], modes: readonly Mode[]): Place[] {
  const single = tasks.flatMap(({ name, metrics }) =>
    metrics.flatMap((metric) => modes.map((mode): Place => ({ tasks: [name], metric, mode: mode.name }))),
  );
  const means = averagedMetrics(tasks).flatMap((metric) => {
    const own = tasks.filter(({ metrics }) => (metrics as readonly MetricName[]).includes(metric));
    const recalled = modes.filter(({ gold }) => !gold);
    return own.length < 2
      ? []
      : recalled.map(({ name: mode }) => ({ tasks: own.map(({ name }) => name), metric, mode }));
  });
  return [...single, ...means];
}

/** Of each task the items that all columns have, without tasks that have none. */
interface Strata {
  readonly tasks: readonly string[];
  readonly strata: readonly Stratum[];
}

function strataOf(tasks: readonly string[], columnsOf: (task: string) => readonly [Scored, ...Scored[]]): Strata {
  const all = tasks.map((task) => ({ task, stratum: paired(...columnsOf(task)) }));
  const filled = all.filter(({ stratum }) => (stratum[0]?.length ?? 0) > 0);
  const few = filled.length < Math.min(2, tasks.length);
  return few
    ? { tasks, strata: [] }
    : { tasks: filled.map(({ task }) => task), strata: filled.map(({ stratum }) => stratum) };
}

function comparedAt(place: Place, here: ScoresOf, there: ScoresOf, seed: number): Compared {
  const { metric, mode } = place;
  const pairOf = (task: string) => [here(task, mode, metric), there(task, mode, metric)] as const;
  const { tasks, strata } = strataOf(place.tasks, pairOf);
  const only = (first: 0 | 1) =>
    tasks.reduce((sum, task) => {
      const pair = pairOf(task);
      return sum + [...pair[first].keys()].filter((id) => !pair[1 - first]?.has(id)).length;
    }, 0);
  const [own = Number.NaN, other = Number.NaN] = columnValues(metric, strata);
  return {
    ...{ ...place, tasks, here: own, there: other },
    difference: differenceOf(metric, strata, seed),
    onlyHere: only(0),
    onlyThere: only(1),
  };
}

function sizesOf(
  tasks: readonly Task[],
  modes: readonly Mode[],
  here: ScoresOf,
  there: ScoresOf,
  seed: number,
  [own, larger]: readonly [ComparedRun, ComparedRun],
): EffectiveSize[] {
  const places = placesOf(
    tasks,
    modes.filter(({ references }) => references > 0),
  );
  return places.flatMap((place): EffectiveSize[] => {
    const { metric, mode } = place;
    const { tasks: measured, strata } = strataOf(place.tasks, (task) => [
      here(task, 'none', metric),
      here(task, mode, metric),
      there(task, 'none', metric),
    ]);
    if (strata.length === 0) return [];
    const [without = 0, reached = 0, goal = 0] = columnValues(metric, strata);
    const gain = differenceOf(
      metric,
      strata.map(([first = [], , last = []]) => [last, first]),
      seed,
    );
    const share = isBetter(metric, gain) === true ? stratified(metric, strata, shareOfStep(metric), seed) : null;
    const [from, to] = [own.parameters as number, larger.parameters as number];
    const parameters = share === null ? null : Math.round(from + share.value * (to - from));
    const { items } = gain;
    return [{ ...place, tasks: measured, items, without, with: reached, larger: goal, share, parameters }];
  });
}

/** In resamples in which the larger model gains nothing the share has no bound. */
function shareOfStep(metric: MetricName): (values: readonly number[]) => number {
  const sign = metricKinds[metric].better === 'higher' ? 1 : -1;
  return ([without = 0, reached = 0, larger = 0]) => {
    const [gain, step] = [sign * (reached - without), sign * (larger - without)];
    if (step > 0) return gain / step;
    return gain === 0 ? 0 : Math.sign(gain) * Number.POSITIVE_INFINITY;
  };
}

function runOf({ name, config: { model }, complete }: StoredRun): ComparedRun {
  return { name, model: model.name, parameters: model.parameters ?? null, complete };
}

/** What is compared otherwise is left out. */
function settingsOf({ config: { tasks: _, modes: _modes, data: _data, ...settings } }: StoredRun): object {
  return settings;
}

function onlyIn(one: StoredRun, other: StoredRun): OnlyOne {
  return {
    tasks: one.config.tasks.filter((task) => !other.config.tasks.includes(task)),
    modes: one.config.modes.filter((mode) => !other.config.modes.includes(mode)),
  };
}

function dataOf({ config: { data } }: StoredRun, task: string): unknown {
  return data.find((one) => one.task === task);
}

function isSame(a: unknown, b: unknown): boolean {
  return differences(a, b).length === 0;
}
