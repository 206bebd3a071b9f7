/** The part of a report that shows single items: prompt, right answers, and what the model gave in each mode. */
import { counted } from '../../counted.ts';
import { type Html, html } from '../../html.ts';
import type { MetricName, Task } from '../tasks/task.ts';
import type { Example, ExampleReference, GivenAnswer, TaskExamples } from './examples.ts';
import { cellValue } from './metrics.ts';
import { decimal } from './words.ts';

/** Characters that are shown of a prompt, a choice or an answer, and of a reference. */
const longestText = 1500;
const longestReference = 300;

export function examplesSection(tasks: readonly Task[], all: readonly TaskExamples[]): Html {
  const shown = tasks.flatMap((task) => {
    const own = all.find((one) => one.task === task.name);
    return own === undefined || own.examples.length === 0 ? [] : [taskPart(task, own)];
  });
  return html`<section id="examples">
<h2>Examples</h2>
<p class="note">A few items of each task, with the prompt as the model got it, without shots and references. Items on which modes differ
are taken first, so these are no sample of the scores.</p>
${shown.length === 0 ? html`<p>None: the run was ended before it could write any. Going on with it makes them.</p>` : shown}
</section>
`;
}

function taskPart(task: Task, { examples, references }: TaskExamples): Html {
  const byId = new Map(references.map((reference) => [reference.id, reference]));
  return html`<h3>${task.name}</h3>
${examples.map((example) => exampleCard(task.metrics[0], example, byId))}`;
}

function exampleCard(metric: MetricName, example: Example, references: ReadonlyMap<number, ExampleReference>): Html {
  const { id, prompts, choices, right, given } = example;
  return html`<article class="card">
<p class="id">${id}</p>
${prompts.map((prompt) => html`<blockquote dir="auto">${beginning(prompt, longestText)}</blockquote>`)}
${choices.length === 0 ? null : html`<ul class="choices">${choices.map((choice) => choiceItem(choice, right))}</ul>`}
${choices.length > 0 || right.length === 0 ? null : html`<p dir="auto">Right: ${beginning(right.join(' | '), longestText)}</p>`}
<div class="scroll"><table>
<thead><tr><th scope="col">mode</th><th scope="col" class="words">answer</th><th scope="col" class="words">it is</th></tr></thead>
<tbody>
${given.map((one) => givenRow(metric, one))}</tbody>
</table></div>
${referenceLists(given, references)}
</article>
`;
}

function choiceItem(choice: string, right: readonly string[]): Html {
  const isRight = right.includes(choice);
  return html`<li dir="auto" class="${isRight ? 'right' : 'wrong'}">${beginning(choice, longestText)}${isRight ? ' (right)' : null}</li>`;
}

function givenRow(metric: MetricName, given: GivenAnswer): Html {
  const { words, kind } = judged(metric, given);
  return html`<tr><th scope="row">${given.mode}</th><td class="words" dir="auto">${beginning(given.answer ?? '', longestText)}</td>
<td class="words ${kind}">${words}</td></tr>
`;
}

/** Right or wrong, where that is all there is to say. */
function judged(
  metric: MetricName,
  { score, tooLong, gold }: GivenAnswer,
): { words: string; kind: 'better' | 'worse' | 'noise' } {
  if (tooLong !== null) return { words: `not measured: ${tooLong} tokens are too long`, kind: 'noise' };
  if (gold === null) return { words: 'not measured: no passage of its own', kind: 'noise' };
  if (score === null) return { words: 'not measured', kind: 'noise' };
  if (metric === 'perplexity' || metric === 'mc2' || metric === 'f1') {
    return { words: `${metric} ${decimal(cellValue(metric, [{ score, weight: 1 }]))}`, kind: 'noise' };
  }
  return score === 1 ? { words: 'right', kind: 'better' } : { words: 'wrong', kind: 'worse' };
}

/** Each list once, with the modes that had it; what is only the beginning of a longer one is not repeated. */
function referenceLists(given: readonly GivenAnswer[], references: ReadonlyMap<number, ExampleReference>): Html[] {
  const lists = given.map((one) => one.references.join(' '));
  const isWithin = (list: string, other: string) => other.length > list.length && other.startsWith(`${list} `);
  const longest = [...new Set(lists)].filter((list) => list !== '' && !lists.some((other) => isWithin(list, other)));
  return longest.map((list) => {
    const modes = given.filter((_, index) => lists[index] === list || isWithin(lists[index] as string, list));
    const own = modes.filter((one) => one.references.length > 0);
    const most = own.find((one) => one.references.join(' ') === list);
    const named = own.map(({ mode, references: { length } }) =>
      length === most?.references.length ? mode : `${mode} (the first ${length})`,
    );
    return html`<details><summary>${counted(most?.references.length ?? 0, 'reference')} of ${named.join(', ')}${heldWords(most)}</summary>
<ol class="references">${most?.references.map((id) => referenceItem(id, references.get(id))) ?? null}</ol></details>
`;
  });
}

function heldWords(given: GivenAnswer | undefined): string {
  const left = given === undefined || given.leftOut === 0 ? '' : `; ${given.leftOut} left out because of their overlap`;
  if (given === undefined || given.held === null) return left;
  return `; ${given.held ? 'one of them holds' : 'none of them holds'} a right answer${left}`;
}

function referenceItem(id: number, reference: ExampleReference | undefined): Html {
  const { title = null, text = '' } = reference ?? {};
  return html`<li><span class="id">[${id}]</span> ${title ?? 'no longer in the bank'}
<blockquote dir="auto">${beginning(text, longestReference)}</blockquote></li>`;
}

/** What is cut off is said. */
function beginning(text: string, longest: number): string {
  const characters = [...text];
  if (characters.length <= longest) return text;
  return `${characters.slice(0, longest).join('')}… (${characters.length} characters)`;
}
