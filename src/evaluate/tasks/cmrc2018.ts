import { answerFormInChinese, contextsIn, lines, shortAnswer } from './forms.ts';
import { defineTask } from './task.ts';

/** CMRC 2018: Chinese questions about articles, without these (Cui et al. 2019). */
export const cmrc2018 = defineTask({
  ...shortAnswer,
  name: 'cmrc2018',
  file: 'cmrc2018/dev.qas.jsonl.gz',
  shots: 'cmrc2018/trial.qas.jsonl.gz',
  line: lines.answeredInContext,
  gold: contextsIn('cmrc2018/dev.contexts.jsonl.gz'),
  form: ({ question, answers }) => answerFormInChinese(question, answers),
});
