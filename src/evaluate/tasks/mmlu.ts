import { fields, lettered, letterForm, lines, wordChoices } from './forms.ts';
import { defineTask } from './task.ts';

/** MMLU: 57 subjects, answered by letter; shots are of the same subject (Hendrycks et al. 2021). */
export const mmlu = defineTask({
  ...wordChoices,
  name: 'mmlu',
  file: 'mmlu/test.jsonl.gz',
  shots: 'mmlu/dev.jsonl.gz',
  line: lines.question.extend({ subject: fields.text }),
  form: ({ subject, question, choices, answer }) => ({
    ...letterForm(question, `${question.trim()}\n${lettered(choices)}Answer:`, choices, answer),
    group: subject,
  }),
});
