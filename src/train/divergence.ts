/**
 * Tells when training goes wrong: a number that is not finite, at once; or a loss that explodes, which is one far above
 * the running median of the losses before it for several steps in a row. One bad batch is no explosion, so a single
 * high loss passes; and losses above the bound do not enter the median, so they cannot raise it.
 */
import { z } from 'zod';
import { median } from '../quantile.ts';

export const divergenceSchema = z.strictObject({
  /** A loss above `multiple * median + offset` is too high. */
  multiple: z.number().positive().default(2),
  /** Nats. */
  offset: z.number().nonnegative().default(1),
  /** The median is of so many losses. */
  window: z.int().positive().max(1000).default(64),
  /** So many losses in a row that are too high are an explosion. */
  patience: z.int().positive().default(3),
  /** What a return to a checkpoint does to the learning rate. */
  rateFactor: z.number().positive().max(1).default(0.5),
  /** After so many returns the run gives up. */
  returns: z.int().nonnegative().default(5),
});

export type DivergenceRule = z.output<typeof divergenceSchema>;

/** What is remembered of the losses so far; part of every checkpoint. */
export const lossHistorySchema = z.strictObject({
  /** The latest losses that were not too high, oldest first. */
  losses: z.array(z.number()),
  /** How many losses in a row were too high. */
  tooHigh: z.int().nonnegative(),
});

export type LossHistory = z.output<typeof lossHistorySchema>;

export const noLosses: LossHistory = { losses: [], tooHigh: 0 };

/**
 * Takes one more loss into account.
 * @param gradientNorm not finite if the update of this step has made weights that are not
 * @returns the history with it, and what is wrong in words, or null
 */
export function judge(
  history: LossHistory,
  { loss, gradientNorm }: { readonly loss: number; readonly gradientNorm: number },
  rule: DivergenceRule,
): { readonly history: LossHistory; readonly fault: string | null } {
  if (!Number.isFinite(loss)) return { history, fault: `the loss is ${loss}` };
  if (!Number.isFinite(gradientNorm)) return { history, fault: `the gradient's norm is ${gradientNorm}` };
  const { losses } = history;
  const middle = median(losses);
  // Before the first loss there is none.
  if (losses.length === 0 || loss <= rule.multiple * middle + rule.offset) {
    return { history: { losses: [...losses, loss].slice(-rule.window), tooHigh: 0 }, fault: null };
  }
  const tooHigh = history.tooHigh + 1;
  const fault = `the loss is ${loss.toPrecision(4)} where its median was ${middle.toPrecision(4)}, for ${tooHigh} steps`;
  return { history: { losses, tooHigh }, fault: tooHigh >= rule.patience ? fault : null };
}
