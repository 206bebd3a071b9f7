import { isHeldOut } from '../../train/conversion/held-out.ts';
import { answerForm, contextsIn, lines, shortAnswer } from './forms.ts';
import { defineTask } from './task.ts';

/** XQuAD in English, without its passages (Artetxe et al. 2020). */
export const xquadEn = defineTask({
  ...shortAnswer,
  name: 'xquad_en',
  file: 'xquad/test-en.qas.jsonl.gz',
  shots: 'own',
  line: lines.answeredInArticle,
  gold: contextsIn('xquad/test-en.contexts.jsonl.gz'),
  trained: ({ title, question }) => !isHeldOut({ set: 'xquad-en', title, question }),
  form: ({ question, answers }) => answerForm(question, answers),
});
