import { answerForm, lines, shortAnswer } from './forms.ts';
import { defineTask } from './task.ts';

/** WebQuestions (Berant et al. 2013). */
export const webquestions = defineTask({
  ...shortAnswer,
  name: 'webquestions',
  file: 'webquestions/test.jsonl.gz',
  shots: 'webquestions/trainmodel.jsonl.gz',
  line: lines.answered,
  form: ({ question, answers }) => answerForm(question, answers),
});
