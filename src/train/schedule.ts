/**
 * Learning rates over the steps 1 ... n of a run (paper 3.6, 6).
 *
 *   warmup-stable-decay   ╱‾‾‾‾‾‾‾╲    pretraining: linear up, flat, linear down over the last tenth
 *   cosine                ╱‾‾-._       fine-tuning: linear up over the first tenth, then half a cosine down
 *   linear                ╱'-._        linear up, then linear down
 *   constant              ╱‾‾‾‾‾‾‾‾
 *
 * Step w of a warmup of w steps has the full rate. A rate that falls would reach its end one step after the last, so that
 * no step is spent on a rate of zero. Where warmup and decay overlap, the smaller of the two holds.
 */
import { z } from 'zod';

const span = z.number().nonnegative();
const whole = {
  /** The largest rate. */
  rate: z.number().positive(),
};
const falling = {
  /** Where the rate ends, as a share of the largest. */
  end: z.number().min(0).max(1).default(0),
};

/** Spans (`warmup`, `decay`) are a share of all steps below 1, a number of steps from 1 on. */
export const scheduleSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('warmup-stable-decay'),
    ...whole,
    ...falling,
    warmup: span.default(0.01),
    decay: span.default(0.1),
  }),
  z.strictObject({ kind: z.literal('cosine'), ...whole, ...falling, warmup: span.default(0.1) }),
  z.strictObject({ kind: z.literal('linear'), ...whole, ...falling, warmup: span.default(0) }),
  z.strictObject({ kind: z.literal('constant'), ...whole, warmup: span.default(0) }),
]);

export type Schedule = z.output<typeof scheduleSchema>;
/** A schedule with its defaults left out: `{ kind: 'cosine', rate: 5e-5 }`. */
export type ScheduleOptions = z.input<typeof scheduleSchema>;

/**
 * The rate of one step.
 * @param step 1 to `steps`
 */
export function learningRate(schedule: Schedule, step: number, steps: number): number {
  const warmup = stepsOf(schedule.warmup, steps);
  const rising = step < warmup ? step / warmup : 1;
  const fallen = 'end' in schedule ? schedule.end + (1 - schedule.end) * heightLeft(schedule, warmup, step, steps) : 1;
  return schedule.rate * Math.min(rising, fallen);
}

/** What is left of the way down: 1 before it begins, 0 one step after the last. */
function heightLeft(
  schedule: Exclude<Schedule, { kind: 'constant' }>,
  warmup: number,
  step: number,
  steps: number,
): number {
  const begin = schedule.kind === 'warmup-stable-decay' ? steps - stepsOf(schedule.decay, steps) : warmup;
  const gone = Math.max(0, step - begin) / (steps + 1 - begin);
  return schedule.kind === 'cosine' ? 0.5 * (1 + Math.cos(Math.PI * gone)) : 1 - gone;
}

function stepsOf(span: number, steps: number): number {
  return Math.min(steps, Math.round(span < 1 ? span * steps : span));
}
