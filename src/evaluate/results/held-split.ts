/**
 * What references are worth where one of them holds a right answer, and where none does: the items of all tasks together, each
 * counts the same. Memory and text are given the same references, so one column says it for both.
 */
import { differenceOf, paired, type Scored, scoresOf } from '../eval/summary.ts';
import { markdownTable } from './markdown.ts';
import { type Column, isShare, type Row, seed } from './scores.ts';
import { differenceWords, scoreWords } from './words.ts';

/** A model's columns. */
export interface SplitColumns {
  readonly model: string;
  readonly none: Column;
  readonly memory: Column;
  readonly text: Column;
}

/**
 * A table with two lines for each model that has items in all three modes; null where none has.
 * @param rows one of each task; those whose metric is no share are left out
 */
export function heldSplit(models: readonly SplitColumns[], rows: readonly Row[]): string | null {
  const shares = rows.filter(isShare);
  const lines = models.flatMap((columns) =>
    [true, false].flatMap((isHeld) => {
      const line = splitLine(columns, shares, isHeld);
      return line === null ? [] : [line];
    }),
  );
  if (lines.length === 0) return null;
  const head = ['a recalled reference holds the answer', 'items', 'none', 'memory 5', 'RAG 5'];
  return markdownTable([...head, 'memory against none', 'memory against RAG'], lines);
}

function splitLine(
  { model, none, memory, text }: SplitColumns,
  rows: readonly Row[],
  isHeld: boolean,
): string[] | null {
  const [own, without, asText] = [memory, none, text].map((column) => pooled(column, rows)) as [Scored, Scored, Scored];
  const wanted = new Set(
    [...memory.records].flatMap(([task, records]) =>
      records.filter(({ held }) => held === isHeld).map(({ id }) => keyOf(task, id)),
    ),
  );
  const kept = new Map([...own].filter(([key]) => wanted.has(key)));
  const [memories = [], nothing = [], texts = []] = paired(kept, without, asText);
  if (memories.length === 0) return null;
  const mean = (scores: typeof memories) => scores.reduce((sum, { score }) => sum + score, 0) / scores.length;
  return [
    `${model}: ${isHeld ? 'yes' : 'no'}`,
    `${memories.length}`,
    ...[nothing, memories, texts].map((scores) => scoreWords('accuracy', mean(scores))),
    ...[nothing, texts].map((other) => differenceWords(differenceOf('accuracy', [[memories, other]], seed))),
  ];
}

/** The scores of all tasks in one map. */
function pooled({ records }: Column, rows: readonly Row[]): Scored {
  return new Map(
    rows.flatMap(({ task, metric }) =>
      [...scoresOf(metric, records.get(task) ?? [])].map(([id, score]) => [keyOf(task, id), score] as const),
    ),
  );
}

function keyOf(task: string, id: string): string {
  return `${task} ${id}`;
}
