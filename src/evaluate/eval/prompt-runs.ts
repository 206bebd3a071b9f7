/** Long prompts, read in runs, so that no run needs scores of everything with everything. */
import type { ReadingContext } from '../../memory/context.ts';

/** Prompts are read in runs of so many tokens. */
export const promptRun = 256;

/**
 * Reads prompts side by side.
 * @param kept tokens at least that are left unread of each prompt that has any
 * @returns what is left: at most a run of each, unless none is to be kept
 */
export async function readRuns(
  context: ReadingContext,
  prompts: readonly (readonly number[])[],
  kept: number,
): Promise<(readonly number[])[]> {
  let rests = [...prompts];
  while (rests.some(({ length }) => length > (kept === 0 ? 0 : promptRun))) {
    const runs = rests.map((rest) => rest.slice(0, Math.min(promptRun, Math.max(0, rest.length - kept))));
    await context.extend(runs);
    rests = rests.map((rest, index) => rest.slice(runs[index]?.length));
  }
  return rests;
}
