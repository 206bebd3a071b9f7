/** A run as an HTML page that stands alone: a chart of what was gained, tables of quality and of what it cost. */
import { type Html, html } from '../../html.ts';
import { pageOf } from '../../page.ts';
import { type PlotSpec, plotInPage } from '../../plot.ts';
import { noiseRule } from '../share.ts';
import type { DomainReport } from './adapt.ts';
import { armTitles, describeDifference, formatSeconds, metricTitles, seenNote } from './words.ts';

/** The whole page. @param model as people call it */
export async function adaptationPage(model: string, reports: readonly DomainReport[]): Promise<string> {
  const sections: Html[] = [];
  for (const report of reports) sections.push(await section(report));
  const body = html`<h1>${title}</h1>
<p class="note">${model}. The same questions to the model as it is, with the domain's texts as memories, after fine-tuning on
the same texts, and with the same texts in the prompt (RAG). Intervals are 95 %, by bootstrap over questions; differences are
drawn again in pairs, and one is called noise where ${noiseRule('questions')}.</p>
${sections}`;
  return pageOf({ title, style, body });
}

const title = 'Adapting to a domain';

async function section(report: DomainReport): Promise<Html> {
  const { domain, description, documents, references, tokens, questions, tuning, arms, times } = report;
  const { before, best } = tuning.validation;
  const metrics = arms[0]?.qualities.map(({ metric }) => metric) ?? [];
  return html`<section>
<h2>${domain}</h2>
<p>${description}: ${documents} documents, ${references} references, ${tokens} tokens; ${questions} questions.
${seenNote(report)} Fine-tuning: ${tuning.steps} steps; held-out texts from ${before.toFixed(3)} to ${best.toFixed(3)} nats a
token, at step ${tuning.bestStep}.</p>
<figure class="scroll">${await chart(report)}</figure>
<div class="scroll"><table>
<thead><tr><th>quality</th><th>arm</th><th>value</th><th>95 %</th><th>questions</th><th>differences</th></tr></thead>
<tbody>${metrics.flatMap((metric) =>
    arms.map(({ arm, qualities }) => {
      const quality = qualities.find((one) => one.metric === metric);
      return quality === undefined
        ? null
        : html`<tr><td>${metricTitles[metric]}</td><td>${armTitles[arm]}</td><td>${quality.value.toFixed(3)}</td>
<td>${quality.low.toFixed(3)} to ${quality.high.toFixed(3)}</td><td>${quality.items}</td>
<td>${quality.differences.map((difference) => describeDifference(metric, difference)).join('; ')}</td></tr>`;
    }),
  )}</tbody></table></div>
<div class="scroll"><table>
<thead><tr><th>arm</th><th>time to adapt</th><th>answer, median</th><th>answer, 90 %</th><th>kept</th><th>prompt</th></tr></thead>
<tbody>${times.map(({ arm, adapt, answer }, index) => {
    const own = arms[index];
    return html`<tr><td>${armTitles[arm]}</td><td>${formatSeconds(adapt)}</td>
<td>${formatSeconds(answer?.median ?? null)}</td><td>${formatSeconds(answer?.ninetieth ?? null)}</td>
<td>${((own?.bytes ?? 0) / 1e6).toFixed(1)} MB</td><td>${(own?.promptTokens ?? 0).toFixed(0)} tokens</td></tr>`;
  })}</tbody></table></div>
</section>`;
}

/** Nats of a right answer, by arm, with intervals. */
function chart({ domain, arms }: DomainReport): Promise<Html> {
  const values = arms.flatMap(({ arm, qualities }) => {
    const nats = qualities.find(({ metric }) => metric === 'nats');
    return nats === undefined ? [] : [{ arm: armTitles[arm], nats: nats.value, low: nats.low, high: nats.high }];
  });
  const y = { field: 'arm', type: 'nominal', title: null, sort: null, axis: { labelLimit: 0 } };
  const axis = 'nats per token of the right answer (less is better)';
  const spec = {
    width: 420,
    height: { step: 30 },
    data: { values },
    encoding: { y },
    layer: [
      {
        mark: { type: 'bar', color: '#0072b2', height: 16 },
        encoding: { x: { field: 'nats', type: 'quantitative', title: axis } },
      },
      {
        mark: { type: 'rule', color: 'currentColor', strokeWidth: 1.5 },
        encoding: { x: { field: 'low', type: 'quantitative', title: axis }, x2: { field: 'high' } },
      },
    ],
  } as PlotSpec;
  return plotInPage(spec, `${domain}: ${axis}, by arm`);
}

const style: Html = {
  markup: `
main { max-width: 60rem; }
th, td { text-align: left; }
table { font-size: .875rem; margin: .5rem 0 1rem; }
figure { margin: 1rem 0; }
figure svg { max-width: 100%; height: auto; }
`,
};
