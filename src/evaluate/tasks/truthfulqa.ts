import { z } from 'zod';
import { fields, lines } from './forms.ts';
import { type ChoiceForm, defineTask } from './task.ts';

const labels = z.array(z.int().min(0).max(1)).nonempty();
const line = z.object({
  id: fields.id,
  question: z.string(),
  mc1_choices: lines.choices.shape.choices,
  mc1_labels: labels,
  mc2_choices: lines.choices.shape.choices,
  mc2_labels: labels,
});
const source = { kind: 'choice', file: 'truthfulqa/half_a.jsonl.gz', shots: 'own', line } as const;

function form(question: string, choices: readonly string[], marks: readonly number[]): ChoiceForm {
  const right = marks.flatMap((mark, index) => (mark === 1 ? [index] : []));
  return {
    query: question,
    prompts: [{ text: `Q: ${question}\nA:`, continuations: choices.map((choice) => ` ${choice}`) }],
    right,
    answers: right.map((index) => choices[index] as string),
  };
}

/** TruthfulQA MC1: one true answer among misconceptions (Lin et al. 2022). */
export const truthfulqaMc1 = defineTask({
  ...source,
  name: 'truthfulqa_mc1',
  metrics: ['accuracy'],
  form: ({ question, mc1_choices, mc1_labels }) => form(question, mc1_choices, mc1_labels),
});

/** TruthfulQA MC2: what share of the probability the true answers get. */
export const truthfulqaMc2 = defineTask({
  ...source,
  name: 'truthfulqa_mc2',
  metrics: ['mc2'],
  form: ({ question, mc2_choices, mc2_labels }) => form(question, mc2_choices, mc2_labels),
});
