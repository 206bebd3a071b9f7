/** Folders of evaluations as `memory3 eval` leaves them, without measuring. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BatchTimes } from '../../src/evaluate/eval/eval-folder.ts';
import type { TaskExamples } from '../../src/evaluate/eval/examples.ts';
import type { ItemRecord } from '../../src/evaluate/eval/records.ts';
import type { MetricName } from '../../src/evaluate/tasks/task.ts';

export interface RunToStore {
  readonly tasks: readonly string[];
  readonly modes: readonly string[];
  readonly records: readonly ItemRecord[];
  readonly model?: string;
  readonly parameters?: number | null;
  /** What of the configuration is otherwise. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly complete?: boolean;
  readonly times?: readonly BatchTimes[];
  readonly examples?: readonly TaskExamples[];
}

/** @returns the run's path */
export function storeRun(folder: string, name: string, run: RunToStore): string {
  const { tasks, modes, records, model = 'tiny', parameters = 1000, complete = true, times = [], examples } = run;
  const path = join(folder, name);
  mkdirSync(path);
  const config = {
    ...{ tasks, modes, limit: 200, limits: {}, shots: 0, seed: 0, documentStart: true, overlap: 2 / 3 },
    data: tasks.map((task) => ({ task, file: `${task}.jsonl`, hash: '1'.repeat(64) })),
    model: { name: model, fingerprint: '2'.repeat(64), adapter: false, ...(parameters === null ? {} : { parameters }) },
    profile: { name: 'layers 0-1, 8 tokens by attention, f16', fingerprint: '3'.repeat(64) },
    bank: { name: 'general', references: 9, documents: 3 },
    ...run.config,
  };
  const write = (file: string, text: string) => writeFileSync(join(path, file), text);
  const lines = (values: readonly unknown[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('');
  write('config.json', JSON.stringify({ format: 'memory3 eval 1', config }));
  write('items.jsonl', lines(records));
  write('times.jsonl', lines(times));
  if (examples !== undefined) write('examples.json', JSON.stringify(examples));
  if (complete) write('summary.json', '[]');
  return path;
}

/** Records of items "0", "1", ... (or of the ids given) with one metric. */
export function recordsOf(
  task: string,
  mode: string,
  metric: MetricName,
  scores: readonly number[],
  ids: readonly string[] = scores.map((_, index) => `${index}`),
): ItemRecord[] {
  return scores.map((score, index) => ({
    ...{ task, mode, id: ids[index] as string, scores: { [metric]: score }, weight: 1 },
    ...{ references: mode === 'none' ? [] : [1, 2], leftOut: 0, held: null, tooLong: null },
  }));
}
