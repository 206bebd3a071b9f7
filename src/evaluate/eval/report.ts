/**
 * The report of an evaluation: a page that stands alone, made of the run's folder and of nothing else. All that differs between
 * two runs of the same is in its section "times".
 */
import { join } from 'node:path';
import { counted } from '../../counted.ts';
import { onDisk, replaceFile } from '../../durable-file.ts';
import { type Html, html } from '../../html.ts';
import { pageOf } from '../../page.ts';
import type { BankDescription } from '../banks/holdings.ts';
import { noiseRule } from '../share.ts';
import type { MetricName, Task } from '../tasks/task.ts';
import { type Comparison, compareRuns } from './compare.ts';
import { scoreChart } from './report-charts.ts';
import { comparisonSection } from './report-comparison.ts';
import { examplesSection } from './report-examples.ts';
import { aboutSection, leftOutSection, timesSection } from './report-run.ts';
import { grouped, groupedTable } from './report-table.ts';
import { readStoredDetails, readStoredRun, type StoredDetails, type StoredRun } from './stored-run.ts';
import { type Average, averagesOf, type Cell, type Difference, isBetter, summarise } from './summary.ts';
import { decimal, describeDifference, describeInterval, meanOf, metricWords, remarks, verdictOf } from './words.ts';

export interface RunSummary {
  readonly cells: readonly Cell[];
  readonly averages: readonly Average[];
}

export interface RunReport {
  /** The report's file. */
  readonly report: string;
  readonly averages: readonly Average[];
  readonly comparison: Comparison | null;
  /** What was recalled from; null for a run without references. */
  readonly bank: BankDescription | null;
}

/** What the items of a run come to. */
export function summaryOf({ records, tasks, modes, config: { seed } }: StoredRun): RunSummary {
  return { cells: summarise(records, tasks, modes, seed), averages: averagesOf(records, tasks, modes, seed) };
}

/**
 * Writes a run's `report.html` into its folder.
 * @param compare another run's folder
 * @throws Memory3Error as `readStoredRun` and `compareRuns`; "disk"
 */
export async function reportRun(run: StoredRun, summary: RunSummary, compare?: string): Promise<RunReport> {
  const comparison = compare === undefined ? null : compareRuns(run, readStoredRun(compare));
  const page = await reportPage(run, readStoredDetails(run.path), summary, comparison);
  onDisk(run.path, () => replaceFile(run.path, 'report.html', page));
  const report = join(run.path, 'report.html');
  return { report, averages: summary.averages, comparison, bank: run.config.bank };
}

/** The whole page. */
async function reportPage(
  run: StoredRun,
  details: StoredDetails,
  summary: RunSummary,
  comparison: Comparison | null,
): Promise<string> {
  const { config, complete } = run;
  const tasks = begunTasks(run);
  const cells = summary.cells.filter(({ task }) => tasks.some(({ name }) => name === task));
  const body = html`<h1>Evaluation of ${config.model.name}</h1>
${complete ? null : unfinished(run, tasks)}
${inShort(cells)}
${aboutSection(run)}
${scoresSection({ ...summary, cells })}
${await chartsSection(tasks, { ...summary, cells })}
${comparison === null ? null : comparisonSection(comparison)}
${leftOutSection(leadingCells(cells))}
${timesSection(details.times, tasks, run.modes)}
${examplesSection(tasks, details.examples)}`;
  return pageOf({ title: `Evaluation of ${config.model.name}`, style, body });
}

/** Of a run that is not finished, the tasks that have items. */
function begunTasks({ tasks, records, complete }: StoredRun): readonly Task[] {
  const begun = new Set(records.map(({ task }) => task));
  return complete ? tasks : tasks.filter(({ name }) => begun.has(name));
}

function unfinished({ tasks, records }: StoredRun, begun: readonly Task[]): Html {
  const missing = tasks.filter((task) => !begun.includes(task)).map(({ name }) => name);
  const rest = missing.length === 0 ? '' : ` Nothing is measured yet of ${missing.join(', ')}.`;
  const count = counted(records.length, 'item');
  return html`<p class="unfinished">Not finished: this is what was measured so far, ${count} in modes.${rest}</p>`;
}

/** How often each mode is better than those before it, each task by its first metric. */
function inShort(cells: readonly Cell[]): Html {
  const leading = leadingCells(cells).filter(({ items }) => items > 0);
  const pairs = Map.groupBy(
    leading.flatMap(({ mode, metric, differences }) =>
      differences.filter(({ items }) => items > 0).map((one) => ({ mode, to: one.to, better: isBetter(metric, one) })),
    ),
    ({ mode, to }) => `${mode} against ${to}`,
  );
  const lines = [...pairs].map(([pair, verdicts]) => {
    const count = (wanted: boolean | null) => verdicts.filter(({ better }) => better === wanted).length;
    return html`<li><strong>${pair}</strong>: better in ${count(true)}, worse in ${count(false)}, within noise in ${count(null)} of
${counted(verdicts.length, 'task')}</li>`;
  });
  return html`<section id="short">
<h2>In short</h2>
<p class="note">Each task by its first metric. A difference counts as noise where ${noiseRule('items of a task')}.</p>
<ul class="notes">${lines.length === 0 ? html`<li>There is nothing to compare: no two modes have items in common.</li>` : lines}</ul>
</section>
`;
}

function scoresSection({ cells, averages }: RunSummary): Html {
  const metrics = [...new Set(cells.map(({ metric }) => metric))];
  const groups = [
    ...grouped(
      averages,
      (one) => `${meanOf(one)}, ${one.metric}`,
      (one) => scoreRow(one, []),
    ),
    ...grouped(
      cells,
      ({ task, metric }) => `${task}, ${metric}`,
      (cell) => scoreRow(cell, remarks(cell)),
    ),
  ];
  return html`<section id="scores">
<h2>Scores</h2>
<p class="note">With a 95 % interval (bootstrap over items). Differences are over the items that both modes have, resampled in pairs.</p>
${groupedTable(['mode', 'score', '95 %', 'items', { words: 'difference' }, { words: 'remarks' }], groups)}
${meanTasks(averages)}
<dl class="metrics">${metrics.map((metric) => html`<div><dt>${metric}</dt><dd>${metricWords[metric]}</dd></div>`)}</dl>
</section>
`;
}

interface Scores {
  readonly metric: MetricName;
  readonly mode: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly items: number;
  readonly differences: readonly Difference[];
}

function scoreRow(row: Scores, notes: readonly string[]): Html {
  const { metric, mode, value, items, differences } = row;
  const said = (items === 0 ? [] : differences).map((one) => {
    const verdict = one.items === 0 ? 'noise' : verdictOf(isBetter(metric, one));
    return html`<div class="${verdict}">${describeDifference(metric, one)}</div>`;
  });
  return html`<tr><th scope="row">${mode}</th><td>${decimal(value)}</td>
<td>${describeInterval(row)}</td><td>${items}</td><td class="words">${said}</td><td class="words">${notes.join(', ')}</td></tr>
`;
}

/** Which tasks each mean is of. */
function meanTasks(averages: readonly Average[]): Html | null {
  const byMetric = new Map(averages.map(({ metric, tasks }) => [metric, tasks]));
  if (byMetric.size === 0) return null;
  const items = [...byMetric].map(([metric, tasks]) => html`<li>Mean of ${metric}: ${tasks.join(', ')}</li>`);
  return html`<ul class="notes">${items}<li>Each task counts the same in a mean; tasks that a mode lacks are in none.</li></ul>`;
}

/** Of each task its first metric. */
function leadingCells(cells: readonly Cell[]): Cell[] {
  const first = new Map<string, MetricName>();
  for (const { task, metric } of cells) if (!first.has(task)) first.set(task, metric);
  return cells.filter(({ task, metric }) => first.get(task) === metric);
}

async function chartsSection(tasks: readonly Task[], { cells, averages }: RunSummary): Promise<Html> {
  const metrics = [...new Set(averages.map(({ metric }) => metric))];
  const groups = [
    ...metrics
      .map((metric) => averages.filter((one) => one.metric === metric))
      .map((rows) => ({ name: meanOf(rows[0] as Average), rows })),
    ...tasks.flatMap(({ name, metrics: own }) =>
      own.map((metric) => ({ name, rows: cells.filter((cell) => cell.task === name && cell.metric === metric) })),
    ),
  ];
  const charts: Html[] = [];
  for (const { name, rows } of groups) {
    const labelled = rows.map(({ mode, value, low, high }) => ({ label: mode, value, low, high }));
    const chart = await scoreChart(name, rows[0]?.metric ?? '', labelled);
    if (chart !== null) charts.push(html`<figure>${chart}</figure>`);
  }
  return html`<section id="charts">
<h2>Scores as charts</h2>
<p class="note">A dot for each mode's score, with its 95 % interval; the dashed line is the first mode's score. Each chart has a scale of its own.</p>
<div class="charts">${charts.length === 0 ? html`<p>Nothing is measured.</p>` : charts}</div>
</section>
`;
}

/** Constant, and without the characters that would end it. */
const style: Html = {
  markup: `
main { max-width: 60rem; }
h3 { margin-top: 1.5rem; }
table { font-size: .875rem; overflow-wrap: normal; }
th, td { white-space: nowrap; vertical-align: top; }
td.words, th.words { text-align: left; } td.words:last-child { white-space: normal; min-width: 10rem; }
thead th { white-space: normal; vertical-align: bottom; }
.card table { overflow-wrap: anywhere; } .card th, .card td { white-space: normal; min-width: 4rem; }
.card > .id { margin: 0; font-size: .875rem; }
tr.group th { font-weight: 600; padding-top: .75rem; } tr.group span { position: sticky; left: .5rem; }
.sum { font-weight: 600; }
.better { color: var(--for); } .worse { color: var(--against); } .noise { opacity: .75; }
.unfinished { border-left: 4px solid var(--against); padding-left: .75rem; font-weight: 600; }
.notes, .choices { padding-left: 1.25rem; list-style: disc; font-size: .875rem; }
.choices .right { font-weight: 600; }
.about dt { flex-basis: 8rem; } .metrics dt { flex-basis: 10rem; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; max-width: 100%; break-inside: avoid; }
svg { display: block; max-width: 100%; height: auto; }
details { margin-top: .5rem; font-size: .875rem; }
.references { padding-left: .5rem; } .references li { margin: .5rem 0; }
tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
@media (prefers-color-scheme: dark) { :root { --for: #6cc598; --against: #f0857d; } }
@media print {
  :root { color-scheme: light; --for: #2a7d4f; --against: #b3372f; }
  table { font-size: 8pt; } tbody th, td.words { white-space: normal; overflow-wrap: anywhere; }
  .card { break-inside: auto; } article p, article blockquote { orphans: 3; widows: 3; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
`,
};
