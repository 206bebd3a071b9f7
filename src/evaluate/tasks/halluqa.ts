import { askedInChinese, lines, textChoices } from './forms.ts';
import { defineTask } from './task.ts';

/** HalluQA: Chinese questions that mislead (Cheng et al. 2023). */
export const halluqa = defineTask({
  ...textChoices,
  name: 'halluqa',
  file: 'halluqa/mc.jsonl.gz',
  shots: 'own',
  line: lines.question,
  form: ({ question, choices, answer }) => ({
    query: question,
    prompts: [{ text: askedInChinese(question), continuations: choices }],
    right: [answer],
    answers: choices.slice(answer, answer + 1),
  }),
});
