/** What a model can do without memories: so that a conversion's cost shows. A few of the tasks, without a bank or shots. */
import type { LanguageModel } from '../memory/model.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { batchesOf, type Measurement, measureBatch } from './eval/measure.ts';
import { cellValue, type Weighted } from './eval/metrics.ts';
import { parseMode } from './eval/modes.ts';
import { taskNamed } from './tasks/all.ts';
import { type MetricName, readMaterial } from './tasks/task.ts';

export interface AbilityRow {
  readonly task: string;
  /** Share of right answers, or perplexity. */
  readonly value: number;
  readonly metric: MetricName;
  readonly items: number;
}

const abilityTasks = ['wikitext2', 'arc_easy', 'piqa', 'hellaswag', 'boolq'];

/**
 * Measures a model on the data sets of a folder: WikiText-2, ARC-easy, PIQA, HellaSwag, BoolQ. Prompts stand alone, without
 * a document-start token, as other programs measure them.
 * @param limit items of each task, drawn by `seed`
 * @throws Memory3Error "not-found" or "damaged", naming file and line; the signal's reason between two batches.
 */
export async function* measureAbility(
  model: LanguageModel,
  tokenizer: Tokenizer,
  folder: string,
  { limit, seed, signal }: { readonly limit: number; readonly seed: number; readonly signal?: AbortSignal },
): AsyncGenerator<AbilityRow, void> {
  for (const name of abilityTasks) {
    const task = taskNamed(name);
    const material = readMaterial(task, folder, { limit, shots: 0, seed });
    const measurement: Measurement = { task, material, mode: parseMode('none', 1), documentStart: false };
    const [metric] = task.metrics;
    const scores: Weighted[] = [];
    for (const batch of batchesOf(measurement, tokenizer)) {
      signal?.throwIfAborted();
      const { records } = await measureBatch({ model, tokenizer, finder: null, memories: null }, measurement, batch);
      for (const { scores: all, weight } of records) {
        const score = all[metric];
        if (score !== undefined) scores.push({ score, weight });
      }
    }
    yield { task: name, metric, value: cellValue(metric, scores), items: scores.length };
  }
}
