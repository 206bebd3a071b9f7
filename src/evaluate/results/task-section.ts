/** A section of the results page: tasks in columns of modes, what they come to together, and what that says. */
import { counted } from '../../counted.ts';
import { recalledMemories } from '../../generate/recall.ts';
import { bankDescriptionSchema, bankWords } from '../banks/holdings.ts';
import { parseMode } from '../eval/modes.ts';
import { trainedWords } from '../eval/report-run.ts';
import type { StoredConfig, StoredRun } from '../eval/stored-run.ts';
import { taskNamed } from '../tasks/all.ts';
import type { MetricName } from '../tasks/task.ts';
import { heldSplit } from './held-split.ts';
import { blocks, markdownList, markdownTable } from './markdown.ts';
import { type ModelName, modelNames, modesOf, type OverlapPart, overlapRun, type TasksPart } from './plan.ts';
import {
  bestOf,
  type Column,
  type Comparison,
  columnOf,
  compareColumns,
  hasItems,
  heldIn,
  isBegun,
  isShare,
  leadingRows,
  meanOf,
  type Row,
  rowsOf,
  scoreOf,
  tasksOf,
} from './scores.ts';
import type { Results } from './stored.ts';
import {
  averageWords,
  cellWords,
  dash,
  differenceWords,
  modeWords,
  paperWords,
  rowWords,
  scoreWords,
  verdictWords,
} from './words.ts';

/** What a section's table shows, whatever the runs. */
interface Table {
  readonly tasks: readonly string[];
  readonly metrics: readonly MetricName[];
  readonly columns: readonly Column[];
  /** Of these the best is marked, if it is better than all others. */
  readonly rivals: readonly Column[];
  readonly pairs: readonly (readonly [Column, Column])[];
  readonly paperScores?: Readonly<Record<string, number>>;
}

/** Base and converted, each in the part's modes. */
export function tasksSection(part: TasksPart, { runs }: Results): string {
  const runOf = (model: ModelName) => runs.get(`${part.name}-${model}`) ?? null;
  const columns = modelNames.flatMap((model) =>
    modesOf(part, model).map((name) => {
      const mode = parseMode(name, 1);
      return { model, column: columnOf(`${model}, ${modeWords(mode)}`, runOf(model), mode) };
    }),
  );
  const of = (model: ModelName, mode: string) =>
    columns.find((one) => one.model === model && one.column.mode.name === mode)?.column as Column;
  const converted = columns.filter(({ model }) => model === 'converted').map(({ column }) => column);
  const shared = part.modes.filter((mode) => mode === 'none' || mode === 'memory:5');
  const table: Table = {
    tasks: part.tasks,
    metrics: part.metrics ?? [],
    columns: columns.map(({ column }) => column),
    rivals: converted.filter(({ mode }) => !mode.gold),
    pairs: [
      ...modelNames.flatMap((model) =>
        pairsOf(part, model).map(([first, second]) => [of(model, first), of(model, second)] as const),
      ),
      ...shared.map((mode) => [of('converted', mode), of('base', mode)] as const),
    ],
    ...(part.paperScores && { paperScores: part.paperScores }),
  };
  const states = modelNames.map((model) => ({ what: `the ${model} model`, run: runOf(model) }));
  const rows = leadingRows(rowsIn(table));
  const says = modelNames.map((model) => modelSentences(model, of, part, rows));
  const split = modelNames.map((model) => {
    return { model, none: of(model, 'none'), memory: of(model, 'memory:5'), text: of(model, 'rag:5') };
  });
  return sectionOf(part, states, table, blocks(...says, heldSplit(split, rows)));
}

/** The pairs of modes that a model is measured in. */
function pairsOf(part: TasksPart, model: ModelName): TasksPart['pairs'] {
  const modes = modesOf(part, model);
  return part.pairs.filter((pair) => pair.every((mode) => modes.includes(mode)));
}

/** The converted model with other thresholds. */
export function overlapSection(part: OverlapPart, { runs }: Results): string {
  const mode = parseMode(part.mode, 1);
  const runOf = (name: string) => runs.get(name) ?? null;
  const usual = runOf(`${part.of}-converted`);
  const none = columnOf('none', usual, parseMode('none', 1));
  const usualWords = 'above 2/3 left out';
  const paper = columnOf(usualWords, usual, mode);
  const others = part.thresholds.map((threshold) => {
    const words = threshold === null ? 'no filter' : `above ${threshold} left out`;
    const run = runOf(overlapRun(part, threshold));
    return { words, run, column: columnOf(words, run, mode) };
  });
  const table: Table = {
    tasks: part.tasks,
    metrics: [],
    columns: [none, paper, ...others.map(({ column }) => column)],
    rivals: [],
    pairs: [...others.map(({ column }) => [column, paper] as const), [paper, none]],
  };
  const states = [
    { what: `${usualWords} (measured in the part "${part.of}")`, run: usual },
    ...others.map(({ words, run }) => ({ what: words, run })),
  ];
  const rows = leadingRows(rowsIn(table));
  const says = others
    .map(({ words, column }) => ({ words, compared: compareColumns(column, paper, rows) }))
    .filter(({ compared }) => tasksOf(compared) > 0)
    .map(
      ({ words, compared }) =>
        `Compared with "${usualWords}", "${words}" is ${verdictWords(compared)}${averageWords(compared)}.`,
    );
  return sectionOf(part, states, table, says.join(' '));
}

function rowsIn({ tasks, metrics }: Table): Row[] {
  return rowsOf(tasks.map(taskNamed), metrics);
}

/** A run that a section is of. */
interface State {
  readonly what: string;
  readonly run: StoredRun | null;
}

function sectionOf(part: TasksPart | OverlapPart, states: readonly State[], table: Table, says: string): string {
  const rows = rowsIn(table);
  const tasks = new Set(table.tasks);
  const known = states.flatMap(({ run }) => run ?? []);
  const lines = [
    ...states.flatMap((state) => stateWords(state, tasks)),
    ...new Set(known.map(({ config }) => itemWords(config, tasks))),
    ...new Set(known.flatMap((run) => trainedLine(run, tasks))),
    ...new Set(known.flatMap(({ config: { bank } }) => (bank === null ? [] : [bankLine(bank)]))),
  ];
  return blocks(
    `## ${part.title}`,
    part.about,
    markdownList(lines),
    scoreTable(table, rows),
    comparisonTable(table.pairs.map(([first, second]) => compareColumns(first, second, leadingRows(rows)))),
    says,
    table.columns.some(isBegun) ? markdownList(leftOutWords(table.columns, tasks)) : null,
    paperWords(part.paper),
  );
}

function stateWords({ what, run }: State, tasks: ReadonlySet<string>): string[] {
  if (run === null) return [`Not measured yet: ${what}.`];
  if (run.complete) return [];
  const begun = new Set(run.records.map(({ task }) => task).filter((task) => tasks.has(task))).size;
  return [`Not measured yet, or not all of it: ${what}. So far there are items of ${begun} of ${tasks.size} tasks.`];
}

function itemWords({ limit, limits, seed, shots }: StoredConfig, tasks: ReadonlySet<string>): string {
  const bySize = Map.groupBy(
    Object.entries(limits).filter(([task, most]) => tasks.has(task) && most !== limit),
    ([, most]) => most,
  );
  const single = [...bySize].map(([most, some]) => `, ${most} of ${some.map(([task]) => task).join(', ')}`);
  return `At most ${limit} items of each task${single.join('')}, drawn by seed ${seed}; ${shots === 0 ? 'no' : shots} solved items before a prompt.`;
}

/** Where items, or some that were left out, took part in training. */
function trainedLine({ config, tasks: all }: StoredRun, tasks: ReadonlySet<string>): string[] {
  const touched = all.filter(({ name, trained }) => tasks.has(name) && trained !== 'none');
  return touched.length === 0 ? [] : [`Training, ${trainedWords(touched, config.heldOut)}.`];
}

function bankLine(bank: unknown): string {
  return `Bank ${bankWords(bankDescriptionSchema.parse(bank))}.`;
}

function scoreTable({ columns, rivals, paperScores }: Table, rows: readonly Row[]): string {
  // Of the usual number: seven references hold more answers than five.
  const holding = columns.filter(({ mode }) => mode.references === recalledMemories && !mode.gold);
  const head = [
    ...['task', 'items', 'answer recalled'],
    ...columns.map(({ heading }) => heading),
    ...(paperScores === undefined ? [] : ['the paper']),
  ];
  const lines = rows.map((row) => {
    const values = columns.map((column) => scoreOf(column, row));
    const items = Math.max(...values.map((value) => value.items));
    const best = bestOf(rivals, row);
    const held = holding.map((column) => heldIn(column, row.task)).find((one) => one !== null);
    return [
      rowWords(row),
      items === 0 ? dash : `${items}`,
      held === undefined ? dash : `${held?.held} of ${held?.of}`,
      ...values.map((value, index) => {
        const words = cellWords(row.metric, value, items);
        return best !== null && columns[index] === best ? `**${words}**` : words;
      }),
      ...(paperScores === undefined ? [] : [paperScores[row.task]?.toFixed(1) ?? dash]),
    ];
  });
  const means = meanRows(rows).flatMap((own) => meanLine(columns, own, paperScores !== undefined));
  return markdownTable(head, [...lines, ...means]);
}

/** Of each task its first metric; and each further metric by itself. */
function meanRows(rows: readonly Row[]): Row[][] {
  const leading = leadingRows(rows);
  const further = Map.groupBy(
    rows.filter((row) => !leading.includes(row)),
    ({ metric }) => metric,
  );
  return [leading, ...further.values()].map((own) => own.filter(isShare));
}

/** Over the tasks that all columns have which are begun; columns with the items' own passages have too few of them. */
function meanLine(columns: readonly Column[], rows: readonly Row[], isPaper: boolean): string[][] {
  const compared = columns.filter((column) => isBegun(column) && !column.mode.gold);
  const common = rows.filter((row) => compared.every((column) => hasItems(column, row)));
  if (compared.length === 0 || common.length < 2) return [];
  const metrics = new Set(common.map(({ metric }) => metric));
  const of = metrics.size === 1 ? `, ${[...metrics][0]}` : '';
  const values = columns.map((column) => (compared.includes(column) ? meanOf(column, common) : null));
  const items = Math.max(...values.map((value) => value?.items ?? 0));
  const cells = values.map((value) => (value === null ? dash : cellWords('accuracy', value, items)));
  return [[`mean of ${common.length} tasks${of}`, `${items}`, dash, ...cells, ...(isPaper ? [dash] : [])]];
}

function comparisonTable(all: readonly Comparison[]): string | null {
  const measured = all.filter((one) => tasksOf(one) > 0);
  const lines = measured.map(({ first, second, better, worse, noise, mean }) => [
    `${first.heading} against ${second.heading}`,
    ...(mean === null
      ? [dash, dash, dash, dash]
      : [
          `${mean.tasks}`,
          scoreWords('accuracy', mean.first),
          scoreWords('accuracy', mean.second),
          differenceWords(mean.difference),
        ]),
    ...[better, worse, noise].map(({ length }) => `${length}`),
  ]);
  if (lines.length === 0) return null;
  const head = ['compared', 'tasks', 'mean', 'against', 'difference', 'better in', 'worse in', 'within noise in'];
  return markdownTable(head, lines);
}

/** What memory is worth to a model, in words: against none and against as many references as text. */
function modelSentences(
  model: ModelName,
  of: (model: ModelName, mode: string) => Column,
  { modes }: TasksPart,
  rows: readonly Row[],
): string {
  const memory = of(model, 'memory:5');
  const others = [
    { words: 'no references', other: 'none' },
    { words: 'five references as text', other: 'rag:5' },
  ];
  const said = others
    .filter(({ other }) => modes.includes(other))
    .map(({ words, other }) => ({ words, compared: compareColumns(memory, of(model, other), rows) }))
    .filter(({ compared }) => tasksOf(compared) > 0)
    .map(({ words, compared }) => `compared with ${words} it is ${verdictWords(compared)}${averageWords(compared)}`);
  return said.length === 0 ? '' : `The ${model} model with five memories: ${said.join('; ')}.`;
}

/** What was replaced or not measured; columns that have the same in common. */
function leftOutWords(columns: readonly Column[], tasks: ReadonlySet<string>): string[] {
  const said = columns
    .map((column) => ({ column, words: leftOutOf(column, tasks) }))
    .filter(({ words }) => words !== '');
  return [...Map.groupBy(said, ({ words }) => words)].map(
    ([words, own]) => `${own.map(({ column }) => column.heading).join(' · ')}: ${words}.`,
  );
}

function leftOutOf({ mode, records: byTask }: Column, tasks: ReadonlySet<string>): string {
  const records = [...byTask].filter(([task]) => tasks.has(task)).flatMap(([, own]) => own);
  const count = (is: (record: (typeof records)[number]) => boolean) => records.filter(is).length;
  const leftOut = records.reduce((sum, record) => sum + record.leftOut, 0);
  const short = mode.gold ? 0 : count(({ references }) => references.length < mode.references);
  const noGold = count(({ gold }) => gold === null);
  const tooLong = count((record) => record.tooLong !== null);
  return [
    ...(leftOut === 0 ? [] : [`${counted(leftOut, 'reference')} replaced, for overlap with the item`]),
    ...(short === 0 ? [] : [`${counted(short, 'item')} with fewer references`]),
    ...(noGold === 0 ? [] : [`${counted(noGold, 'item')} without a passage, not measured`]),
    ...(tooLong === 0 ? [] : [`${counted(tooLong, 'item')} too long for the model, not measured`]),
  ].join('; ');
}
