/** What was measured (`measure.ts`), to be written about: needs neither models nor banks nor data. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { onDisk, replaceFile } from '../../durable-file.ts';
import { readTextFile } from '../../model/binary-file.ts';
import { faultsOf } from '../../model/safetensors.ts';
import { parseStrictJson } from '../../model/strict-json.ts';
import { readStoredRun, type StoredRun } from '../eval/stored-run.ts';
import { readKept } from './kept.ts';
import { type ResultsPlan, runsOf } from './plan.ts';
import { readThroughput, type StoredThroughput } from './stored-throughput.ts';

const format = 'memory3 results 1';
const fileName = 'results.json';
const schema = z.strictObject({ format: z.literal(format), measured: z.iso.date() });

export interface Results {
  readonly plan: ResultsPlan;
  /** By name; those that are not begun are missing. */
  readonly runs: ReadonlyMap<string, StoredRun>;
  readonly throughput: StoredThroughput | null;
  /** The day on which something was measured last, "2026-01-31"; null: nothing yet. */
  readonly measured: string | null;
}

/**
 * Reads what there is, also while somebody is measuring.
 * @param folder evaluations, finished or not
 * @param kept what is kept with the page (`kept.ts`), for evaluations that are not in `folder`
 * @throws Memory3Error "damaged"; "mismatch"; "disk"
 */
export function readResults(folder: string, plan: ResultsPlan, kept: string): Results {
  const names = plan.parts.flatMap((part) => runsOf(part, plan)).map(({ name }) => name);
  const runs = names.flatMap((name): [string, StoredRun][] => {
    const isBegun = existsSync(join(folder, name, 'config.json'));
    const run = isBegun ? readStoredRun(join(folder, name)) : readKept(kept, name);
    return run === null ? [] : [[name, run]];
  });
  return {
    plan,
    runs: new Map(runs),
    throughput: readThroughput(kept),
    measured: readDate(kept),
  };
}

function readDate(folder: string): string | null {
  const path = join(folder, fileName);
  if (!existsSync(path)) return null;
  const { text, damaged } = readTextFile(path, 1 << 16, 'Restore it from a copy, or remove it.');
  const parsed = schema.safeParse(parseStrictJson(text, damaged));
  if (!parsed.success) throw damaged(faultsOf(parsed.error));
  return parsed.data.measured;
}

/** Writes down that something was measured today. @throws Memory3Error "disk" */
export function saveDate(folder: string): void {
  const measured = new Date().toISOString().slice(0, 10);
  onDisk(folder, () => replaceFile(folder, fileName, `${JSON.stringify({ format, measured })}\n`));
}
