import { lettered, letterForm, lines, wordChoices } from './forms.ts';
import { defineTask } from './task.ts';

/** CommonsenseQA, answered by letter (Talmor et al. 2019). */
export const commonsenseqa = defineTask({
  ...wordChoices,
  name: 'commonsenseqa',
  file: 'commonsenseqa/validation.jsonl.gz',
  shots: 'commonsenseqa/train.jsonl.gz',
  line: lines.question,
  form: ({ question, choices, answer }) =>
    letterForm(question, `Question: ${question}\n${lettered(choices)}Answer:`, choices, answer),
});
