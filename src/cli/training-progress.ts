/**
 * A training run as it goes: on a terminal the curve of its losses and a line with where it is, redrawn a few times a
 * second; elsewhere a line now and then. With `--json` each event is a line on stdout, as in the run's log.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { plot } from 'asciichart';
import { courseOf, type RunEvent, readRunLog, type StepEvent, type ValidationEvent } from '../train/log.ts';
import { formatCount, formatDuration, type Terminal } from './terminal.ts';

export interface TrainingProgress extends Disposable {
  /** For `runTraining`. */
  readonly onEvent: (event: RunEvent) => void;
}

/** Milliseconds between two drawings. */
const drawingInterval = 250;
const curveRows = 8;
/** What asciichart puts before the curve: a number and the axis. */
const axisColumns = 12;
/** The pace is that of the latest so many steps. */
const paceSteps = 32;

/**
 * @param label what is trained, one or two words
 * @param steps that the run will have
 * @param run its folder; where it is gone on with, the curve begins with the steps that it has
 * @throws Memory3Error "not-found" for a log that cannot be read at all; of damaged lines there is a notice
 */
export async function showTraining(
  terminal: Terminal,
  { label, steps, run }: { readonly label: string; readonly steps: number; readonly run: string },
): Promise<TrainingProgress> {
  // Before anything is awaited: what happens from now on is told by events.
  let course = [...pastOf(run, terminal.notice)];
  const live = await terminal.live();
  const lines = live === null ? terminal.progress(label) : null;
  let validation: ValidationEvent | null = null;
  /** Where the steps of this process begin in the course. */
  let began = course.length;
  let drawn = Number.NEGATIVE_INFINITY;

  const draw = () => {
    const last = course.at(-1);
    if (last === undefined) return;
    const left = secondsLeft(course.slice(Math.max(began, course.length - paceSteps)), steps);
    lines?.update(last.step, steps, describe(last, validation, left));
    if (live === null || performance.now() - drawn < drawingInterval) return;
    drawn = performance.now();
    const losses = course.map(({ loss }) => loss);
    const status = `${label} ${formatCount(last.step)} / ${formatCount(steps)}  ${describe(last, validation, left)}`;
    live.show(`${lossCurve(losses, live.columns - axisColumns)}\n${status}`);
  };
  const rewind = (step: number) => {
    course = course.filter((event) => event.step <= step);
    began = course.length;
  };

  return {
    onEvent(event) {
      if (terminal.json) terminal.result(event, () => '');
      if (event.kind === 'step') course.push(event);
      else if (event.kind === 'validation') validation = event;
      else if (event.kind === 'resumed') rewind(event.step);
      else if (event.kind === 'diverged') rewind(event.backTo);
      for (const notice of noticesOf(event)) terminal.notice(notice);
      if (event.kind === 'step') draw();
    },
    [Symbol.dispose]() {
      drawn = Number.NEGATIVE_INFINITY;
      if (live !== null) draw();
      live?.[Symbol.dispose]();
      lines?.[Symbol.dispose]();
    },
  };
}

function pastOf(run: string, onNotice: Terminal['notice']): readonly StepEvent[] {
  const log = join(run, 'log.jsonl');
  return existsSync(log) ? courseOf(readRunLog(log, onNotice)).steps : [];
}

/** Losses as lines of text. Where there are more of them than columns, a column is the mean of its neighbours. */
export function lossCurve(losses: readonly number[], columns: number): string {
  const width = Math.max(1, Math.min(losses.length, columns));
  const means = Array.from({ length: width }, (_, column) => {
    const from = Math.floor((column * losses.length) / width);
    const to = Math.floor(((column + 1) * losses.length) / width);
    const part = losses.slice(from, to);
    return part.reduce((sum, loss) => sum + loss, 0) / part.length;
  });
  // asciichart rounds the label of a curve that is flat.
  const flat = means.every((mean) => mean === means[0]) ? means[0] : undefined;
  return plot(means, { height: curveRows, format: (loss) => (flat ?? loss).toFixed(3).padStart(axisColumns - 2) });
}

/** @returns null while there is nothing to tell it by */
function secondsLeft(latest: readonly StepEvent[], steps: number): number | null {
  const [first, last] = [latest[0], latest.at(-1)];
  if (first === undefined || last === undefined || first === last) return null;
  return ((last.seconds - first.seconds) / (last.step - first.step)) * (steps - last.step);
}

function describe(step: StepEvent, validation: ValidationEvent | null, left: number | null): string {
  const parts = [
    `loss ${step.loss.toFixed(4)}`,
    ...(validation === null ? [] : [`validation ${describeLosses(validation)}`]),
    `rate ${step.rate.toExponential(2)}`,
    `${formatCount(Math.round(step.tokensPerSecond))} tokens/s`,
    ...(left === null ? [] : [`${formatDuration(left)} left`]),
  ];
  return parts.join(', ');
}

function describeLosses({ losses }: ValidationEvent): string {
  return Object.entries(losses)
    .map(([name, loss]) => `${name} ${loss.toFixed(4)}`)
    .join(' ');
}

/** What is said once, in words. */
function noticesOf(event: RunEvent): string[] {
  switch (event.kind) {
    case 'diverged':
      return [
        `Training diverged at step ${event.step}: ${event.reason}. It goes on from step ${event.backTo} with ${event.rateFactor} times the rate.`,
        ...event.damaged,
      ];
    case 'resumed':
      return [
        `Going on after step ${event.step}.`,
        ...(event.discardedLines === 0 ? [] : [`${event.discardedLines} log lines after it were moved away.`]),
        ...event.changed.map(
          ({ field, from, to }) => `${field} was ${JSON.stringify(from)}, is ${JSON.stringify(to)}.`,
        ),
        ...event.damaged,
      ];
    case 'interrupted':
      return [`Interrupted after step ${event.step}. The same command goes on from there.`];
    default:
      return [];
  }
}
