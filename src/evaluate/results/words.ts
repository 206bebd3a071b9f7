/** How results are written: numbers of cells, names of modes, sentences about comparisons. Shares are in percent. */
import { counted } from '../../counted.ts';
import type { Mode } from '../eval/modes.ts';
import { fewestPairs } from '../share.ts';
import type { MetricName } from '../tasks/task.ts';
import { type ComparedMean, type Comparison, type Row, tasksOf, type Value } from './scores.ts';

/** What is not measured. */
export const dash = '–';

/** "memory 5", "memory 5, 8 kept", "RAG 3", "memory, own passage" */
export function modeWords({ kind, references, gold, profile }: Mode): string {
  if (kind === 'none') return kind;
  const name = kind === 'rag' ? 'RAG' : kind;
  const { keptTokens, storage } = profile;
  return [
    gold ? name : `${name} ${references}`,
    ...(gold ? ['own passage'] : []),
    ...(keptTokens === undefined ? [] : [`${keptTokens} kept`]),
    ...(storage === undefined ? [] : [storage]),
  ].join(', ');
}

/** "squad, f1"; accuracy is not said. */
export function rowWords({ task, metric }: Row): string {
  return metric === 'accuracy' ? task : `${task}, ${metric}`;
}

/**
 * "34.5 ± 6.6"
 * @param items of the table's row: a cell that has others says how many
 */
export function cellWords(metric: MetricName, value: Value, items: number): string {
  if (value.items === 0) return dash;
  const number = scoreWords(metric, value.value);
  // So few items say nothing about how far off they are.
  const half = value.items < fewestPairs ? '' : ` ± ${scoreWords(metric, (value.high - value.low) / 2)}`;
  return `${number}${half}${value.items === items ? '' : ` (${value.items})`}`;
}

/** "34.5" of a share, "22.13" of a perplexity */
export function scoreWords(metric: MetricName, value: number): string {
  if (Number.isNaN(value)) return dash;
  return metric === 'perplexity' ? value.toFixed(2) : percent(value);
}

/** "+1.2 (-0.3 to +2.6), within noise" */
export function differenceWords({ value, low, high, noise }: ComparedMean['difference']): string {
  return `${points(value)} (${points(low)} to ${points(high)})${noise ? ', within noise' : ''}`;
}

/** "better in 3 of 15 tasks, worse in 1, within noise in 11" */
export function verdictWords(comparison: Comparison): string {
  const { better, worse, noise } = comparison;
  const tasks = counted(tasksOf(comparison), 'task');
  return `better in ${better.length} of ${tasks}, worse in ${worse.length}, within noise in ${noise.length}`;
}

/** " (on average +1.2 points, -0.3 to +2.6: within noise)" */
export function averageWords({ mean }: Comparison): string {
  if (mean === null) return '';
  const { value, low, high, noise } = mean.difference;
  const verdict = noise ? 'within noise' : value > 0 ? 'better' : 'worse';
  return ` (on average ${points(value)} points, ${points(low)} to ${points(high)}: ${verdict})`;
}

/** What the paper has to say beside a table; nothing where it has no numbers. */
export function paperWords(sentences: readonly string[]): string {
  return sentences.length === 0 ? '' : `The paper's own numbers, for a model of 2.4B: ${sentences.join(' ')}`;
}

function percent(share: number): string {
  // No "-0.0".
  return (Math.round(share * 1000) / 10 + 0).toFixed(1);
}

function points(share: number): string {
  const text = percent(share);
  return share > 0 && text !== '0.0' ? `+${text}` : text;
}
