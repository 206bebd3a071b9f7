import { fields, lettered, letters, lines, wordChoices } from './forms.ts';
import { defineTask } from './task.ts';

/** CMMLU: 67 subjects in Chinese, answered by letter; shots are of the same subject (Li et al. 2023). */
export const cmmlu = defineTask({
  ...wordChoices,
  name: 'cmmlu',
  file: 'cmmlu/test.jsonl.gz',
  shots: 'cmmlu/dev.jsonl.gz',
  line: lines.question.extend({ subject: fields.text }),
  form: ({ subject, question, choices, answer }) => ({
    query: question,
    group: subject,
    prompts: [{ text: `${question.trim()}\n${lettered(choices)}答案：`, continuations: letters(choices.length) }],
    right: [answer],
    answers: choices.slice(answer, answer + 1),
  }),
});
