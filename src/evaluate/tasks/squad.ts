import { isHeldOut } from '../../train/conversion/held-out.ts';
import { answerForm, contextsIn, lines, shortAnswer } from './forms.ts';
import { defineTask } from './task.ts';

/** SQuAD 1.1 without its passages: the bank has them (Rajpurkar et al. 2016). */
export const squad = defineTask({
  ...shortAnswer,
  name: 'squad',
  file: 'squad/dev-v1.1.qas.jsonl.gz',
  shots: 'own',
  line: lines.answeredInArticle,
  gold: contextsIn('squad/dev-v1.1.contexts.jsonl.gz'),
  trained: ({ title, question }) => !isHeldOut({ set: 'squad-v1.1', title, question }),
  form: ({ question, answers }) => answerForm(question, answers),
});
