import { answerForm, contextsIn, lines, shortAnswer } from './forms.ts';
import { defineTask } from './task.ts';

/** SQuAD 1.1 without its passages: the bank has them (Rajpurkar et al. 2016). */
export const squad = defineTask({
  ...shortAnswer,
  name: 'squad',
  file: 'squad/dev-v1.1.qas.jsonl.gz',
  shots: 'own',
  line: lines.answeredInContext,
  gold: contextsIn('squad/dev-v1.1.contexts.jsonl.gz'),
  form: ({ question, answers }) => answerForm(question, answers),
});
