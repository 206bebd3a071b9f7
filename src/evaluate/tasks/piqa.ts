import { asked, lines, textChoices, textForm } from './forms.ts';
import { defineTask } from './task.ts';

/** PIQA: how to do things (Bisk et al. 2020). */
export const piqa = defineTask({
  ...textChoices,
  name: 'piqa',
  file: 'piqa/validation.jsonl.gz',
  shots: 'piqa/train.jsonl.gz',
  line: lines.question,
  form: ({ question, choices, answer }) => textForm(question, asked(question), choices, answer),
});
