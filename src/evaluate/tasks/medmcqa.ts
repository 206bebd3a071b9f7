import { lettered, letterForm, lines, wordChoices } from './forms.ts';
import { defineTask } from './task.ts';

/** MedMCQA: questions of Indian medical entrance examinations, answered by letter (Pal et al. 2022). */
export const medmcqa = defineTask({
  ...wordChoices,
  name: 'medmcqa',
  file: 'medmcqa/validation.jsonl.gz',
  shots: 'own',
  line: lines.question,
  form: ({ question, choices, answer }) =>
    letterForm(question, `Question: ${question}\nChoices:\n${lettered(choices)}Answer:`, choices, answer),
});
