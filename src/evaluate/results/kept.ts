/**
 * Finished evaluations that are kept with the project, beside the page that shows them: `<run>/config.json`,
 * `items.jsonl.gz` and `summary.json` of the evaluation's folder (`../eval/eval-folder.ts`). They hold ids, scores and what the
 * models wrote, no text of a data set. Whoever has them has the results without hours of measuring, and
 * `memory3 eval --compare` takes them.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { differences, inWords } from '../../differences.ts';
import { onDisk, replaceFile } from '../../durable-file.ts';
import { Memory3Error } from '../../errors.ts';
import { readStoredRun, type StoredRun } from '../eval/stored-run.ts';

/** What is asked of a kept evaluation; what it says beyond that, of data and bank, it was measured with. */
export type Conditions = Readonly<Record<string, unknown>>;

/**
 * A kept evaluation, or null if it is not there.
 * @param conditions if given, what it must have been measured with
 * @throws Memory3Error "mismatch" if it came of other conditions; "damaged"; "disk"
 */
export function readKept(folder: string, name: string, conditions: Conditions = {}): StoredRun | null {
  const path = join(folder, name);
  if (!existsSync(path)) return null;
  const run = readStoredRun(path);
  const config: Record<string, unknown> = run.config;
  // What JSON leaves out is no difference.
  const wanted: Record<string, unknown> = JSON.parse(JSON.stringify(conditions));
  const changed = Object.entries(wanted).flatMap(([field, value]) => differences(config[field], value, field));
  if (changed.length === 0) return run;
  throw new Memory3Error('mismatch', `${path} was measured otherwise: ${inWords(changed)}.`, {
    remedy: 'Remove that folder to measure it anew, or write the page elsewhere (--docs).',
  });
}

/** Keeps a finished evaluation, in the place of what is there of that name. @throws Memory3Error "disk" */
export function keepRun(folder: string, name: string, evaluation: string): void {
  const unfinished = join(folder, `${name}.unfinished`);
  onDisk(folder, () => {
    rmSync(unfinished, { recursive: true, force: true });
    mkdirSync(unfinished, { recursive: true });
    const read = (file: string) => readFileSync(join(evaluation, file));
    for (const file of ['config.json', 'summary.json']) replaceFile(unfinished, file, read(file));
    replaceFile(unfinished, 'items.jsonl.gz', gzipSync(read('items.jsonl'), { level: 9 }));
    rmSync(join(folder, name), { recursive: true, force: true });
    renameSync(unfinished, join(folder, name));
  });
}
