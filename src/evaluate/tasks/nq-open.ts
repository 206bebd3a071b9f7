import { answerForm, lines, shortAnswer } from './forms.ts';
import { defineTask } from './task.ts';

/** Natural Questions, open (Kwiatkowski et al. 2019). */
export const nqOpen = defineTask({
  ...shortAnswer,
  name: 'nq_open',
  file: 'nq_open/nq_open.dev.jsonl.gz',
  shots: 'own',
  line: lines.answered,
  form: ({ question, answers }) => answerForm(question, answers),
});
