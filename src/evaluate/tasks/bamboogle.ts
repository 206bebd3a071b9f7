import { answerForm, lines, shortAnswer } from './forms.ts';
import { defineTask } from './task.ts';

/** Bamboogle: two facts have to be put together (Press et al. 2022). */
export const bamboogle = defineTask({
  ...shortAnswer,
  name: 'bamboogle',
  file: 'bamboogle/test.jsonl.gz',
  shots: 'own',
  line: lines.answered,
  form: ({ question, answers }) => answerForm(question, answers),
});
