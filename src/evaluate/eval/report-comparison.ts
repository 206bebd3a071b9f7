/** The part of a report that puts another run beside this one. */
import { type Html, html } from '../../html.ts';
import type { Compared, Comparison, EffectiveSize } from './compare.ts';
import { describeParameters, describeSize, notesOf, placeName, sizeFormula } from './comparison-words.ts';
import { grouped, groupedTable } from './report-table.ts';
import { isBetter } from './summary.ts';
import { decimal, describeComparison, verdictOf } from './words.ts';

const comparedHead = [
  'mode',
  'this run',
  'other run',
  'items',
  { words: 'this run is' },
  'items only here',
  'only there',
];
const sizeHead = [
  ...['mode', 'without', 'with', 'larger model', 'items'],
  ...[{ words: 'share of the step (95 %)' }, 'worth parameters'],
];

export function comparisonSection(comparison: Comparison): Html {
  const { here, there, rows, sizes } = comparison;
  const notes = notesOf(comparison);
  return html`<section id="comparison">
<h2>This run beside ${there.name}</h2>
<p class="note">This run is ${here.name}: ${here.model}, ${describeParameters(here.parameters)} parameters. The other is ${there.name}:
${there.model}, ${describeParameters(there.parameters)} parameters. Both scores are over the items that both runs have.</p>
${notes.length === 0 ? null : html`<ul class="notes">${notes.map((note) => html`<li>${note}</li>`)}</ul>`}
${groupedTable(comparedHead, grouped(rows, titleOf, comparedRow))}
${sizes.length === 0 ? null : sizesTable(comparison)}
</section>
`;
}

function titleOf(place: Compared | EffectiveSize): string {
  return `${placeName(place)}, ${place.metric}`;
}

function comparedRow(row: Compared): Html {
  const { metric, mode, here, there, difference, onlyHere, onlyThere } = row;
  const verdict = difference.items === 0 ? 'noise' : verdictOf(isBetter(metric, difference));
  return html`<tr><th scope="row">${mode}</th><td>${decimal(here)}</td>
<td>${decimal(there)}</td><td>${difference.items}</td><td class="words ${verdict}">${describeComparison(row)}</td>
<td>${onlyHere}</td><td>${onlyThere}</td></tr>
`;
}

function sizesTable({ here, there, sizes }: Comparison): Html {
  return html`<h3>Effective size</h3>
<p class="note">${sizeFormula} Larger model: ${there.model}, ${describeParameters(there.parameters)}; this one:
${describeParameters(here.parameters)}.</p>
${groupedTable(sizeHead, grouped(sizes, titleOf, sizeRow))}`;
}

function sizeRow(size: EffectiveSize): Html {
  const { mode, without, with: reached, larger, items, parameters } = size;
  return html`<tr><th scope="row">${mode}</th><td>${decimal(without)}</td>
<td>${decimal(reached)}</td><td>${decimal(larger)}</td><td>${items}</td><td class="words">${describeSize(size)}</td>
<td>${describeParameters(parameters)}</td></tr>
`;
}
