/** An evaluation as it lies in its folder (`eval-folder.ts`), to be reported or compared: needs neither model nor bank nor data. */
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import { Memory3Error } from '../../errors.ts';
import { readJsonLines } from '../../json-lines.ts';
import { readTextFile } from '../../model/binary-file.ts';
import { faultsOf } from '../../model/safetensors.ts';
import { parseStrictJson } from '../../model/strict-json.ts';
import { bankDescriptionSchema } from '../banks/holdings.ts';
import { taskNamed } from '../tasks/all.ts';
import type { Task } from '../tasks/task.ts';
import { type BatchTimes, evaluationFormat, timesSchema } from './eval-folder.ts';
import { type TaskExamples, taskExamplesSchema } from './examples.ts';
import { type Mode, parseModes } from './modes.ts';
import { type ItemRecord, recordSchema } from './records.ts';

const longestConfig = 1 << 22;
const longestExamples = 1 << 27;
const natural = z.int().nonnegative();
/** Of a damaged file. */
const remedy = 'Restore it from a copy, or evaluate into another folder.';

/** What is read of a config.json; whatever else there is takes part in comparisons. */
const configSchema = z.looseObject({
  tasks: z.array(z.string()).nonempty(),
  modes: z.array(z.string()).nonempty(),
  limit: natural,
  limits: z.record(z.string(), natural),
  shots: natural,
  seed: natural,
  documentStart: z.boolean(),
  overlap: z.number().nullable(),
  /** Runs of before it could be asked for lack it. */
  heldOut: z.boolean().default(false),
  data: z.array(z.looseObject({ task: z.string(), file: z.string(), hash: z.string() })),
  model: z.looseObject({
    name: z.string(),
    adapter: z.boolean(),
    /** Runs of before it was written down lack it. */
    parameters: z.int().positive().optional(),
  }),
  profile: z.looseObject({ name: z.string() }),
  bank: bankDescriptionSchema.nullable(),
});
const fileSchema = z.object({ format: z.string(), config: z.record(z.string(), z.json()) });

export type StoredConfig = z.output<typeof configSchema>;

export interface StoredRun {
  readonly path: string;
  /** The folder's own name, for people. */
  readonly name: string;
  readonly config: StoredConfig;
  readonly tasks: readonly Task[];
  readonly modes: readonly Mode[];
  /** Whether everything is measured. */
  readonly complete: boolean;
  readonly records: readonly ItemRecord[];
}

/** What only its report needs. */
export interface StoredDetails {
  readonly times: readonly BatchTimes[];
  /** None of a run that was killed. */
  readonly examples: readonly TaskExamples[];
}

/**
 * Reads a run, which somebody may still be measuring: then what is measured so far.
 * @throws Memory3Error "not-found" if there is no evaluation; "mismatch" if there is another kind of thing; "damaged"
 */
export function readStoredRun(path: string): StoredRun {
  const file = join(path, 'config.json');
  if (!existsSync(file)) {
    const what = existsSync(path) ? 'it has no config.json' : 'there is no such folder';
    throw new Memory3Error('not-found', `${path} holds no evaluation: ${what}.`, {
      remedy: 'Name the folder that memory3 eval --run was given.',
    });
  }
  const { text, damaged } = readTextFile(file, longestConfig, remedy);
  const head = fileSchema.safeParse(parseStrictJson(text, damaged));
  if (!head.success || head.data.format !== evaluationFormat) {
    const found = head.success ? `its format is "${head.data.format}"` : faultsOf(head.error);
    throw new Memory3Error('mismatch', `${path} holds no evaluation of tasks in modes: ${found}.`, {
      remedy: `Name a folder that memory3 eval --run was given ("${evaluationFormat}").`,
    });
  }
  const parsed = configSchema.safeParse(head.data.config);
  if (!parsed.success) throw damaged(`config: ${faultsOf(parsed.error)}`);
  const config = parsed.data;
  return {
    path,
    name: basename(resolve(path)),
    config,
    tasks: config.tasks.map(taskNamed),
    // Each name says its number of references.
    modes: parseModes(config.modes.join(','), 1),
    complete: existsSync(join(path, 'summary.json')),
    records: readItems(join(path, 'items.jsonl')),
  };
}

/** Of a run that is kept the items are compressed. */
function readItems(file: string): ItemRecord[] {
  if (existsSync(file)) return readJsonLines(file, recordSchema, { growing: true });
  const compressed = `${file}.gz`;
  return existsSync(compressed) ? readJsonLines(compressed, recordSchema) : [];
}

/** @throws Memory3Error "damaged" */
export function readStoredDetails(path: string): StoredDetails {
  const [times, examples] = [join(path, 'times.jsonl'), join(path, 'examples.json')];
  return {
    times: existsSync(times) ? readJsonLines(times, timesSchema, { growing: true }) : [],
    examples: existsSync(examples) ? readExamples(examples) : [],
  };
}

function readExamples(file: string): TaskExamples[] {
  const { text, damaged } = readTextFile(file, longestExamples, remedy);
  const parsed = z.array(taskExamplesSchema).safeParse(parseStrictJson(text, damaged));
  if (parsed.success) return parsed.data;
  throw damaged(faultsOf(parsed.error));
}
