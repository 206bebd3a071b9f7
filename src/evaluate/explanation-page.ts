/**
 * An explanation as an HTML page that stands alone. The heat map scrolls sideways where there are many memories.
 */
import { counted } from '../counted.ts';
import { type Html, html } from '../html.ts';
import { pageOf } from '../page.ts';
import type { ExplainedMemory, ExplainedRecall, Explanation } from './explain.ts';

export interface ExplanationPage {
  readonly question: string;
  readonly answer: string;
  /** What answered, as people call it. */
  readonly model: string;
  readonly explanation: Explanation;
}

/** The whole page. */
export function explanationPage({ question, answer, model, explanation }: ExplanationPage): string {
  const { memories, recalls, answerTokens } = explanation;
  const body = html`<h1>Why this answer?</h1>
<p class="question" dir="auto">${question}</p>
<p class="answer" dir="auto">${answer}</p>
<p class="note">${model}; ${answerTokens} tokens; ${counted(memories.length, 'memory', 'memories')} recalled at
${counted(recalls.length, 'chunk')} of prompt and answer.</p>

<h2>What memory was worth</h2>
${likelihoods(explanation)}

<h2>The memories</h2>
<p class="note">What the answer owes most to comes first. <em>Worth</em> is by how much the answer's log-likelihood falls when
the memory is left out; a negative one spoke against the answer. <em>Attention</em> is its share of what the answer's tokens
looked at, the mean of heads and memory layers. A memory can be looked at and change nothing.</p>
${memoryList(memories)}

<h2>Where attention went</h2>
${heatMap(explanation)}

<h2>What was recalled when</h2>
<ol class="recalls">${recalls.map(recallItem)}</ol>`;
  return pageOf({ title: `Why this answer? ${[...question].slice(0, 80).join('')}`, style, body });
}

function likelihoods({ logLikelihood: { withAll, withoutAny }, answerTokens }: Explanation): Html {
  const row = (name: string, value: number) => html`<tr><th scope="row">${name}</th>
<td>${signed(value)}</td><td>${signed(value / answerTokens)}</td></tr>`;
  return html`<table>
<thead><tr><th scope="col">Log-likelihood of the answer, nats</th><th scope="col">all</th><th scope="col">per token</th></tr></thead>
<tbody>
${row('with all memories', withAll)}
${row('without any', withoutAny)}
${row('difference', withAll - withoutAny)}
</tbody>
</table>`;
}

function memoryList(memories: readonly ExplainedMemory[]): Html {
  const most = Math.max(...memories.map(({ worth }) => Math.abs(worth)), Number.MIN_VALUE);
  const items = memories.map((memory) => {
    const { referenceId, title, document, text, score, recalls, inSight, shares, worth } = memory;
    const attention = meanOf(shares);
    return html`<li class="card">
<h3><span class="id">[${referenceId}]</span> ${title ?? document}</h3>
<dl>
<div><dt>worth</dt><dd>${bar(Math.abs(worth) / most, worth < 0 ? 'against' : 'for')} ${signed(worth)} nats</dd></div>
<div><dt>attention</dt><dd>${bar(attention, 'share')} ${percent(attention)} %</dd></div>
<div><dt>recalled</dt><dd>at ${counted(recalls, 'chunk')}, best score ${score.toFixed(3)}; in sight of
${counted(inSight, 'token')} of the answer</dd></div>
</dl>
<blockquote dir="auto">${text}</blockquote>
</li>`;
  });
  return html`<ul class="memories">${items}</ul>`;
}

/** Layers down, header, memories and context across; memories are coloured against the largest of them. */
function heatMap({ layers, headerShares, contextShares, memories }: Explanation): Html {
  const largest = Math.max(...memories.flatMap(({ shares }) => shares), Number.MIN_VALUE);
  const rows = layers.map((layer, index) => {
    const cell = (share: number | undefined, kind: 'memory' | 'other') => {
      const value = share ?? 0;
      const colour =
        kind === 'memory' ? `214 96 36 / ${(value / largest).toFixed(3)}` : `120 120 120 / ${(value * 0.5).toFixed(3)}`;
      return html`<td style="background: rgb(${colour})">${percent(value)}</td>`;
    };
    return html`<tr><th scope="row">${layer}</th>${cell(headerShares[index], 'other')}${memories.map(({ shares }) =>
      cell(shares[index], 'memory'),
    )}${cell(contextShares[index], 'other')}</tr>
`;
  });
  const heads = memories.map(({ referenceId }) => html`<th scope="col">[${referenceId}]</th>`);
  return html`<div class="scroll"><table class="heat">
<caption>Percent of the attention of the answer's tokens at each memory layer, the mean of its heads. Memories are coloured
against the largest share among them, ${percent(largest)} %.</caption>
<thead><tr><th scope="col">layer</th><th scope="col">header</th>${heads}<th scope="col">context</th></tr></thead>
<tbody>
${rows}</tbody>
</table></div>`;
}

function recallItem({ stage, before, query, found }: ExplainedRecall): Html {
  const hits = found.map(({ referenceId, score }) => html`<li>[${referenceId}] ${score.toFixed(3)}</li>`);
  return html`<li class="card">
<p>${stage === 'prompt' ? 'Prompt' : 'Answer'}, after ${counted(before, 'token')}, asking for</p>
<blockquote dir="auto">${query}</blockquote>
<ul class="hits">${hits}</ul>
</li>
`;
}

/** A bar of `part` of its width; decoration, since the number stands beside it. */
function bar(part: number, kind: 'for' | 'against' | 'share'): Html {
  return html`<span class="bar" aria-hidden="true"><span class="${kind}" style="width: ${(part * 100).toFixed(1)}%"></span></span>`;
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function percent(share: number): string {
  return (share * 100).toFixed(1);
}

function signed(value: number): string {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(2)}`;
}

/** Constant, and without the characters that would end it. */
const style: Html = {
  markup: `
.question { font-weight: 600; white-space: pre-wrap; }
.answer { white-space: pre-wrap; border-left: 4px solid var(--share); padding-left: .75rem; }
.heat { font-size: .8125rem; }
.heat td { min-width: 3rem; }
.recalls p { margin: 0; font-size: .875rem; }
.hits { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: .5rem 0 0; font-size: .875rem; }
.bar { display: inline-block; width: 6rem; height: .6rem; border: 1px solid var(--line); }
.bar span { display: block; height: 100%; }
.for { background: var(--for); } .against { background: var(--against); } .share { background: var(--share); }
`,
};
