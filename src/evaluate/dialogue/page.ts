/** The report of dialogues: a page that stands alone, with scores in each mode and every dialogue as it was held and judged. */
import { type Html, html } from '../../html.ts';
import { pageOf } from '../../page.ts';
import { scoreChart } from '../eval/report-charts.ts';
import { grouped, groupedTable } from '../eval/report-table.ts';
import { noiseRule } from '../share.ts';
import type { Turn } from './judge-prompt.ts';
import type { DialogueQuestion } from './questions.ts';
import type { AnswerRecord, JudgementRecord } from './records.ts';
import type { DialogueCell } from './summary.ts';
import { describeDifference, describeScore, remarks } from './words.ts';

/** What the page is of. */
export interface DialogueRun {
  /** As people call them. */
  readonly model: string;
  readonly judge: string;
  readonly modes: readonly string[];
  readonly questions: readonly DialogueQuestion[];
  readonly answers: readonly AnswerRecord[];
  readonly judgements: readonly JudgementRecord[];
  readonly cells: readonly DialogueCell[];
}

/** The whole page. */
export async function dialoguePage(run: DialogueRun): Promise<string> {
  const { model, judge, questions, cells } = run;
  const title = `Dialogues of ${model}`;
  const body = html`<h1>${title}</h1>
<p class="note">${questions.length} questions, each with one that follows it up. Both answers are scored from 1 to 10 by
${judge}. Intervals are 95 %, by bootstrap over questions; differences are of both turns together, drawn again in pairs, and
one is called noise where ${noiseRule('questions')}.</p>
${await chartsSection(cells)}
<section id="scores">
<h2>Scores</h2>
${groupedTable(
  ['mode', 'first turn', 'second turn', 'both', 'questions', { words: 'difference' }, { words: 'remarks' }],
  grouped(
    cells.filter(({ turn }) => turn === 'both'),
    ({ category }) => category,
    (both) => scoreRow(both, cells),
  ),
)}
</section>
<section id="dialogues">
<h2>Dialogues</h2>
${questions.map((question) => dialogueCards(question, run))}
</section>`;
  return pageOf({ title, style, body });
}

async function chartsSection(cells: readonly DialogueCell[]): Promise<Html> {
  const charts: Html[] = [];
  for (const turn of ['both', 1, 2] as const) {
    const rows = cells.filter((cell) => cell.category === 'all' && cell.turn === turn);
    const labelled = rows.map(({ mode, value, low, high }) => ({ label: mode, value, low, high }));
    const chart = await scoreChart(turn === 'both' ? 'both turns' : `turn ${turn}`, 'score', labelled);
    if (chart !== null) charts.push(html`<figure>${chart}</figure>`);
  }
  return html`<section id="charts"><div class="charts">${charts}</div></section>`;
}

function scoreRow(both: DialogueCell, cells: readonly DialogueCell[]): Html {
  const of = (turn: Turn) => {
    const cell = cells.find((one) => one.turn === turn && one.category === both.category && one.mode === both.mode);
    return cell === undefined ? '-' : describeScore(cell);
  };
  return html`<tr><th scope="row">${both.mode}</th><td>${of(1)}</td><td>${of(2)}</td><td>${describeScore(both)}</td>
<td>${both.items}</td><td class="words">${both.differences.map((one) => html`<div>${describeDifference(one)}</div>`)}</td>
<td class="words">${remarks(both).join(', ')}</td></tr>
`;
}

/** A question's dialogues, mode by mode. */
function dialogueCards({ id, category, turns }: DialogueQuestion, { modes, answers, judgements }: DialogueRun): Html {
  const card = (mode: string) => {
    const given = answers.find((one) => one.mode === mode && one.id === id)?.turns ?? [];
    return html`<article class="card"><h3>${mode}</h3>
${given.map(({ answer, references, cut }, index) => {
  const judgement = judgements.find((one) => one.mode === mode && one.id === id && one.turn === index + 1);
  return html`<p class="id">Turn ${index + 1}${references.length === 0 ? '' : `, references ${references.join(', ')}`}</p>
<blockquote>${answer ?? 'Not asked: the dialogue is too long for the model.'}${cut ? ' […]' : ''}</blockquote>
${judgement === undefined ? null : html`<details><summary>Score ${judgement.score}</summary><blockquote>${judgement.reply}</blockquote></details>`}
`;
})}</article>`;
  };
  return html`<section>
<h3>${id} <span class="id">${category}</span></h3>
<ol>${turns.map(({ text, reference }) => html`<li>${text}${reference === undefined ? null : html` <span class="id">Right: ${reference}</span>`}</li>`)}</ol>
${modes.map(card)}
</section>
`;
}

/** Constant, and without the characters that would end it. */
const style: Html = {
  markup: `
main { max-width: 60rem; }
section > h3 { margin-top: 1.5rem; }
ol { padding-left: 1.25rem; list-style: decimal; white-space: pre-wrap; }
table { font-size: .875rem; overflow-wrap: normal; }
th, td { white-space: nowrap; vertical-align: top; }
td.words, th.words { text-align: left; }
tr.group th { font-weight: 600; padding-top: .75rem; }
.card > .id { margin: .5rem 0 0; font-size: .875rem; }
details { font-size: .875rem; margin-top: .25rem; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; max-width: 100%; break-inside: avoid; }
svg { display: block; max-width: 100%; height: auto; }
`,
};
