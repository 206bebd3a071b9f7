import { lines, textForm, wordChoices } from './forms.ts';
import { defineTask } from './task.ts';

/** COPA: cause or effect (Roemmele et al. 2011). */
export const copa = defineTask({
  ...wordChoices,
  name: 'copa',
  file: 'copa/validation.jsonl.gz',
  shots: 'own',
  line: lines.question,
  form: ({ question, choices, answer }) => textForm(question, question, choices, answer),
});
