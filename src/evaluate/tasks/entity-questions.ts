import { answerForm, lines, shortAnswer } from './forms.ts';
import { defineTask } from './task.ts';

/** EntityQuestions: simple facts about rare things (Sciavolino et al. 2021). */
export const entityQuestions = defineTask({
  ...shortAnswer,
  name: 'entity_questions',
  file: 'entity_questions/test.jsonl.gz',
  shots: 'entity_questions/dev.jsonl.gz',
  line: lines.answered,
  form: ({ question, answers }) => answerForm(question, answers),
});
