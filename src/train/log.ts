/**
 * A run's log: what happened to it, one JSON object a line (`log.jsonl`). A step or validation stands in it as soon as it
 * is done. What lies beyond the checkpoint that a run is resumed from will be done again; those lines move to
 * `log-discarded.jsonl`, so that the log tells one story and nothing is lost.
 */
import {
  appendFileSync,
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { z } from 'zod';
import { Memory3Error, messageOf } from '../errors.ts';
import { faultsOf } from '../model/safetensors.ts';

const natural = z.int().nonnegative();

const stepSchema = z.strictObject({
  kind: z.literal('step'),
  /** The first is 1. */
  step: natural,
  loss: z.number(),
  /** Learning rate. */
  rate: z.number(),
  /** Tokens that went through the model since the run began. */
  tokens: natural,
  tokensPerSecond: z.number(),
  gradientNorm: z.number(),
  /** Since the run began, times between its processes left out. */
  seconds: z.number(),
  /** Examples of this step whose end was left off because it did not fit. */
  cut: natural.optional(),
});

const validationSchema = z.strictObject({
  kind: z.literal('validation'),
  /** Steps that were done before it. */
  step: natural,
  losses: z.record(z.string(), z.number()),
  tokens: natural,
  seconds: z.number(),
});

const divergedSchema = z.strictObject({
  kind: z.literal('diverged'),
  step: natural,
  reason: z.string(),
  /** The step of the checkpoint that the run goes on from, */
  backTo: natural,
  /** with the schedule's rate times this. */
  rateFactor: z.number(),
  /** How often it has gone back, this time included. */
  returns: natural,
  damaged: z.array(z.string()),
});

/** A process goes on with a run that another one began. */
const resumedSchema = z.strictObject({
  kind: z.literal('resumed'),
  step: natural,
  /** ISO 8601 */
  at: z.string(),
  /** Lines of the log that were moved away because their steps will be done again. */
  discardedLines: natural,
  /** Checkpoints and log lines that were not what had been written, each with what is wrong. */
  damaged: z.array(z.string()),
  /** Fields of the configuration that are no longer what they were. */
  changed: z.array(z.strictObject({ field: z.string(), from: z.unknown(), to: z.unknown() })),
});

const loggedSchema = z.discriminatedUnion('kind', [stepSchema, validationSchema, divergedSchema, resumedSchema]);

export type StepEvent = z.output<typeof stepSchema>;
export type ValidationEvent = z.output<typeof validationSchema>;
/** The loss exploded or was no number: the run goes on from an earlier checkpoint with a smaller rate. */
export type DivergedEvent = z.output<typeof divergedSchema>;
/** What stands in a log. */
export type LoggedEvent = z.output<typeof loggedSchema>;
/** What a run tells while it goes: what it logs, and the checkpoints that it has written. */
export type RunEvent =
  | LoggedEvent
  | { readonly kind: 'checkpoint'; readonly step: number; readonly path: string }
  | { readonly kind: 'interrupted'; readonly step: number };

export interface RunLog extends Disposable {
  /** Its length. */
  readonly bytes: number;
  /** @throws Memory3Error "disk" */
  append(event: LoggedEvent): void;
  /** Brings everything to the disk. */
  sync(): void;
  /**
   * Cuts the log after `length` bytes, or behind the last whole line before, where it has lost some of them.
   * @returns how many lines were moved to the file of discarded lines.
   */
  cut(length: number): number;
}

export function openRunLog(path: string, discardedPath: string): RunLog {
  const onDisk = <T>(work: () => T): T => {
    try {
      return work();
    } catch (cause) {
      throw new Memory3Error('disk', `${path} cannot be written.`, {
        remedy: 'Check that there is space left and that the folder may be written to; then start the run again.',
        cause,
      });
    }
  };
  const file = onDisk(() => openSync(path, 'a+'));
  let bytes = fstatSync(file).size;
  return {
    get bytes() {
      return bytes;
    },
    append(event) {
      bytes += onDisk(() => writeWhole(file, Buffer.from(`${JSON.stringify(event)}\n`)));
    },
    sync: () => onDisk(() => fsyncSync(file)),
    cut(length) {
      return onDisk(() => {
        const all = readFileSync(path);
        // Whatever is appended behind half a line could not be read with it.
        const end = all.subarray(0, length).lastIndexOf('\n') + 1;
        if (end === all.length) return 0;
        const lines = all.toString('utf8', end).split('\n').filter(Boolean);
        appendFileSync(discardedPath, lines.map((line) => `${line}\n`).join(''), { flush: true });
        ftruncateSync(file, end);
        bytes = end;
        return lines.length;
      });
    },
    [Symbol.dispose]: () => closeSync(file),
  };
}

function writeWhole(file: number, line: Uint8Array): number {
  for (let written = 0; written < line.length; ) written += writeSync(file, line, written);
  return line.length;
}

/**
 * All events of a log. The run may be going on meanwhile: a last line without its end is passed over.
 * @param onNotice told once of lines that cannot be read, which are passed over then: for what is only shown or described
 * @throws Memory3Error "damaged" that names the line, unless `onNotice` is given; "not-found"
 */
export function readRunLog(path: string, onNotice?: (notice: string) => void): LoggedEvent[] {
  const events: LoggedEvent[] = [];
  const faults: string[] = [];
  for (const [index, line] of textOf(path).split('\n').slice(0, -1).entries()) {
    const event = eventOf(line);
    if (typeof event === 'string') faults.push(`Line ${index + 1} of ${path} is ${event}.`);
    else events.push(event);
  }
  const [first, ...others] = faults;
  if (first === undefined) return events;
  if (onNotice === undefined) {
    const remedy = 'Restore the log from a copy, or remove the line: what it said is missing then.';
    throw new Memory3Error('damaged', first, { remedy });
  }
  const more = others.length === 0 ? '' : ` ${others.length} more cannot be read either.`;
  onNotice(`${first}${more} What was logged there is left out.`);
  return events;
}

/** @returns what a line is instead, if it is no event */
function eventOf(line: string): LoggedEvent | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return 'not JSON';
  }
  const event = loggedSchema.safeParse(value);
  return event.success ? event.data : `no event of a run: ${faultsOf(event.error)}`;
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new Memory3Error('not-found', `The log ${path} cannot be read: ${messageOf(cause)}.`, { cause });
  }
}

/** A run's curve: steps and validations, each step once. */
export interface Course {
  readonly steps: readonly StepEvent[];
  readonly validations: readonly ValidationEvent[];
}

/** The steps that led to where the run is: without those that a divergence took back. */
export function courseOf(events: readonly LoggedEvent[]): Course {
  let steps: StepEvent[] = [];
  let validations: ValidationEvent[] = [];
  for (const event of events) {
    if (event.kind === 'step') steps.push(event);
    else if (event.kind === 'validation') validations.push(event);
    else if (event.kind === 'diverged') {
      steps = steps.filter(({ step }) => step <= event.backTo);
      validations = validations.filter(({ step }) => step <= event.backTo);
    }
  }
  return { steps, validations };
}
