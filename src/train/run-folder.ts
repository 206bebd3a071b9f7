/**
 * A run's folder:
 *
 *   config.json                   what the run was begun with
 *   log.jsonl                     what happened (`log.ts`); log-discarded.jsonl: lines whose steps were done again
 *   checkpoint-<step>.safetensors the latest few (`checkpoint.ts`)
 *   best.safetensors              the checkpoint with the best validation, if the run keeps it
 *   run.lock                      held by the one process that runs it
 *
 * Every file but the log is written beside its place and renamed, so whatever happens there is a whole checkpoint. One
 * that is damaged nevertheless is passed over for the one before, and kept as `*.damaged`.
 *
 * A checkpoint is *regular* if its step is a multiple of `checkpointEvery` and its loss was in bounds. Others come from an
 * interruption or the end; a run that diverges goes back to regular ones only, so that an interruption changes nothing
 * about its course.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { type Change, differences, inWords } from '../differences.ts';
import { onDisk, replaceFile } from '../durable-file.ts';
import { checkOptions, Memory3Error } from '../errors.ts';
import { takeLock } from '../lock.ts';
import { readTextFile } from '../model/binary-file.ts';
import { faultsOf } from '../model/safetensors.ts';
import { parseStrictJson } from '../model/strict-json.ts';
import { type Checkpoint, readCheckpoint, readProgress, writeCheckpoint } from './checkpoint.ts';
import { divergenceSchema } from './divergence.ts';
import { openRunLog, type RunLog } from './log.ts';
import { scheduleSchema } from './schedule.ts';

const format = 'memory3 run 1';
const longestConfig = 1 << 22;
const positive = z.int().positive();

/** How a run goes, whatever it trains. */
export const runSettingsSchema = z.strictObject({
  steps: positive,
  schedule: scheduleSchema,
  checkpointEvery: positive.default(100),
  /** Validates before the first step, after so many each, and after the last; null: never. */
  validateEvery: positive.nullable().default(null),
  /** How many regular checkpoints are kept. */
  keep: positive.default(2),
  /** The validation loss whose best checkpoint is kept as `best.safetensors`; null: none. */
  keepBest: z.string().nullable().default(null),
  divergence: divergenceSchema.prefault({}),
});

export type RunSettings = z.output<typeof runSettingsSchema>;

const configSchema = z.record(z.string(), z.json());
const configFileSchema = z.strictObject({
  format: z.literal(format),
  settings: runSettingsSchema,
  config: configSchema,
});

/** What a run was begun with: its settings, and the caller's configuration as JSON. */
export type RunConfig = Omit<z.output<typeof configFileSchema>, 'format'>;

/** Settings that a resumed run may have otherwise; the schedule's shape is not among them. */
const changeableSettings = ['steps', 'checkpointEvery', 'validateEvery', 'keep', 'keepBest', 'divergence'];

/** A checkpoint, and what is wrong with later ones that were passed over for it. */
export interface Found extends Checkpoint {
  readonly damaged: readonly string[];
}

/** An open, locked run. */
export interface RunFolder extends Disposable {
  readonly path: string;
  readonly log: RunLog;
  /** What is no longer as it was when the run was begun. */
  readonly changed: readonly Change[];
  /** The latest checkpoint that is whole, or null if the run has not begun. */
  newest(): Found | null;
  /**
   * The checkpoint to go back to after a divergence: the latest regular one. If the run came back to that one before and
   * got no further, the one before is taken while there is one.
   * @param returnedTo step of the last return
   */
  lastGood(returnedTo: number | null): Found;
  /** Writes a checkpoint and removes those that are no longer kept. @returns its path. @throws Memory3Error "disk" */
  save(checkpoint: Checkpoint): string;
  saveBest(checkpoint: Checkpoint): string;
  /** Removes the checkpoints after `step`. */
  removeAfter(step: number): void;
}

/** What a process that was killed has left: files that a run writes beside their places, and the folder of its model. */
const ownUnfinished = /^(?:config\.json|(?:checkpoint-\d+|best)\.safetensors\.\d+|model\.\d+)\.unfinished$/;

/**
 * Begins a run in a folder, or opens the one that is there.
 * @param mayChange fields of `config` that need not be what they were: "threads", "data.workers"
 * @throws Memory3Error "mismatch" naming the field that is not what it was, or if the folder holds something else;
 *   "locked" if another process runs it; "damaged"; "disk"
 */
export function openRunFolder(
  path: string,
  { settings, config }: { readonly settings: RunSettings; readonly config: Readonly<Record<string, unknown>> },
  mayChange: readonly string[],
): RunFolder {
  // A folder of something else is refused before anything is written or removed there.
  checkRunFolder(path, { settings, config }, mayChange);
  onDisk(path, () => mkdirSync(path, { recursive: true }));
  using opened = new DisposableStack();
  opened.use(onDisk(path, () => takeLock(join(path, 'run.lock'), `The run ${path}`)));
  const unfinished = onDisk(path, () => readdirSync(path)).filter((name) => ownUnfinished.test(name));
  for (const name of unfinished) onDisk(path, () => rmSync(join(path, name), { recursive: true }));
  const { now, changed } = checkRunFolder(path, { settings, config }, mayChange);
  if (changed === null || changed.length > 0) {
    onDisk(path, () => replaceFile(path, 'config.json', `${JSON.stringify({ format, ...now }, null, 2)}\n`));
  }
  const log = opened.use(openRunLog(join(path, 'log.jsonl'), join(path, 'log-discarded.jsonl')));
  const closing = opened.move();
  return {
    path,
    log,
    changed: changed ?? [],
    ...checkpointsIn(path, settings, log),
    [Symbol.dispose]: () => closing.dispose(),
  };
}

/**
 * What is no longer as it was when the run in a folder was begun; null if there is none yet. Needs no lock.
 * @throws Memory3Error "mismatch", "damaged" and "disk" as `openRunFolder`
 */
export function checkRunFolder(
  path: string,
  { settings, config }: { readonly settings: RunSettings; readonly config: Readonly<Record<string, unknown>> },
  mayChange: readonly string[],
): { readonly now: RunConfig; readonly changed: readonly Change[] | null } {
  const now: RunConfig = { settings, config: checkOptions(configSchema, config) };
  const names = onDisk(path, () => (existsSync(path) ? readdirSync(path) : []));
  if (names.includes('config.json')) return { now, changed: changesOf(path, readRunConfig(path), now, mayChange) };
  if (names.some((name) => name === 'log.jsonl' || name.endsWith('.safetensors'))) {
    throw new Memory3Error(
      'mismatch',
      `${path} holds no run: it has no config.json, but files that a run would write.`,
      {
        remedy: 'Give the run a folder of its own.',
      },
    );
  }
  return { now, changed: null };
}

/** The configuration of a run. @throws Memory3Error "not-found"; "mismatch" if it is another program's; "damaged" */
export function readRunConfig(path: string): RunConfig {
  const file = join(path, 'config.json');
  const { text, damaged } = readTextFile(
    file,
    longestConfig,
    'Restore it from a copy, or begin a run in another folder.',
  );
  const parsed = configFileSchema.safeParse(parseStrictJson(text, damaged));
  if (!parsed.success) throw new Memory3Error('mismatch', `${file} is no run's: ${faultsOf(parsed.error)}.`);
  const { settings, config } = parsed.data;
  return { settings, config };
}

/**
 * The latest or best checkpoint of a run, for what is done with its result. Needs no lock.
 * @throws Memory3Error "not-found"; "damaged"
 */
export function readRunCheckpoint(path: string, which: 'last' | 'best' = 'last'): Checkpoint {
  if (which === 'best') return readCheckpoint(join(path, 'best.safetensors'));
  const step = lastCheckpointStep(path);
  if (step === null) throw new Memory3Error('not-found', `There is no checkpoint in ${path}.`);
  return readCheckpoint(checkpointPath(path, step));
}

/** The step of a run's latest checkpoint, or null if there is none. Needs no lock. @throws Memory3Error "disk" */
export function lastCheckpointStep(path: string): number | null {
  return onDisk(path, () => stepsIn(path)).at(-1) ?? null;
}

function checkpointsIn(
  path: string,
  { checkpointEvery, keep }: RunSettings,
  log: RunLog,
): Pick<RunFolder, 'newest' | 'lastGood' | 'save' | 'saveBest' | 'removeAfter'> {
  const isMultiple = (step: number) => step % checkpointEvery === 0;
  const isCalm = (step: number) => isInBounds(checkpointPath(path, step));
  const remove = (steps: readonly number[]) => {
    for (const step of steps) onDisk(path, () => rmSync(checkpointPath(path, step)));
  };
  return {
    newest() {
      const steps = stepsIn(path);
      if (steps.length > 0) return firstWhole(path, steps.toReversed());
      if (log.bytes === 0) return null;
      throw new Memory3Error('damaged', `The run ${path} has a log but no checkpoint.`, {
        remedy: 'Restore its checkpoints from a copy, or begin a run in another folder.',
      });
    },
    lastGood(returnedTo) {
      const all = stepsIn(path);
      const calm = all.filter(isCalm);
      // Without a regular one, as behind a change of `checkpointEvery`, one of any step will do.
      const candidates = [calm.filter(isMultiple), calm].find(({ length }) => length > 0) ?? all;
      // The one that did not help comes last.
      if (candidates.at(-1) === returnedTo) candidates.unshift(...candidates.splice(-1));
      return firstWhole(path, candidates.toReversed());
    },
    save(checkpoint) {
      const file = checkpointPath(path, checkpoint.progress.step);
      writeCheckpoint(file, checkpoint);
      const steps = stepsIn(path);
      const regular = steps.filter((step) => isMultiple(step) && isCalm(step));
      const kept = [...regular.slice(-keep), ...steps.slice(-1)];
      remove(steps.filter((step) => !kept.includes(step)));
      return file;
    },
    saveBest(checkpoint) {
      const file = join(path, 'best.safetensors');
      writeCheckpoint(file, checkpoint);
      return file;
    },
    removeAfter: (step) => remove(stepsIn(path).filter((other) => other > step)),
  };
}

/** Whether the loss of a checkpoint was not too high; one that cannot tell is judged when it is read whole. */
function isInBounds(file: string): boolean {
  try {
    return readProgress(file).losses.tooHigh === 0;
  } catch (error) {
    if (error instanceof Memory3Error && error.code === 'damaged') return true;
    throw error;
  }
}

function checkpointPath(path: string, step: number): string {
  return join(path, `checkpoint-${step}.safetensors`);
}

/** The steps that have a checkpoint, ascending. */
function stepsIn(path: string): number[] {
  return readdirSync(path)
    .map((name) => /^checkpoint-(\d+)\.safetensors$/.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

function firstWhole(path: string, steps: readonly number[]): Found {
  const faults = new Map<string, string>();
  for (const step of steps) {
    const file = checkpointPath(path, step);
    try {
      const checkpoint = readCheckpoint(file);
      for (const bad of faults.keys()) onDisk(path, () => renameSync(bad, `${bad}.damaged`));
      return { ...checkpoint, damaged: [...faults.values()] };
    } catch (error) {
      if (!(error instanceof Memory3Error) || error.code !== 'damaged') throw error;
      faults.set(file, error.message);
    }
  }
  throw new Memory3Error('damaged', `No checkpoint of the run ${path} is whole.\n${[...faults.values()].join('\n')}`, {
    remedy: 'Restore one from a copy, or begin a run in another folder.',
  });
}

/** @returns what has changed. @throws Memory3Error "mismatch" if that may not change */
function changesOf(path: string, before: RunConfig, now: RunConfig, mayChange: readonly string[]): Change[] {
  const settings = differences(before.settings, now.settings);
  const config = differences(before.config, now.config);
  const forbidden = [
    ...settings.filter(({ field }) => !isAmong(field, changeableSettings)),
    ...config.filter(({ field }) => !isAmong(field, mayChange)),
  ];
  if (forbidden.length === 0) return [...settings, ...config];
  throw new Memory3Error('mismatch', `The run ${path} was begun with another configuration: ${inWords(forbidden)}.`, {
    remedy: `Go on with what its config.json says, or begin a run in another folder.`,
  });
}

function isAmong(field: string, names: readonly string[]): boolean {
  return names.some((name) => field === name || field.startsWith(`${name}.`));
}
