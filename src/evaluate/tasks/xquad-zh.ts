import { isHeldOut } from '../../train/conversion/held-out.ts';
import { answerFormInChinese, contextsIn, lines, shortAnswer } from './forms.ts';
import { defineTask } from './task.ts';

/** XQuAD in Chinese, without its passages (Artetxe et al. 2020). */
export const xquadZh = defineTask({
  ...shortAnswer,
  name: 'xquad_zh',
  file: 'xquad/test-zh.qas.jsonl.gz',
  shots: 'own',
  line: lines.answeredInArticle,
  gold: contextsIn('xquad/test-zh.contexts.jsonl.gz'),
  trained: ({ title, question }) => !isHeldOut({ set: 'xquad-zh', title, question }),
  form: ({ question, answers }) => answerFormInChinese(question, answers),
});
