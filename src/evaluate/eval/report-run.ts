/** Parts of a report that say how it came about: what was run, what was left out, how long it took. */
import { type Html, html } from '../../html.ts';
import { median } from '../../quantile.ts';
import { bankWords } from '../banks/holdings.ts';
import type { Task } from '../tasks/task.ts';
import { describeParameters } from './comparison-words.ts';
import type { BatchTimes } from './eval-folder.ts';
import type { Mode } from './modes.ts';
import { grouped, groupedTable } from './report-table.ts';
import type { StoredRun } from './stored-run.ts';
import type { Cell } from './summary.ts';

/** What was run, and with what. */
export function aboutSection({ config, tasks, modes, records }: StoredRun): Html {
  const { model, profile, bank, limit, limits, shots, seed, overlap, documentStart, heldOut } = config;
  const withoutShots = tasks.filter((task) => task.shots === null).map(({ name }) => name);
  const single = Object.entries(limits).map(([task, most]) => `, ${most} of ${task}`);
  const lines: [string, string][] = [
    [
      'Model',
      `${model.name}, ${describeParameters(model.parameters ?? null)} parameters, ${model.adapter ? 'with an adapter' : 'without adapter'}`,
    ],
    ['Memories', profile.name],
    ['Bank', bank === null ? 'none' : bankWords(bank)],
    ['Tasks', `${tasks.length}: ${tasks.map(({ name }) => name).join(', ')}`],
    [
      'Items',
      `at most ${limit} of each task${single.join('')}, drawn by seed ${seed}; ${records.length} in modes are here`,
    ],
    [
      'Solved items',
      shots === 0
        ? 'none before a prompt'
        : `${shots} before each prompt${withoutShots.length === 0 ? '' : `, but of ${withoutShots.join(', ')}, which have none`}`,
    ],
    ['Training', trainedWords(tasks, heldOut)],
    [
      'Overlap',
      overlap === null
        ? 'references are used however much they overlap an item'
        : `references that overlap an item by more than ${overlap.toFixed(2)} are left out`,
    ],
    [
      'Context',
      documentStart ? "begins with the model's document-start token" : 'begins without a document-start token',
    ],
    ...modes.map((mode): [string, string] => [mode.name, modeWords(mode)]),
  ];
  return html`<section id="about">
<h2>What was run</h2>
<dl class="about">${lines.map(
    ([name, words]) => html`<div><dt>${name}</dt><dd>${words}</dd></div>
`,
  )}</dl>
</section>
`;
}

/** What of the tasks the adapter that ships was trained on. */
export function trainedWords(tasks: readonly Pick<Task, 'name' | 'trained'>[], heldOut: boolean): string {
  const names = (what: Task['trained']) => tasks.filter(({ trained }) => trained === what).map(({ name }) => name);
  const [some, all] = [names('some').join(', '), names('all').join(', ')];
  const parts = [
    ...(some === ''
      ? []
      : [heldOut ? `of ${some} only what it was not trained on` : `it was trained on a part of ${some}`]),
    ...(all === '' ? [] : [`it was trained on all questions of ${all}`]),
  ];
  return `for the adapter that ships: ${parts.join('; ') || 'none of the items took part'}`;
}

function modeWords({ kind, references, gold, profile }: Mode): string {
  if (kind === 'none') return 'no references';
  const what = gold ? "pieces of the item's own passage" : references === 1 ? 'reference' : 'references';
  const how = kind === 'rag' ? 'as text before the prompt' : 'as explicit memories';
  const { keptTokens, storage } = profile;
  const changes = [
    ...(keptTokens === undefined ? [] : [`${keptTokens} tokens kept`]),
    ...(storage === undefined ? [] : [`stored as ${storage}`]),
  ];
  return [`${gold ? 'at most ' : ''}${references} ${what} ${how}`, ...changes].join(', ');
}

/**
 * What was cut, left out or not measured, and in how many items a reference held the answer.
 * @param cells one of each task and mode: it is the same for every metric
 */
export function leftOutSection(cells: readonly Cell[]): Html {
  const row = ({
    mode,
    items,
    tooLong,
    noGold,
    leftOut,
    goldLeftOut,
    short,
    held,
    heldOf,
  }: Cell) => html`<tr><th scope="row">${mode}</th>
<td>${items}</td><td>${tooLong}</td><td>${noGold}</td><td>${leftOut}</td><td>${goldLeftOut}</td><td>${short}</td>
<td>${held === null ? '-' : `${held} of ${heldOf}`}</td></tr>
`;
  const head = [
    ...['mode', 'items measured', 'too long', 'no own passage', 'references left out', 'pieces of passages left out'],
    ...['short items', 'a reference held the answer'],
  ];
  return html`<section id="left-out">
<h2>What was left out, and what the references held</h2>
<p class="note">Items that are too long for the model, or have no passage of their own in a mode that needs one, were not measured. References
that overlap their item are replaced by the next ones; an item is short where the bank had fewer than its mode has.</p>
${groupedTable(
  head,
  grouped(cells, ({ task }) => task, row),
)}
</section>
`;
}

/** Seconds of an item, the median over items; those of a batch took the same. */
export function timesSection(times: readonly BatchTimes[], tasks: readonly Task[], modes: readonly Mode[]): Html {
  const row = (name: string, own: readonly BatchTimes[]) => html`<tr><th scope="row">${name}</th>${modes.map((mode) =>
    timesCell(own.filter((one) => one.mode === mode.name)),
  )}</tr>
`;
  return html`<section id="times">
<h2>Times</h2>
<p class="note">Seconds of an item, the median, and tokens read or written in a second. An item's time is its batch's, divided by the batch's items. The first
mode that needs references finds them for all, and memories that the bank lacks are written when they are first used. A batch that was
measured again after an interruption counts twice.</p>
<div class="scroll"><table>
<thead><tr><th scope="col">task</th>${modes.map(({ name }) => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>
${tasks.map(({ name }) =>
  row(
    name,
    times.filter(({ task }) => task === name),
  ),
)}</tbody>
<tbody class="sum">${row('all', times)}</tbody>
</table></div>
</section>
`;
}

function timesCell(times: readonly BatchTimes[]): Html {
  const each = times.flatMap(({ seconds, items }) => new Array<number>(items).fill(seconds / items));
  if (each.length === 0) return html`<td>-</td>`;
  const sum = (of: (one: BatchTimes) => number) => times.reduce((total, one) => total + of(one), 0);
  const rate = sum(({ tokens }) => tokens) / sum(({ seconds }) => seconds);
  return html`<td>${median(each).toPrecision(3)} s, ${rate.toFixed(0)}/s</td>`;
}
