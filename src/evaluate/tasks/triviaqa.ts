import { answerForm, lines, shortAnswer } from './forms.ts';
import { defineTask } from './task.ts';

/** TriviaQA without its documents (Joshi et al. 2017). */
export const triviaqa = defineTask({
  ...shortAnswer,
  name: 'triviaqa',
  file: 'triviaqa/sm_sub3000.jsonl.gz',
  shots: 'own',
  line: lines.answered,
  // Its questions and answers, without references.
  trained: 'all',
  form: ({ question, answers }) => answerForm(question, answers),
});
