/** What the evaluations that have modes share: how many references, which are left out, and opening what is evaluated. */
import type { Command, Option } from 'commander';
import { z } from 'zod';
import { type Evaluated, evaluationOptionsSchema } from '../evaluate/eval/evaluate.ts';
import { type Mode, mostRecalled, mostReferences } from '../evaluate/eval/modes.ts';
import { defaultOverlap } from '../evaluate/eval/references.ts';
import { recalledMemories } from '../generate/recall.ts';
import { openModel, openWorkspace } from '../generate/workspace.ts';
import {
  type BankFlags,
  checked,
  type ModelFlags,
  modelOptions,
  number,
  numeral,
  refuseIdle,
  workspaceOptions,
} from './options.ts';
import { showFetching } from './pull.ts';
import type { Terminal } from './terminal.ts';

/** Items of each task, and of single ones. */
export type Limits = Pick<z.output<typeof evaluationOptionsSchema>, 'limit' | 'limits'>;

/** "50,arc_easy=200" */
const limitsSchema = z
  .string()
  .regex(/^[1-9]\d*(,\w+=[1-9]\d*)*$/, 'A number is expected, and perhaps task=number, with commas.')
  .transform((value, context): Limits => {
    const [limit = '', ...single] = value.split(',');
    return { limit: Number(limit), limits: singleLimits(single, context) };
  });

/** What "arc_easy=200" says of single ones. Of one that is named twice only one number could count: it is an issue. */
export function singleLimits(parts: readonly string[], context: z.RefinementCtx): Record<string, number> {
  const limits = new Map<string, number>();
  for (const [name = '', count] of parts.map((part) => part.split('='))) {
    if (limits.has(name)) context.addIssue(`${name} is there twice.`);
    limits.set(name, Number(count));
  }
  return Object.fromEntries(limits);
}

/** `--limit` */
export function limitsOption(description: string): Option {
  return checked('--limit <n>', description, limitsSchema);
}

/** `--memories`: what a mode has that does not say how many. */
export function memoriesOption(): Option {
  const counts = z.int().min(1).max(mostReferences);
  return number('--memories <n>', 'references of each item', counts).default(recalledMemories);
}

/** `--overlap` (Eq. 6); null for "none". */
export function overlapOption(): Option {
  return checked(
    '--overlap <share>',
    'references that overlap an item by more are left out (0..1, or "none")',
    z
      .union([z.literal('none').transform(() => null), numeral], { error: 'A number is expected, or "none".' })
      .pipe(evaluationOptionsSchema.shape.overlap.unwrap()),
  ).default(defaultOverlap, '2/3');
}

/** Refuses flags that would change nothing in any mode. @throws Memory3Error "usage" */
export function refuseIdleInModes(command: Command, modes: readonly Mode[]): void {
  // A bank must fit all of them, even where its references are read as text.
  if (mostRecalled(modes) > 0) return;
  const otherwise = 'add such a mode (--modes memory)';
  refuseIdle(command, ['bank', 'embedder', 'overlap'], 'no mode recalls from a bank', otherwise);
  if (modes.some(({ kind }) => kind === 'memory')) return;
  refuseIdle(command, ['layers', 'storage'], 'no mode has memories', otherwise);
  // Where summary tokens are kept, passages are cut shorter, as text too.
  if (modes.some(({ references }) => references > 0)) return;
  refuseIdle(command, ['memories', 'kept', 'scoring'], 'no mode has references', otherwise);
}

/** Opens the model, and the bank where a mode recalls from it. */
export async function openForEvaluation(
  flags: ModelFlags & BankFlags,
  modes: readonly Mode[],
  terminal: Terminal,
  signal: AbortSignal,
): Promise<Evaluated & AsyncDisposable> {
  using fetching = showFetching(terminal, signal, flags.offline);
  const options = { ...modelOptions(flags), fetch: fetching.options };
  if (mostRecalled(modes) === 0) return { ...(await openModel(options)), recall: null };
  return await openWorkspace({
    ...workspaceOptions(flags),
    fetch: fetching.options,
    onNotice: (message) => terminal.notice(message),
  });
}
