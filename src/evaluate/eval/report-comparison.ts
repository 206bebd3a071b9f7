/** The part of a report that puts another run beside this one. */
import { type Html, html } from '../../html.ts';
import type { Compared, Comparison, EffectiveSize } from './compare.ts';
import { describeParameters, describeSize, notesOf, placeName, sizeFormula } from './comparison-words.ts';
import { isBetter } from './summary.ts';
import { decimal, describeComparison, verdictOf } from './words.ts';

export function comparisonSection(comparison: Comparison): Html {
  const { here, there, rows, sizes } = comparison;
  const notes = notesOf(comparison);
  return html`<section id="comparison">
<h2>This run beside ${there.name}</h2>
<p class="note">This run is ${here.name}: ${here.model}, ${describeParameters(here.parameters)} parameters. The other is ${there.name}:
${there.model}, ${describeParameters(there.parameters)} parameters. Both scores are over the items that both runs have.</p>
${notes.length === 0 ? null : html`<ul class="notes">${notes.map((note) => html`<li>${note}</li>`)}</ul>`}
<div class="scroll"><table>
<thead><tr><th scope="col">task</th><th scope="col">metric</th><th scope="col">mode</th><th scope="col">this run</th>
<th scope="col">other run</th><th scope="col">items</th><th scope="col" class="words">this run is</th>
<th scope="col">items only here</th><th scope="col">only there</th></tr></thead>
<tbody>
${rows.map(comparedRow)}</tbody>
</table></div>
${sizes.length === 0 ? null : sizesTable(comparison)}
</section>
`;
}

function comparedRow(row: Compared): Html {
  const { metric, mode, here, there, difference, onlyHere, onlyThere } = row;
  const verdict = difference.items === 0 ? 'noise' : verdictOf(isBetter(metric, difference));
  return html`<tr><th scope="row">${placeName(row)}</th><td>${metric}</td><td>${mode}</td><td>${decimal(here)}</td>
<td>${decimal(there)}</td><td>${difference.items}</td><td class="words ${verdict}">${describeComparison(row)}</td>
<td>${onlyHere}</td><td>${onlyThere}</td></tr>
`;
}

function sizesTable({ here, there, sizes }: Comparison): Html {
  return html`<h3>Effective size</h3>
<p class="note">${sizeFormula} Larger model: ${there.model}, ${describeParameters(there.parameters)}; this one:
${describeParameters(here.parameters)}.</p>
<div class="scroll"><table>
<thead><tr><th scope="col">task</th><th scope="col">metric</th><th scope="col">mode</th><th scope="col">without</th>
<th scope="col">with</th><th scope="col">larger model</th><th scope="col">items</th>
<th scope="col" class="words">share of the step (95 %)</th><th scope="col">worth parameters</th></tr></thead>
<tbody>
${sizes.map(sizeRow)}</tbody>
</table></div>`;
}

function sizeRow(size: EffectiveSize): Html {
  const { metric, mode, without, with: reached, larger, items, parameters } = size;
  return html`<tr><th scope="row">${placeName(size)}</th><td>${metric}</td><td>${mode}</td><td>${decimal(without)}</td>
<td>${decimal(reached)}</td><td>${decimal(larger)}</td><td>${items}</td><td class="words">${describeSize(size)}</td>
<td>${describeParameters(parameters)}</td></tr>
`;
}
