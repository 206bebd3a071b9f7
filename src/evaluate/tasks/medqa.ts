import { lettered, letterForm, lines, wordChoices } from './forms.ts';
import { defineTask } from './task.ts';

/** MedQA: questions of the American medical licensing examination, answered by letter (Jin et al. 2020). */
export const medqa = defineTask({
  ...wordChoices,
  name: 'medqa',
  file: 'medqa_us/test.jsonl.gz',
  shots: 'own',
  line: lines.question,
  form: ({ question, choices, answer }) =>
    letterForm(question, `Question: ${question}\n${lettered(choices)}Answer:`, choices, answer),
});
